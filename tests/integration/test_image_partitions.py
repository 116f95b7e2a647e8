"""``entry.sh`` finds and mounts the partitions of a host: a real disk, which is a file, and systemd's part of a real
D-Bus."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import dbus
import docker
import pytest

from tests.integration.image_device import Device
from tests.runtime.toy_supervisor import wait_until
from tools.dev_parts.terminal import which

pytestmark = [
    pytest.mark.engine,
    pytest.mark.root,
    pytest.mark.timeout(1800),
]

_SECTORS = 24576
_LUKS_1 = b"LUKS\xba\xbe\x00\x01"


def tool(name: str, *arguments: str) -> str:
    return subprocess.run([which(name) or name, *arguments], check=True, capture_output=True, text=True).stdout


class Disk:
    """A disk with partitions whose file systems have labels. No table stands on it: not every kernel reads one."""

    def __init__(self, file: Path) -> None:
        with file.open("wb") as made:
            made.truncate(5 * _SECTORS * 512)
        self.path = tool("losetup", "--find", "--show", str(file)).strip()
        self.partitions = [f"{self.path}p{number}" for number in range(1, 5)]
        for number, path in enumerate(self.partitions, 1):
            tool("addpart", self.path, str(number), str(number * _SECTORS), str(_SECTORS))
            wait_until(Path(path).is_block_device, f"{path} is there")

    def format(self, number: int, label: str) -> None:
        tool("mkfs.ext4", "-q", "-F", "-L", label, self.partitions[number - 1])

    def write(self, number: int, content: bytes) -> None:
        with Path(self.partitions[number - 1]).open("wb") as partition:
            partition.write(content)

    def close(self) -> None:
        for number in range(1, 5):
            tool("delpart", self.path, str(number))
        tool("losetup", "--detach", self.path)


class Systemd:
    """What systemd of the host says about its mounts, on a bus of its own."""

    def __init__(self, socket: Path) -> None:
        self._address = f"unix:path={socket}"
        daemon = ["dbus-daemon", "--session", "--nofork", "--nopidfile", f"--address={self._address}"]
        self._processes = [subprocess.Popen(daemon)]
        wait_until(socket.exists, "the bus is there")
        name, path = "org.freedesktop.systemd1", "/org/freedesktop/systemd1"
        self._processes.append(
            subprocess.Popen(
                ["/usr/bin/python3", "-m", "dbusmock", "--system", name, path, f"{name}.Manager"],
                env={**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": self._address},
            )
        )
        self._bus = dbus.bus.BusConnection(self._address)
        wait_until(lambda: self._bus.name_has_owner(name), "systemd is on the bus")
        self._object = self._bus.get_object(name, path)

    def has_mount(self, name: str, source: str) -> None:
        """Add a mount unit such as ``boot``, for ``/mnt/boot``."""
        self._object.AddObject(
            f"/org/freedesktop/systemd1/unit/mnt_2d{name}_2emount",
            "org.freedesktop.systemd1.Mount",
            dbus.Dictionary({"What": source}, signature="sv"),
            dbus.Array([], signature="(ssss)"),
            dbus_interface="org.freedesktop.DBus.Mock",
        )

    def close(self) -> None:
        self._bus.close()
        for process in reversed(self._processes):
            process.terminate()
            process.wait(10)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A disk with the partitions of a device in its first three; the fourth is empty."""
    with closing(Disk(tmp_path / "disk")) as made:
        for number, label in enumerate(("resin-boot", "balena-state", "resin-data"), 1):
            made.format(number, label)
        yield made


@pytest.fixture
def systemd(device: Device) -> Iterator[Systemd]:
    (device.root / "run/systemd/system").mkdir(parents=True)
    (device.root / "run/dbus").mkdir()
    with closing(Systemd(device.root / "run/dbus/system_bus_socket")) as made:
        yield made


@pytest.fixture
def host(device: Device, systemd: Systemd, disk: Disk) -> Iterator[Device]:
    """A host with a bus, and a disk that its container may see and mount; nothing is mounted on ``/data``."""
    assert systemd
    device.binds = [bind for bind in device.binds if not bind.endswith(":/data")]
    device.given = {
        "devices": [f"{path}:{path}:rwm" for path in (disk.path, *disk.partitions)],
        "cap_add": ["SYS_ADMIN"],
        "security_opt": ["apparmor=unconfined"],
    }
    yield device
    device.remove()  # before the disk goes


def mounted(device: Device) -> list[str]:
    places = ("/mnt/boot", "/mnt/state", "/mnt/data", "/data")
    return [device.run("findmnt", "-nro", "SOURCE", "--mountpoint", place).output.strip() for place in places]


def test_the_partitions_are_mounted_at_each_start_and_the_database_is_on_the_one_for_data(
    host: Device, systemd: Systemd, disk: Disk, engine: docker.APIClient
) -> None:
    links = host.root / "dev/disk/by-label"
    links.mkdir(parents=True)
    (links / "resin-boot").symlink_to(f"../../{Path(disk.path).name}p1")
    systemd.has_mount("boot", "/dev/disk/by-label/resin-boot")
    host.environment |= {"BOOT_MOUNTPOINT": "/mnt/elsewhere"}
    boot, state, data, _ = disk.partitions
    expected = [boot, state, data, f"{data}[/resin-data/balena-supervisor]"]

    host.start()
    assert mounted(host) == expected
    environment = host.read("/proc/1/environ").split("\0")
    assert {
        "BOOT_MOUNTPOINT=/mnt/boot",
        "STATE_MOUNTPOINT=/mnt/state",
        "DATA_MOUNTPOINT=/mnt/data",
        "CONFIG_MOUNT_POINT=/mnt/boot/config.json",
        "DATABASE_PATH=/data/database.sqlite",
        "HOST_OS_VERSION_PATH=/mnt/root/etc/os-release",
    } <= set(environment)
    first = host.read("/mnt/data/resin-data/balena-supervisor/database.sqlite")

    engine.restart(host.name, timeout=5)
    host.wait_until_ready()
    assert mounted(host) == expected
    assert first[:15] == host.read("/data/database.sqlite")[:15] == "SQLite format 3"


def test_the_disk_of_an_encrypted_boot_partition_is_found_through_what_was_booted_from(
    host: Device, systemd: Systemd, disk: Disk
) -> None:
    disk.write(4, _LUKS_1)
    systemd.has_mount("boot", disk.partitions[3])
    systemd.has_mount("efi", "")
    systemd.has_mount("rpi", disk.partitions[0])

    host.start()

    assert mounted(host)[:3] == disk.partitions[:3]


@pytest.mark.parametrize("mounts", [{"boot": "tmpfs"}, {}], ids=["no device", "no mount"])
def test_a_host_that_mounts_no_boot_partition_is_started_without(
    host: Device, systemd: Systemd, mounts: dict[str, str]
) -> None:
    for name, source in mounts.items():
        systemd.has_mount(name, source)

    host.start()

    assert mounted(host) == ["", "", "", ""]
    assert "no partitions are mounted: the host has no mnt-boot.mount" in host.output()


@pytest.mark.parametrize("source", ["/dev/nothing", "a partition without a label"])
def test_a_boot_mount_that_leads_to_no_partitions_ends_the_container(
    host: Device, systemd: Systemd, disk: Disk, source: str
) -> None:
    disk.format(2, "something else")
    lost = source.startswith("/dev/")
    systemd.has_mount("boot", source if lost else disk.partitions[0])

    assert host.run_to_its_end() == 1

    reason = "cannot find the disk of the boot partition /dev/nothing" if lost else "no partition resin-state or balena"
    assert reason in host.output()
