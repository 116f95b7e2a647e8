"""The image of the supervisor on a real engine, started as a host starts it (spec cloud-and-host 1.2).

A folder stands in place of the host's root, and the container is not privileged: a test must not be able to damage the
machine.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import docker
from docker.errors import NotFound

from tests.runtime.toy_supervisor import wait_until
from tools.dev_parts.registry import free_port
from tools.dev_parts.supervisor import Api

_SECOND_NS = 1_000_000_000


class Exit(NamedTuple):
    code: int
    output: str


class Device:
    """One container of the image, and the folders of its host below ``folder``. Nothing runs until ``start``."""

    def __init__(self, engine: docker.APIClient, engine_url: str, image: str, folder: Path, instance: str) -> None:
        self._engine = engine
        self._image = image
        self.folder = folder
        self.root = folder / "root"
        self.api = Api(free_port())
        self.name = f"balena_supervisor-{secrets.token_hex(4)}"
        self.environment = {"LISTEN_PORT": self.api.url.rpartition(":")[2], "SUPERVISOR_INSTANCE": instance}
        self.binds = [
            f"{engine_url.removeprefix('unix://')}:/var/run/docker.sock",
            f"{self.root}:/mnt/root",
            f"{folder}/data:/data",
            f"{folder}/config.json:/boot/config.json:ro",
        ]
        #: what only some hosts give: ``devices``, ``cap_add``, …
        self.given: dict[str, Any] = {}
        for name in ("etc", "tmp", "mnt/boot", "mnt/data", "mnt/state", "lib/modules", "var/lib/docker"):
            (self.root / name).mkdir(parents=True)
        (folder / "data").mkdir()
        (folder / "config.json").write_text(json.dumps({"deviceType": "generic"}))
        (self.root / "mnt/boot/device-type.json").write_text(json.dumps({"slug": "generic", "arch": "amd64"}))
        (self.root / "etc/os-release").write_text('PRETTY_NAME="tested 1"\n')

    def start(self) -> None:
        """Create and start it, and wait until it is ready."""
        self._create("always")
        self._engine.start(self.name)
        self.wait_until_ready()

    def enter(self) -> None:
        """Create and start it, and wait until ``entry.sh`` has become the supervisor, which goes on to start."""
        self._create("always")
        self._engine.start(self.name)
        self.wait_until_entered()

    def wait_until_entered(self) -> None:
        self._wait(lambda: "python" in Path(f"/proc/{self.state()['Pid']}/exe").readlink().name, "the supervisor runs")

    def run_to_its_end(self) -> int:
        """Create and start it, without another start; its exit code."""
        self._create("no")
        self._engine.start(self.name)
        return int(self._engine.wait(self.name)["StatusCode"])

    def _create(self, restart: str) -> None:
        """The check of its health is its own, but once a second."""
        check = self._engine.inspect_image(self._image)["Config"]["Healthcheck"]  # type: ignore[no-untyped-call]
        self._engine.create_container(
            self._image,
            name=self.name,
            environment=self.environment,
            healthcheck={**check, "Interval": _SECOND_NS, "StartPeriod": _SECOND_NS},
            host_config=self._engine.create_host_config(
                binds=self.binds, network_mode="host", restart_policy={"Name": restart}, **self.given
            ),
        )

    def wait_until_ready(self) -> None:
        """Until the API answers more than ``/ping``."""
        self._wait(self.api.is_ready, "the API of the container answers")

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        """Shows the output of the container when it is not so in time."""

        def holds() -> bool:
            with suppress(OSError):
                return condition()
            return False

        try:
            wait_until(holds, what, timeout_s=60)
        except AssertionError as error:
            raise AssertionError(f"{error}; its output:\n{self.output()}") from None

    def inspect(self) -> dict[str, Any]:
        found: dict[str, Any] = self._engine.inspect_container(self.name)
        return found

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = self.inspect()["State"]
        return found

    def kill(self) -> None:
        """SIGKILL from outside of the engine, which takes its own for a wish to stay stopped."""
        before = self.state()
        os.kill(before["Pid"], signal.SIGKILL)
        wait_until(
            lambda: self.state()["Running"] and self.state()["StartedAt"] != before["StartedAt"], "it is started again"
        )

    def run(self, *command: str) -> Exit:
        """Run a program in the container."""
        made = self._engine.exec_create(self.name, list(command))
        output = self._engine.exec_start(made["Id"])
        return Exit(self._engine.exec_inspect(made["Id"])["ExitCode"], output.decode(errors="replace"))

    def read(self, path: str) -> str:
        """The content of a file of the container."""
        done = self.run("cat", path)
        assert done.code == 0, done.output
        return done.output

    def links(self, *paths: str) -> Sequence[str]:
        """Where symbolic links of the container lead, ``""`` for what is none."""
        return [self.run("readlink", path).output.strip() for path in paths]

    def output(self) -> str:
        """What it has written so far; nothing when it was not started."""
        with suppress(NotFound):
            return str(self._engine.logs(self.name).decode(errors="replace"))
        return ""

    def remove(self) -> None:
        """Harmless when it is gone. What it has written is shown if the test fails."""
        sys.stdout.write(self.output())
        with suppress(NotFound):
            self._engine.remove_container(self.name, force=True, v=True)
