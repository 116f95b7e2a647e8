"""Find a Docker Engine, or start one of our own under ``.dev/engine``."""

import grp
import ipaddress
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import docker
from docker.errors import DockerException

from tools.dev_parts.paths import CHECKOUT, DEV, ROOT, run_folder, tidy_run_folder
from tools.dev_parts.programs import Program, ProgramFailed, shared
from tools.dev_parts.terminal import root_prefix, say, which

_SYSTEM = "unix:///var/run/docker.sock"


class EngineMissing(Exception):
    """No engine answers and none can be started; the message is the reason."""


class Engine(NamedTuple):
    """An engine that answers. ``real`` is false for the simulated one."""

    url: str
    real: bool = True


def answers(url: str) -> bool:
    with suppress(DockerException, OSError, ValueError):
        client = docker.APIClient(base_url=url, timeout=5)
        try:
            return bool(client.ping())
        finally:
            client.close()
    return False


@contextmanager
def real_engine() -> Iterator[Engine]:
    """The engine of ``DOCKER_HOST``, of this machine, or our own for as long as the context lasts.

    Raises ``EngineMissing``.
    """
    given = os.environ.get("DOCKER_HOST", "")
    if given and not answers(given):
        say(f"nothing answers at DOCKER_HOST={given}")
    for url in filter(None, (given, _SYSTEM)):
        if answers(url):
            yield Engine(url)
            return
    prefix = _can_start()
    socket = run_folder("engine") / "docker.sock"
    program = Program("dockerd", DEV / "engine", prefix)
    bridge = _Bridge(prefix)
    with _owned(program, bridge, socket):
        yield Engine(f"unix://{socket}")


@contextmanager
def simulated_engine() -> Iterator[Engine]:
    """An engine that keeps its containers in memory and has every image that is asked for."""
    folder = run_folder(f"simulated-{os.getpid()}")
    socket = folder / "docker.sock"
    program = Program("simulated-engine", DEV / "simulated")
    program.stop()  # one that a killed command left behind
    url = f"unix://{socket}"
    command = [sys.executable, "-m", "tests.fakes.engine", "--socket", str(socket), "--any-image"]
    command += ["--pull-line-ms", "20"]  # slow enough to be seen
    program.start(command, lambda: answers(url), environment={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        yield Engine(url, real=False)
    finally:
        program.stop()
        shutil.rmtree(folder, ignore_errors=True)
        tidy_run_folder()


@contextmanager
def _owned(program: Program, bridge: "_Bridge", socket: Path) -> Iterator[None]:
    url = f"unix://{socket}"
    bridges: list[str] = []

    def start() -> None:
        say("no engine answers: starting an own dockerd under .dev/engine")
        program.start(_command(socket, bridge), lambda: answers(url), timeout_s=60)

    try:
        with shared(program, start):
            try:
                yield
            finally:
                bridges = _bridges_of_networks(url)
    except ProgramFailed as error:
        raise EngineMissing(f"an own dockerd cannot be started: {error}") from error
    finally:
        if not program.running():
            bridge.remove(bridges)
            _unmount_below(socket.parent, program.prefix)
            shutil.rmtree(socket.parent, ignore_errors=True)
            tidy_run_folder()


def _bridges_of_networks(url: str) -> list[str]:
    """What an engine leaves on the machine when it ends, and makes anew when it starts with the same data."""
    with suppress(DockerException, OSError):
        client = docker.APIClient(base_url=url, timeout=20)
        try:
            return [f"br-{network['Id'][:12]}" for network in client.networks(filters={"driver": "bridge"})]
        finally:
            client.close()
    return []


def _unmount_below(folder: Path, prefix: list[str]) -> None:
    """What dockerd leaves mounted when it had to stop containers itself."""
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    left = [mount for mount in mounts if mount.startswith(f"{folder}/")]
    if left:
        command = [*prefix, which("umount") or "umount", "--lazy", *reversed(left)]
        subprocess.run(command, check=False, capture_output=True)


def _can_start() -> list[str]:
    if which("dockerd") is None:
        raise EngineMissing("no engine answers, and dockerd is not installed")
    prefix = root_prefix()
    if prefix is None:
        raise EngineMissing("no engine answers, and an own one needs root")
    return prefix


def _command(socket: Path, bridge: "_Bridge") -> list[str]:
    folder = DEV / "engine"
    command = [which("dockerd") or "dockerd", "--data-root", str(folder / "data"), "-H", f"unix://{socket}"]
    # containerd's sockets stand in here, so the path must be short
    command += ["--exec-root", str(socket.parent / "exec"), "--pidfile", str(socket.parent / "pid")]
    if os.geteuid() != 0:
        command += ["--group", grp.getgrgid(os.getgid()).gr_name]
    if bridge.docker0_exists():
        # Another engine is or was at work. Two share docker0 and the firewall: the second would give docker0 another
        # address and flush the rules of the first, whose published ports are then dead (seen with 20.10). So ours
        # gets its own bridge and leaves the firewall alone; ports are published by docker-proxy.
        command += ["--bridge", bridge.make(), "--iptables=false"]
    else:
        bridge.will_be("docker0")
    return command


class _Bridge:
    """The network bridge of our engine: docker0, or one of our own in place of it. Its name is noted in a file,
    since the command that stops the engine may not be the one that started it."""

    def __init__(self, prefix: list[str]) -> None:
        self._prefix = prefix
        self._note = DEV / "engine" / "bridge"
        number = int(CHECKOUT, 16)
        self._address = ipaddress.IPv4Address(f"10.{200 + number % 50}.{number // 50 % 256}.1")

    def docker0_exists(self) -> bool:
        return not self._ip("link", "show", "docker0")  # not from /sys, which may show another network namespace

    def make(self) -> str:
        """Make one of our own. Raises ``ProgramFailed``."""
        name = f"sv{CHECKOUT}"
        self.will_be(name)
        self._ip("link", "del", name)  # of an engine that was killed
        for command in (
            ["link", "add", name, "type", "bridge"],
            ["addr", "add", f"{self._address}/24", "dev", name],
            ["link", "set", name, "up"],
        ):
            failure = self._ip(*command)
            if failure:
                raise ProgramFailed(f"cannot make a network bridge: {failure}")
        return name

    def will_be(self, name: str) -> None:
        self._note.write_text(name)

    def remove(self, others: list[str]) -> None:
        """Once the engine is stopped: it leaves its bridge and the ``others``, of its networks, behind, and supervisor0
        if no other engine may use it."""
        if self._note.exists():
            name = self._note.read_text()
            for bridge in (*others, name, "supervisor0") if name == "docker0" else (*others, name):
                self._ip("link", "del", bridge)
            self._note.unlink()

    def _ip(self, *arguments: str) -> str:
        """What went wrong, or nothing."""
        command = [*self._prefix, which("ip") or "ip", *arguments]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        return done.stderr.strip() if done.returncode else ""
