"""A Docker Engine and a registry that a test may stop, kill and start again, in a network of their own.

Everyone else's engine on the machine is left in peace: this one has its own folders, and a network namespace in which
neither its bridges nor its firewall rules meet others.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import docker
from docker.errors import DockerException

from balena_supervisor.runtime.process import children_of
from tests.integration.conftest import TestedSupervisor
from tests.integration.targets import no_apps
from tests.integration.test_app import containers
from tests.integration.workshop import FOREVER, root_filesystem
from tests.runtime.toy_supervisor import wait_until
from tools.dev_parts.engine import answers
from tools.dev_parts.terminal import which

_REGISTRY = "127.0.0.1:5000"
_REGISTRY_SETTINGS = """\
version: 0.1
log: {{level: warn, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: "{folder}/images"}}}}
http: {{addr: "{address}"}}
"""


class OwnEngine:
    """Everything stands in ``folder``, whose path must be short, since sockets stand in it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.url = f"unix://{folder}/docker.sock"
        self._namespace: subprocess.Popen[bytes] | None = None
        self._engine: subprocess.Popen[bytes] | None = None
        self._registry: subprocess.Popen[bytes] | None = None
        self._containerd: subprocess.Popen[bytes] | None = None

    def open(self) -> None:
        """Make the network and start the registry and the engine."""
        script = "ip link set lo up; echo up; exec sleep infinity"
        self._namespace = subprocess.Popen(["unshare", "--net", "sh", "-c", script], stdout=subprocess.PIPE)
        assert self._namespace.stdout is not None
        assert self._namespace.stdout.readline() == b"up\n"
        settings = self._folder / "registry.yml"
        settings.write_text(_REGISTRY_SETTINGS.format(folder=self._folder, address=_REGISTRY))
        self._registry = self._run("registry", which("docker-registry") or "docker-registry", "serve", str(settings))
        # the engine's own containerd would die with it and then, unlike one of a machine, leave lost containers behind
        folders = ["--root", f"{self._folder}/containerd", "--state", f"{self._folder}/tasks"]
        self._containerd = self._run(
            "containerd", "containerd", *folders, "--address", f"{self._folder}/containerd.sock"
        )
        self.start()

    def start(self) -> None:
        """Start the engine, unless it runs, and wait until it answers."""
        if self._engine is not None and self._engine.poll() is None:
            return
        folder = self._folder
        command = [which("dockerd") or "dockerd", "--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec"]
        command += ["--pidfile", f"{folder}/pid", "-H", self.url, "--containerd", f"{folder}/containerd.sock"]
        command += ["--default-address-pool", "base=10.60.0.0/16,size=24"]
        (folder / "pid").unlink(missing_ok=True)
        self._engine = self._run("dockerd", *command)
        wait_until(lambda: answers(self.url), "the engine answers", timeout_s=20)

    def end(self, number: signal.Signals) -> None:
        """Stop the engine with a signal and wait until it is gone. One that is killed leaves containers running, but
        none in the making."""
        assert self._engine is not None
        self._engine.send_signal(number)
        self._engine.wait(60)
        if number == signal.SIGKILL:
            wait_until(self._none_in_the_making, "no container is in the making", timeout_s=60)

    def pause(self) -> None:
        """Have the engine hang: it takes connections and answers nothing."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """After a pause, if there was one."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._engine is not None and self._engine.poll() is None:
            self._engine.send_signal(number)

    def close(self) -> None:
        """End everything that was started."""
        with suppress(DockerException):
            self._remove_containers()
        for process, number in (
            (self._engine, signal.SIGTERM),
            (self._containerd, signal.SIGTERM),
            (self._registry, signal.SIGKILL),
            (self._namespace, signal.SIGKILL),
        ):
            if process is not None and process.poll() is None:
                process.send_signal(number)
                process.wait(60)
        self._end_lost_containers()
        mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        for mount in reversed([mount for mount in mounts if mount.startswith(f"{self._folder}/")]):
            subprocess.run(["umount", "--lazy", mount], check=False)

    def image(self, name: str, *, size: int = 0) -> str:
        """Have an image in the registry only that waits for ever. ``size`` are random bytes. Returns its full name."""
        repository = f"{_REGISTRY}/{name}"
        client = docker.APIClient(base_url=self.url, timeout=60)
        try:
            changes = ["ENV PATH=/bin", f"CMD {json.dumps(FOREVER)}", f"LABEL name={name}"]
            client.import_image_from_data(root_filesystem(size), repository=repository, tag="1", changes=changes)
            for line in client.push(repository, tag="1", stream=True, decode=True):
                assert "error" not in line, line
            client.remove_image(f"{repository}:1")
        finally:
            client.close()
        return f"{repository}:1"

    def log(self) -> str:
        return (self._folder / "dockerd.log").read_text(errors="replace")

    def _run(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        assert self._namespace is not None
        inside = ["nsenter", f"--net=/proc/{self._namespace.pid}/ns/net", *command]
        with (self._folder / f"{name}.log").open("ab") as output:
            return subprocess.Popen(inside, stdout=output, stderr=output, start_new_session=True)

    def _shims(self) -> dict[int, str]:
        """The processes between containerd and its containers: pid -> last argument."""
        mark = f"{self._folder}/containerd.sock"
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                arguments = (entry / "cmdline").read_text().rstrip("\0").split("\0")
                if mark in arguments and Path(arguments[0]).name.startswith("containerd-shim"):
                    found[int(entry.name)] = arguments[-1]
        return found

    def _none_in_the_making(self) -> bool:
        """Whether every shim has its container; ends those that have not begun to run it.

        Such a shim waits for the other end of a pipe, which died with the engine, and the next engine would wait for
        the shim, at every question about that container. On a device, containerd would have died with the engine too.
        """
        shims = self._shims()
        at_work = [pid for pid, last in shims.items() if last in {"start", "delete"}]
        unbegun = [pid for pid in shims.keys() - at_work if all(map(_is_runc, children_of(pid)))]
        for pid in unbegun:
            _kill_with_children(pid)
        return not at_work and not unbegun

    def _end_lost_containers(self) -> None:
        """An engine that was killed may not know all of its containers again."""
        for pid in self._shims():
            _kill_with_children(pid)

    def _remove_containers(self) -> None:
        client = docker.APIClient(base_url=self.url, timeout=20)
        try:
            for container in client.containers(all=True):
                with suppress(DockerException):
                    client.remove_container(container["Id"], force=True)
        finally:
            client.close()


def _is_runc(pid: int) -> bool:
    """Whether the process makes a container, or is one that has not been told to begin."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().startswith("runc")
    except OSError:
        return True


def _kill_with_children(pid: int) -> None:
    for one in (*children_of(pid), pid):
        with suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)


def expect_each_once(url: str, instance: str, services: Collection[str]) -> None:
    """Exactly these services run, each in one container, and no network is there twice."""
    client = docker.APIClient(base_url=url)
    try:
        label = {"label": f"io.balena.supervisor.instance={instance}"}
        assert len(client.containers(all=True, filters=label)) == len(services)
        states = {name: entry["State"]["Running"] for name, entry in containers(client, instance).items()}
        assert states == dict.fromkeys(services, True)
        names = [network["Name"] for network in client.networks(filters=label)]
        assert sorted(names) == sorted(set(names))
    finally:
        client.close()


def leave_nothing(engine: OwnEngine, supervisor: TestedSupervisor) -> None:
    """Have a supervisor remove all that it has made, and stop it, whatever it met with.

    An engine that was killed may count more containers on a network than there are, and never lets it be removed; it
    counts again when it is restarted.
    """

    def is_empty(status: dict[str, Any]) -> bool:
        return status["appState"] == "applied" and not status["containers"]

    def is_stuck(status: dict[str, Any]) -> bool:
        return not status["containers"] and "it counts again when it is restarted" in str(status["decisions"])

    try:
        engine.start()
        supervisor.post_target(no_apps())
        if not is_empty(supervisor.api.wait_until(lambda status: is_empty(status) or is_stuck(status), 60)):
            engine.end(signal.SIGTERM)
            engine.start()
            supervisor.api.wait_until(is_empty, 60)
    finally:
        supervisor.stop()


@contextmanager
def own_engine() -> Iterator[OwnEngine]:
    """An engine that answers; everything of it is gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="oe"))
    made = OwnEngine(folder)
    try:
        made.open()
        yield made
    finally:
        made.close()
        shutil.rmtree(folder, ignore_errors=True)
