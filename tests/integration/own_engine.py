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
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import docker
from docker.errors import DockerException

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
        """Stop the engine with a signal and wait until it is gone. One that is killed leaves containers running."""
        assert self._engine is not None
        self._engine.send_signal(number)
        self._engine.wait(60)

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

    def _end_lost_containers(self) -> None:
        """An engine that was killed may not know all of its containers again."""
        mark = f"{self._folder}/containerd.sock".encode()
        for shim in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if mark in (shim / "cmdline").read_bytes():
                    children = (shim / "task" / shim.name / "children").read_text().split()
                    for pid in (*children, shim.name):
                        os.kill(int(pid), signal.SIGKILL)

    def _remove_containers(self) -> None:
        client = docker.APIClient(base_url=self.url, timeout=20)
        try:
            for container in client.containers(all=True):
                with suppress(DockerException):
                    client.remove_container(container["Id"], force=True)
        finally:
            client.close()


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
