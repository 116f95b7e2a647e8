"""Many updates in a row, each with a process killed in its middle: every one arrives, and nothing is left behind.

``LONG_RUN_UPDATES=500 tools/dev test tests/integration/test_long_run.py -s`` is the long form; ``LONG_RUN_SEED``
chooses other updates and kills.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import docker
import pytest

from balena_supervisor.model.lock import lock_folder
from tests.integration.conftest import MakeImage, TestedSupervisor
from tests.integration.long_run import LIMIT_S, Device, Releases, decisions, kills, say, seen
from tools.dev_parts.supervisor import Api

UPDATES = int(os.environ.get("LONG_RUN_UPDATES", "8"))
SEED = int(os.environ.get("LONG_RUN_SEED", "1"))
#: after these the device has seen every kind of update
FIRST = max(4, UPDATES // 10)
#: updates in which nothing is killed, so that what a process hoards can be seen
QUIET = max(6, UPDATES // 10)
MOST_QUIET = 10 * QUIET
MEMORY_MB = 10.0
#: SQLite lets its journal grow to a thousand pages before it writes them back
DATABASE_BYTES = 8_000_000
NOTHING: dict[str, Any] = {"containers": {}, "networks": [], "volumes": {}}

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300 + 30 * UPDATES)]


class Held:
    """What is on disk, but for what a release has and ``config.json``, which the test writes."""

    def __init__(self, device: Device) -> None:
        self.files = device.files() - {"boot/config.json"}
        self.rows = {**device.rows(), "image": 0}


class KeyedApi(Api):
    """The API of a device that belongs to a cloud."""

    def __init__(self, port: int, key: str) -> None:
        super().__init__(port)
        self._key = key

    def get(self, path: str, timeout_s: float = 10) -> Any:
        return super().get(f"{path}{'&' if '?' in path else '?'}apikey={self._key}", timeout_s)


@pytest.fixture
def own_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Temporary files of the supervisor alone."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))


@pytest.fixture
def device(own_tmp: None, supervisor: TestedSupervisor, run_dir: Path) -> Device:  # noqa: ARG001  # it sets TMPDIR
    return Device(supervisor, run_dir)


@pytest.fixture
def releases(app_id: int, make_image: MakeImage) -> Releases:
    waits = "while :; do busybox sleep 1000 & wait $!; done"
    return Releases(app_id, [make_image(f"# {number}\n{waits}") for number in range(3)], Random(SEED))  # noqa: S311  # no secret


def test_500_updates_with_a_kill_in_each_leave_nothing_behind(
    device: Device, releases: Releases, engine: docker.APIClient, instance: str
) -> None:
    say(f"{UPDATES} updates, seed {SEED}")
    first = Held(device)
    memory: list[float] = []
    for number, (victim, moment) in enumerate(kills(UPDATES, SEED), 1):
        update(device, releases, victim, moment)
        check(device, releases, engine, instance, f"update {number}, {victim} killed at {moment}")
        if number == 1:
            first = Held(device)
        if number % FIRST == 0:
            memory.append(device.memory_mb())
            say(f"{number}: {memory[-1]:.1f} MB, {device.database_bytes()} bytes, {device.rows()['image']} images")
    assert memory[-1] - memory[0] < MEMORY_MB, memory
    assert device.database_bytes() < DATABASE_BYTES
    assert [(letter["type"], letter["reason"]) for letter in device.dead_letters] == []
    quiet_updates(device, releases, engine, instance)
    assert device.strays() == []
    leave_local_mode(device, releases, engine, instance)
    last = Held(device)
    assert last.files == first.files
    # what local mode alone has is forgotten with it
    assert last.rows == {**first.rows, "app": 0, "engineSnapshot": 0}
    assert device.strays() == []


def update(device: Device, releases: Releases, victim: str, moment: int) -> None:
    pid = device.pids()[victim]
    known = decisions(device.supervisor.api.status())
    body = releases.next()
    if moment < 0:
        device.kill(victim, pid)
        device.post(body)
    else:
        device.post(body)
        device.wait_for_steps(known, moment, releases.commit)
        device.kill(victim, pid)


def check(device: Device, releases: Releases, engine: docker.APIClient, instance: str, what: str) -> None:
    """All that was asked for is there, and nothing else."""
    device.wait_for(releases.commit, len(releases.services))
    ids = {name: image["Id"] for image in engine.images() for name in image["RepoTags"] or ()}
    assert seen(engine, instance) == releases.expected(ids), what
    device.note_dead_letters()


def quiet_updates(device: Device, releases: Releases, engine: docker.APIClient, instance: str) -> None:
    """While nothing is killed, there come many updates in a row after which no process has more descriptors or threads
    than it ever had. Pools and caches fill up to their limits before that; what leaks never gets there."""
    pids = device.pids()
    most: Counter[tuple[str, str]] = Counter()
    grown: list[Counter[tuple[str, str]]] = []
    unchanged = 0
    while unchanged < QUIET:
        assert len(grown) < MOST_QUIET, f"it grows and grows: {grown}"
        device.post(releases.next())
        check(device, releases, engine, instance, f"quiet update {len(grown)}")
        held = device.held()
        grown.append(held - most)
        unchanged = 0 if grown[-1] else unchanged + 1
        most |= held
    say(f"descriptors and threads after {len(grown)} quiet updates: {dict(most)}, {device.memory_mb():.1f} MB")
    assert device.pids() == pids


def leave_local_mode(device: Device, releases: Releases, engine: docker.APIClient, instance: str) -> None:
    """Images are only kept, and volumes only survive their app, in local mode (spec apply-loop 7)."""
    supervisor = device.supervisor
    key, port = device.global_key(), int(supervisor.api.url.rpartition(":")[2])
    supervisor.stop()
    config = supervisor.folder / "boot/config.json"
    config.write_text(json.dumps({"apiEndpoint": "http://127.0.0.1:1", "uuid": "d" * 32}))
    supervisor.api = KeyedApi(port, key)
    supervisor.start(timeout_s=LIMIT_S)
    supervisor.api.wait_until(
        lambda status: status["appState"] == "applied" and not status["images"] and seen(engine, instance) == NOTHING,
        LIMIT_S,
    )
    assert [name for image in engine.images() for name in image["RepoTags"] or () if name in releases.images] == []
    lock_folders = Path(lock_folder(instance)) / str(releases.app_id)
    assert [path for path in lock_folders.rglob("*") if not path.is_dir()] == []
