"""Reboot and shutdown over a real D-Bus with a mock of the login manager."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import dbus
import pytest

from balena_supervisor.adapters.login import go_down
from balena_supervisor.errors import Unavailable
from tests.runtime.toy_supervisor import wait_until

NAME, PATH = "org.freedesktop.login1", "/org/freedesktop/login1"
MOCK = "org.freedesktop.DBus.Mock"


class Bus:
    """A bus of its own, on which a login manager may be offered."""

    def __init__(self, folder: Path) -> None:
        self.address = f"unix:path={folder}/bus"
        daemon = ["dbus-daemon", "--session", "--nofork", "--nopidfile", f"--address={self.address}"]
        self._processes = [subprocess.Popen(daemon)]
        wait_until((folder / "bus").exists, "the bus is there")
        self._bus = dbus.bus.BusConnection(self.address)

    def offer(self, *methods: str) -> None:
        command = ["/usr/bin/python3", "-m", "dbusmock", "--system", NAME, PATH, f"{NAME}.Manager"]
        self._processes.append(
            subprocess.Popen(
                command, env={**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": self.address}, stdout=subprocess.DEVNULL
            )
        )
        wait_until(lambda: self._bus.name_has_owner(NAME), "the login manager is on the bus")
        for method in methods:
            self._manager().AddMethod("", method, "b", "", "", dbus_interface=MOCK)

    def calls(self) -> list[tuple[str, list[bool]]]:
        found = self._manager().GetCalls(dbus_interface=MOCK)
        return [(str(name), [bool(value) for value in values]) for _, name, values in found]

    def close(self) -> None:
        self._bus.close()
        for process in reversed(self._processes):
            process.terminate()
            process.wait(10)

    def _manager(self) -> dbus.proxies.ProxyObject:
        return self._bus.get_object(NAME, PATH)


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bus]:
    folder = Path(tempfile.mkdtemp(prefix="bus"))  # a path that is short enough for a socket
    with closing(Bus(folder)) as made:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", made.address)
        yield made
    shutil.rmtree(folder)


@pytest.mark.parametrize(("verb", "method"), [("reboot", "Reboot"), ("shutdown", "PowerOff")])
def test_the_login_manager_is_asked_without_questions_to_the_user(bus: Bus, verb: str, method: str) -> None:
    bus.offer("Reboot", "PowerOff")
    go_down(verb)
    assert bus.calls() == [(method, [False])]


def test_a_manager_that_cannot_do_it_is_named(bus: Bus) -> None:
    bus.offer("Reboot")
    with pytest.raises(Unavailable, match="cannot shutdown the host: ") as raised:
        go_down("shutdown")
    assert raised.value.fields == {"what": "login1"}


@pytest.mark.usefixtures("bus")
def test_a_bus_without_manager_is_said() -> None:
    with pytest.raises(Unavailable, match="cannot reboot the host: ") as raised:
        go_down("reboot")
    assert raised.value.fields == {"what": "login1"}


def test_a_host_without_bus_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/none")
    with pytest.raises(Unavailable, match="no system bus at unix:path=") as raised:
        go_down("reboot")
    assert raised.value.fields == {"what": "dbus"}
