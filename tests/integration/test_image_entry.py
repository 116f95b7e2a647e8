"""What ``entry.sh`` does before the supervisor runs (spec cloud-and-host 1.1), seen in containers of the image."""

from __future__ import annotations

import socket
from pathlib import Path

import docker
import pytest

from tests.integration.image_device import Device

pytestmark = [
    pytest.mark.engine,
    pytest.mark.root,
    pytest.mark.timeout(1800),
]

_MACHINE = "0123456789abcdef0123456789abcdef"
_ROOT_CA = """\
-----BEGIN CERTIFICATE-----
MIIBoDCCAUegAwIBAgIUeLEeGv3KzR+H+XA0F4i1yr52ejwwCgYIKoZIzj0EAwIw
JTEjMCEGA1UEAwwadGVzdHMgb2YgYmFsZW5hLXN1cGVydmlzb3IwIBcNMjYxMTI4
MDEyMzA3WhgPMjEyNjExMDQwMTIzMDdaMCUxIzAhBgNVBAMMGnRlc3RzIG9mIGJh
bGVuYS1zdXBlcnZpc29yMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAENunJtuVl
8HsLaiCuwsa7b52ek5z+YBlVLv/DqvOKaclt2kxKYxWPtEj6uzHPsv2T1+VqZ8Wv
J/8juJPAPOpFsqNTMFEwHQYDVR0OBBYEFCR4LVi7OHVh7moVPf5OMJQDT/z/MB8G
A1UdIwQYMBaAFCR4LVi7OHVh7moVPf5OMJQDT/z/MA8GA1UdEwEB/wQFMAMBAf8w
CgYIKoZIzj0EAwIDRwAwRAIgDV0lIPhdnHxb+23ULefU8nH8SKEHamNZsBZcAktd
22YCIGpsEkPodxc04N5XEIaR0lUJAmZMf6FJdSYDv+K4I7gT
-----END CERTIFICATE-----"""
#: prints what requests trusts
_TRUSTED = "import os, ssl; print(ssl.create_default_context(cafile=os.environ['REQUESTS_CA_BUNDLE']).get_ca_certs())"


def keep_journal(device: Device, *places: str, machine: str = _MACHINE) -> None:
    """Give the host a machine id, and a journal at some places."""
    (device.root / "mnt/state/machine-id").write_text(f"{_MACHINE}\n")
    (device.root / "etc/machine-id").write_text(f"{_MACHINE}\n")
    for place in places:
        (device.root / place / machine).mkdir(parents=True)


def environment_of_supervisor(device: Device) -> dict[str, str]:
    entries = device.read("/proc/1/environ").split("\0")
    return dict(entry.split("=", 1) for entry in entries if entry)


def test_a_second_start_of_a_container_finds_what_the_first_left(device: Device, engine: docker.APIClient) -> None:
    engine_folder = '/var/lib/an engine\'s "$HOME"'
    (device.root / "tmp/resin-supervisor").mkdir()
    keep_journal(device, "run/log/journal", "var/log/journal")
    device.environment |= {"BALENA_ROOT_CA": _ROOT_CA, "DOCKER_ROOT": '/mnt/root/var/lib/an engine\'s "$HOME"'}

    def check() -> None:
        assert device.links(engine_folder, "/lib/modules", "/etc/machine-id", "/run/log/journal") == [
            f"/mnt/root{engine_folder}",
            "/mnt/root/lib/modules",
            "/mnt/root/etc/machine-id",
            "/mnt/root/var/log/journal",
        ]
        assert (device.root / "tmp/balena-supervisor").readlink() == Path("resin-supervisor")
        assert device.read("/etc/ssl/certs/balenaRootCA.pem") == f"{_ROOT_CA}\n"
        assert device.read("/etc/ssl/certs/ca-certificates.crt").count(_ROOT_CA) == 1
        assert "tests of balena-supervisor" in device.run("bin/python", "-c", _TRUSTED).output
        assert device.run("readlink", "/proc/1/exe").output == "/usr/bin/python3.11\n"

    device.enter()
    check()
    engine.restart(device.name, timeout=5)
    device.wait_until_entered()
    check()
    device.kill()
    device.wait_until_entered()
    check()


def test_a_host_without_anything_special_gets_the_folder_for_locks_and_no_links(device: Device) -> None:
    device.enter()

    assert (device.root / "tmp/balena-supervisor").is_dir()
    assert not (device.root / "tmp/balena-supervisor").is_symlink()
    assert device.links("/var/lib/docker", "/run/log/journal", "/etc/machine-id") == [
        "/mnt/root/var/lib/docker",
        "",
        "",
    ]
    assert device.run("test", "-e", "/etc/ssl/certs/balenaRootCA.pem").code == 1
    assert "no partitions are mounted: the host does not run systemd" in device.output()


def test_a_journal_in_memory_is_found_and_that_of_another_machine_is_not(device: Device) -> None:
    keep_journal(device, "run/log/journal")
    keep_journal(device, "var/log/journal", machine="f" * 32)
    device.enter()

    assert device.links("/run/log/journal") == ["/mnt/root/run/log/journal"]


def test_folders_that_the_caller_mounts_are_left_alone(device: Device, tmp_path: Path) -> None:
    keep_journal(device, "var/log/journal")
    for name in ("modules", "journal", "engine", "locks"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "own").touch()
    device.binds += [
        f"{tmp_path}/modules:/lib/modules",
        f"{tmp_path}/journal:/run/log/journal",
        f"{tmp_path}/engine:/var/lib/docker",
    ]
    device.enter()

    for place in ("/lib/modules", "/run/log/journal", "/var/lib/docker"):
        assert device.run("test", "-e", f"{place}/own").code == 0


def test_partitions_in_the_root_of_the_host_stand_where_the_supervisor_looks(device: Device) -> None:
    (device.root / "mnt/data/apps.json").write_text("{}")
    device.environment |= {"STATE_MOUNTPOINT": "/mnt/the state", "DATA_MOUNTPOINT": "null"}
    (device.root / "mnt/the state").mkdir()
    device.enter()
    environment = environment_of_supervisor(device)

    assert device.links("/mnt/boot", "/mnt/the state", "/mnt/data") == [
        "/mnt/root/mnt/boot",
        "/mnt/root/mnt/the state",
        "/mnt/root/mnt/data",
    ]
    assert environment["CONFIG_MOUNT_POINT"] == "/boot/config.json"
    assert environment["DBUS_SYSTEM_BUS_ADDRESS"] == "unix:path=/mnt/root/run/dbus/system_bus_socket"
    assert "DATA_MOUNTPOINT" not in environment
    assert "DOCKER_SOCKET" not in environment


def test_what_the_caller_sets_is_kept(device: Device) -> None:
    device.environment |= {
        "CONFIG_MOUNT_POINT": "/mnt/root/my config.json",
        "APPS_JSON_PATH": "/mnt/root/my apps.json",
        "DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nowhere",
        "DATABASE_PATH": "/data/my folder/database.sqlite",
    }
    given = dict(device.environment)
    device.start()

    assert given.items() <= environment_of_supervisor(device).items()
    assert (device.folder / "data/my folder/database.sqlite").exists()


@pytest.mark.parametrize(
    ("environment", "reason"),
    [({"TEST": "1"}, "this is a test"), ({}, "the host has no D-Bus")],
    ids=["a test", "a systemd without D-Bus"],
)
def test_no_partition_is_looked_for_without_a_way_to_ask(
    device: Device, environment: dict[str, str], reason: str
) -> None:
    (device.root / "run/systemd/system").mkdir(parents=True)
    device.environment |= environment
    device.enter()

    assert f"no partitions are mounted: {reason}" in device.output()


def test_a_bus_that_does_not_answer_ends_the_container_so_that_no_empty_device_starts(device: Device) -> None:
    (device.root / "run/systemd/system").mkdir(parents=True)
    (device.root / "run/dbus").mkdir()
    device.given = {"security_opt": ["apparmor=unconfined"]}
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(f"{device.root}/run/dbus/system_bus_socket")
        assert device.run_to_its_end() == 1

    assert "cannot ask systemd of the host for mnt-boot.mount" in device.output()


def test_a_database_that_nothing_keeps_is_said(device: Device) -> None:
    device.binds = [bind for bind in device.binds if not bind.endswith(":/data")]
    device.enter()

    assert "nothing is mounted on /data" in device.output()
