"""The lock protocol on real files, as root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from balena_supervisor.adapters.lock_files import HAND_OVER_NAMES, NAMES, OWNER, LockFiles
from balena_supervisor.errors import Locked, SupervisorError
from tests.db.small_disk import small_disk

pytestmark = pytest.mark.root

APP = 77
HOST = "/tmp/balena-supervisor/services"
ALL = ("a", "b")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "tmp/balena-supervisor/services"


@pytest.fixture
def locks(folder: Path) -> LockFiles:
    return LockFiles(folder, HOST)


def everyone() -> tuple[str, ...]:
    return ALL


def nobody() -> tuple[str, ...]:
    return ()


def never() -> tuple[str, ...]:
    raise AssertionError("the engine is asked without need")


def put(path: Path, content: str = "mine") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def found(folder: Path) -> set[str]:
    """All that is in the folders of services, and who owns it."""
    return {
        f"{path.relative_to(folder / str(APP))}:{'own' if path.lstat().st_uid == OWNER else 'foreign'}"
        for path in (folder / str(APP)).rglob("*")
        if path.is_symlink() or not path.is_dir() or path.name in NAMES
    }


def held(locks: LockFiles) -> dict[int, tuple[str, ...]]:
    return {lock.app_id: lock.services for lock in locks.held()}


OWN = {f"{service}/{name}:own" for service in ALL for name in NAMES}


def test_both_files_of_all_services_are_taken_and_released(folder: Path, locks: LockFiles) -> None:
    locks.take(APP, ALL, never)
    assert found(folder) == OWN
    assert held(locks) == {APP: ALL}
    assert (locks.held_by(APP),) == locks.held()
    locks.take(APP, ALL, never)
    assert found(folder) == OWN
    locks.release(APP)
    locks.release(APP)
    assert found(folder) == set()
    assert (locks.held(), locks.held_by(APP)) == ((), None)


def test_own_locks_tell_where_and_since_when_they_are_held(folder: Path, locks: LockFiles) -> None:
    locks.take(APP, ALL, never)
    os.utime(folder / "77/b/updates.lock", (1e9, 1e9))
    (lock,) = locks.held()
    assert (lock.path, lock.since) == (f"{HOST}/77", "2001-09-09T01:46:40.000Z")


@pytest.mark.parametrize("mtime", [-1e12, 1e15])
def test_a_lock_of_a_time_that_has_no_date_is_a_lock(mtime: float) -> None:
    """In the memory file system that ``/tmp`` of a device is; others keep no such time."""
    with TemporaryDirectory(dir="/dev/shm") as folder:
        os.utime(put(Path(folder) / "77/a/updates.lock"), (mtime, mtime))
        with pytest.raises(Locked):
            LockFiles(Path(folder), HOST).take(APP, ALL, everyone)


def test_a_service_that_is_not_root_can_lock_but_not_take_away_the_lock(folder: Path, locks: LockFiles) -> None:
    (folder / "77/a").mkdir(parents=True, mode=0o755)
    locks.take(APP, ["a"], never)
    script = "touch file && ! rm -f updates.lock"
    done = subprocess.run(["sh", "-c", script], cwd=folder / "77/a", user=1234, check=False)
    assert done.returncode == 0
    assert {path.name for path in (folder / "77/a").iterdir()} == {"file", *NAMES}


def test_locks_of_other_apps_stay(folder: Path, locks: LockFiles) -> None:
    locks.take(APP, ALL, never)
    locks.take(78, ["x"], never)
    locks.release(78)
    assert held(locks) == {APP: ALL}
    assert found(folder) == OWN


def a_file(path: Path) -> None:
    put(path)


def a_directory(path: Path) -> None:
    path.mkdir(parents=True)


def a_dangling_link(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.symlink_to("nowhere")


def a_directory_of_nobody(path: Path) -> None:
    path.mkdir(parents=True)
    os.chown(path, OWNER, OWNER)


KINDS = [a_file, a_directory, a_dangling_link, a_directory_of_nobody]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("make", KINDS)
def test_a_lock_of_somebody_else_blocks_and_is_named(
    folder: Path, locks: LockFiles, make: Callable[[Path], None], name: str
) -> None:
    path = folder / f"77/b/{name}"
    make(path)
    os.utime(path, (1_700_000_000, 1_700_000_000), follow_symlinks=False)
    before = found(folder)
    with pytest.raises(Locked) as caught:
        locks.take(APP, ALL, everyone)
    shown = f"{HOST}/77/b/{name}"
    since = "2023-11-14T22:13:20.000Z"
    assert caught.value.fields["locks"] == [{"app_id": 77, "service_name": "b", "path": shown, "since": since}]
    assert caught.value.message == f"cannot lock app 77: it is locked by b ({shown} since {since})"
    assert found(folder) == before


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("make", KINDS)
def test_force_removes_a_lock_and_takes_its_place(
    folder: Path, locks: LockFiles, make: Callable[[Path], None], name: str
) -> None:
    make(folder / f"77/b/{name}")
    locks.take(APP, ALL, never, force=True)
    assert found(folder) == OWN
    locks.release(APP)
    assert found(folder) == set()


@pytest.mark.parametrize("make", KINDS)
def test_a_lock_that_a_service_left_behind_when_it_ended_does_not_block(
    folder: Path, locks: LockFiles, make: Callable[[Path], None]
) -> None:
    make(folder / "77/b/updates.lock")
    locks.take(APP, ALL, lambda: ["a"])
    assert found(folder) == OWN


def test_a_folder_with_something_in_it_cannot_even_be_forced(folder: Path, locks: LockFiles) -> None:
    kept = put(folder / "77/b/updates.lock/content")
    for force in (True, False):
        with pytest.raises(Locked):
            locks.take(APP, ALL, nobody, force=force)
    assert kept.read_text() == "mine"
    assert locks.held() == ()


def test_what_was_held_before_a_failed_attempt_stays_held(folder: Path, locks: LockFiles) -> None:
    locks.take(APP, ["a"], never)
    put(folder / "77/b/updates.lock")
    with pytest.raises(Locked):
        locks.take(APP, ("a", "b", "c"), lambda: ["b"])
    assert held(locks) == {APP: ("a",)}
    assert found(folder) == {"a/updates.lock:own", "a/resin-updates.lock:own", "b/updates.lock:foreign"}


def test_an_attempt_in_whose_middle_a_lock_appears_takes_back_what_it_took(folder: Path, locks: LockFiles) -> None:
    late = folder / "77/c/updates.lock"
    put(folder / "77/b/updates.lock")

    def running() -> tuple[str, ...]:
        put(late)  # while the engine is asked
        return ("a", "c")

    with pytest.raises(Locked) as caught:
        locks.take(APP, ("a", "b", "c"), running)
    assert [lock["service_name"] for lock in caught.value.fields["locks"]] == ["c"]
    assert found(folder) == {"c/updates.lock:foreign"}


def test_an_engine_that_cannot_be_asked_leaves_all_as_it_was(folder: Path, locks: LockFiles) -> None:
    put(folder / "77/b/updates.lock")

    def running() -> tuple[str, ...]:
        raise SupervisorError("away")

    with pytest.raises(SupervisorError, match="away"):
        locks.take(APP, ALL, running)
    assert found(folder) == {"b/updates.lock:foreign"}


def test_own_locks_of_a_process_that_died_count_as_held_and_are_released(folder: Path, locks: LockFiles) -> None:
    LockFiles(folder, HOST).take(APP, ["a"], never)
    os.chown(put(folder / "77/b/updates.lock", ""), OWNER, OWNER)
    locks.take(APP, ALL, never)
    assert held(locks) == {APP: ALL}
    locks.release(APP)
    assert found(folder) == set()


def test_halves_that_a_process_left_when_it_died_are_dropped(folder: Path, locks: LockFiles) -> None:
    locks.take(APP, ["a"], never)
    os.chown(put(folder / "77/b/updates.lock", ""), OWNER, OWNER)
    put(folder / "77/c/updates.lock")
    put(folder / "77/.new-lock")
    put(folder / "notes/of/somebody")
    assert held(locks) == {APP: ("a",)}
    locks.drop_halves()
    assert found(folder) == {"a/updates.lock:own", "a/resin-updates.lock:own", "c/updates.lock:foreign"}


@pytest.mark.parametrize("planted", [*NAMES, "77"])
def test_a_link_that_was_planted_leads_nowhere(folder: Path, locks: LockFiles, tmp_path: Path, planted: str) -> None:
    treasure = put(tmp_path / "host/updates.lock", "treasure")
    os.chown(treasure, OWNER, OWNER)
    (folder / "77").mkdir(parents=True)
    if planted == "77":
        (folder / "77/a").symlink_to(treasure.parent)
        with pytest.raises(SupervisorError, match="cannot lock app 77"):
            locks.take(APP, ["a"], nobody, force=True)
    else:
        (folder / "77/a").mkdir()
        (folder / "77/a" / planted).symlink_to(treasure)
        locks.take(APP, ["a"], nobody, force=True)
    locks.release(APP)
    locks.drop_halves()
    assert treasure.read_text() == "treasure"
    assert sorted(path.name for path in treasure.parent.iterdir()) == ["updates.lock"]


@pytest.mark.parametrize("name", ["", ".", "..", "../78", "a/b"])
def test_a_service_whose_name_is_no_folder_is_refused(locks: LockFiles, name: str) -> None:
    with pytest.raises(SupervisorError, match="cannot be that of a folder"):
        locks.take(APP, [name], nobody)


def test_a_full_disk_is_told_in_words_and_nothing_stays_taken(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", most_files=12) as disk:
        locks = LockFiles(disk.folder / "services", HOST)
        locks.take(APP, ["a"], never)
        with pytest.raises(SupervisorError, match="cannot lock app 77: No space left on device") as caught:
            locks.take(APP, ["a", *(f"s{number}" for number in range(4))], never)
        assert caught.value.code == "supervisor-error"
        assert found(disk.folder / "services") == {f"a/{name}:own" for name in NAMES}
        locks.release(APP)
        assert locks.held() == ()


def test_a_place_that_cannot_be_read_is_told_in_words(folder: Path, locks: LockFiles) -> None:
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: locks.take(APP, ALL, nobody), "cannot lock app 77"),
        (lambda: locks.release(APP), "cannot release the locks of app 77"),
        (locks.held, "cannot list the update locks"),
        (locks.drop_halves, "cannot tidy the update locks"),
    ]
    folder.parent.mkdir(parents=True)
    folder.write_text("a file in the way")
    for call, words in calls:
        with pytest.raises(SupervisorError, match=words):
            call()


@pytest.mark.parametrize("name", HAND_OVER_NAMES)
def test_a_hand_over_file_is_seen_once(folder: Path, locks: LockFiles, name: str) -> None:
    assert not locks.take_signal(APP, "a")
    put(folder / f"77/a/{name}")
    assert locks.take_signal(APP, "a", keep=True)
    assert locks.take_signal(APP, "a")
    assert not locks.take_signal(APP, "a")
    (folder / f"77/a/{name}").mkdir()
    assert not locks.take_signal(APP, "a")


def test_the_folder_of_an_old_supervisor_is_used_under_the_new_name(folder: Path, locks: LockFiles) -> None:
    locks.adopt_old_layout()
    assert not folder.parent.exists()
    old = folder.parent.with_name("resin-supervisor")
    put(old / "services/77/a/updates.lock")
    locks.adopt_old_layout()
    locks.adopt_old_layout()
    assert folder.parent.readlink() == Path("resin-supervisor")
    with pytest.raises(Locked):
        locks.take(APP, ["a"], everyone)


def test_a_new_folder_is_not_replaced_by_the_old_one(folder: Path, locks: LockFiles) -> None:
    folder.mkdir(parents=True)
    folder.parent.with_name("resin-supervisor").mkdir()
    locks.adopt_old_layout()
    assert folder.is_dir()
    assert not folder.parent.is_symlink()


def test_a_link_to_a_place_that_is_not_there_yet_is_followed(folder: Path, locks: LockFiles, tmp_path: Path) -> None:
    folder.parent.parent.mkdir(parents=True)
    folder.parent.symlink_to(tmp_path / "real")
    assert locks.held() == ()
    locks.take(APP, ["a"], never)
    assert (tmp_path / "real/services/77/a/updates.lock").exists()
