from __future__ import annotations

import errno
from pathlib import Path

import pytest

from balena_supervisor.adapters.config_json import ConfigJson, FileState
from balena_supervisor.adapters.host_files import read_device_type, read_host_name, read_os_release
from balena_supervisor.adapters.safe_file import write_safely
from balena_supervisor.model.device import DeviceType


def test_os_release_lines_are_split_at_the_first_equals_sign(tmp_path: Path) -> None:
    path = tmp_path / "os-release"
    path.write_text('ID="balena-os"\nPRETTY_NAME="balenaOS 5.1"\nURL=a=b\nEMPTY=\nQUOTE="\n# comment\n\n')
    assert read_os_release(path) == {
        "ID": "balena-os",
        "PRETTY_NAME": "balenaOS 5.1",
        "URL": "a=b",
        "EMPTY": "",
        "QUOTE": '"',
    }
    assert read_os_release(tmp_path / "missing") == {}


@pytest.mark.parametrize(
    ("text", "slug", "arch", "problem"),
    [
        ('{"slug": "x", "arch": "y", "more": 1}', "x", "y", ""),
        ('{"slug": "x"}', "x", "unknown", "does not name slug and arch"),
        ("[]", "unknown", "unknown", "does not name slug and arch"),
        ("{", "unknown", "unknown", "no JSON"),
        (None, "unknown", "unknown", "No such file"),
    ],
)
def test_the_device_type_or_why_it_is_unknown(
    tmp_path: Path, text: str | None, slug: str, arch: str, problem: str
) -> None:
    path = tmp_path / "device-type.json"
    if text is not None:
        path.write_text(text)
    found = read_device_type(path)
    assert (found.slug, found.arch) == (slug, arch)
    assert problem in found.problem
    assert bool(found.problem) == (found != DeviceType(slug=slug, arch=arch))


def test_the_host_name_is_trimmed(tmp_path: Path) -> None:
    (tmp_path / "hostname").write_text(" kiosk \n")
    assert read_host_name(tmp_path / "hostname") == "kiosk"
    assert read_host_name(tmp_path / "missing") == ""


@pytest.mark.parametrize(
    ("text", "state", "problem"),
    [
        ('{"a": 1}', FileState.READABLE, ""),
        (None, FileState.MISSING, ""),
        ("{", FileState.DAMAGED, "no JSON"),
        ("5", FileState.DAMAGED, "no JSON object"),
    ],
)
def test_config_json_is_readable_missing_or_damaged(
    tmp_path: Path, text: str | None, state: FileState, problem: str
) -> None:
    path = tmp_path / "config.json"
    if text is not None:
        path.write_text(text)
    file = ConfigJson(path).read()
    assert file.state is state
    assert problem in file.problem
    assert file.values == ({"a": 1} if state is FileState.READABLE else {})


def test_a_folder_in_the_place_of_config_json_is_damage(tmp_path: Path) -> None:
    assert ConfigJson(tmp_path).read().state is FileState.DAMAGED


def test_a_file_is_replaced_as_a_whole_with_its_mode_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text("a long old content")
    path.chmod(0o640)
    before = path.stat().st_ino
    write_safely(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o640
    assert path.stat().st_ino != before
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_not_written_where_its_folder_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_safely(tmp_path / "missing" / "x", b"new")


class MountPoint(type(Path())):  # type: ignore[misc]  # the class of this platform's paths
    """A path on which a file is mounted: it cannot be renamed over."""

    def replace(self, target: object) -> MountPoint:
        raise OSError(errno.EBUSY, "Device or resource busy", str(target))


def test_a_file_that_is_a_mount_point_is_written_in_place(tmp_path: Path) -> None:
    path = MountPoint(tmp_path / "config.json")
    path.write_text("old")
    before = path.stat().st_ino
    write_safely(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_ino == before
    assert list(tmp_path.iterdir()) == [path]
