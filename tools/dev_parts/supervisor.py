"""A whole supervisor in a folder of its own, without any host OS, and a small client of its API."""

import http.client
import json
import os
import platform
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from balena_supervisor.model.lock import lock_folder
from tools.dev_parts.paths import PYTHON, ROOT
from tools.dev_parts.programs import Program, ProgramFailed

#: As on a device: without docstrings, all processes together need some MB less.
RUN = (str(PYTHON), "-OO", "-m", "balena_supervisor", "run")
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ")
#: so long a predecessor's last processes may still hold the port
_PORT_PATIENCE_S = 3.0
_ARCH = {"x86_64": "amd64", "aarch64": "aarch64"}


class Api:
    """The local API, as far as development needs it."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        #: needed of a managed device that is not in local mode
        self.key = ""

    def get(self, path: str, timeout_s: float = 10) -> Any:
        """The decoded JSON of a GET, or its text. Raises ``OSError`` (``HTTPError`` for a status over 299)."""
        return self._send(urllib.request.Request(self.url + path), timeout_s)  # noqa: S310  # http only

    def post(self, path: str, body: Any, timeout_s: float = 10) -> Any:
        """As ``get``. Raises ``Refused`` with the answer's text for a status over 299."""
        request = urllib.request.Request(  # noqa: S310  # http only
            self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        return self._send(request, timeout_s)

    def pings(self) -> bool:
        """Whether it answers at all."""
        try:
            return bool(self.get("/ping", timeout_s=1) == "OK")
        except OSError:
            return False

    def is_ready(self) -> bool:
        """Whether it answers more than ``/ping``: until the configuration is read, all else is 503."""
        try:
            self.status()
        except OSError:
            return False
        return True

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.get("/v2/state/status")
        return answer

    def wait_until(self, condition: Callable[[dict[str, Any]], bool], timeout_s: float = 30) -> dict[str, Any]:
        """Ask for ``GET /v2/state/status`` until the condition holds of it; returns that answer.

        An API that does not answer counts as a condition that does not hold. Raises ``TimeoutError``, which shows
        the last answer.
        """
        end = time.monotonic() + timeout_s
        last: dict[str, Any] | str = "no answer"
        while time.monotonic() < end:
            try:
                status = self.status()
            except OSError as error:
                last = str(error)
            else:
                if condition(status):
                    return status
                last = status
            time.sleep(0.02)
        raise TimeoutError(f"not so after {timeout_s:.0f} s: {last}")

    def _send(self, request: urllib.request.Request, timeout_s: float) -> Any:
        if self.key:
            request.add_header("Authorization", f"Bearer {self.key}")
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310  # http only
                text = answer.read().decode()
                return json.loads(text) if "json" in answer.headers.get("Content-Type", "") else text
        except urllib.error.HTTPError as error:
            raise Refused(error.code, error.read().decode(errors="replace")) from None
        except http.client.HTTPException as error:  # an answer that was cut short when its process died
            raise ConnectionError(f"no whole answer: {error!r}") from error


class Refused(OSError):
    """The API answered with a status over 299."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status} {text}")
        self.status = status
        self.text = text


class PortTaken(ProgramFailed):
    """Another program holds the port."""


class Supervisor:
    """An unmanaged supervisor on 127.0.0.1. Everything that it writes stands in ``folder`` and ``run_dir``."""

    def __init__(self, folder: Path, run_dir: Path, *, engine_url: str, instance: str, port: int) -> None:
        self.folder = folder
        self._instance = instance
        self._port = port
        self._started_at = 0.0
        self.api = Api(port)
        self.program = Program("supervisor", folder)
        self._environment = {
            **{name: os.environ[name] for name in _KEPT if name in os.environ},
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "DOCKER_HOST": engine_url,
            "SUPERVISOR_INSTANCE": instance,
            "SUPERVISOR_RUN_DIR": str(run_dir),
            "LISTEN_ADDRESS": "127.0.0.1",
            "LISTEN_PORT": str(port),
            "ROOT_MOUNTPOINT": str(folder / "root"),
            "BOOT_MOUNTPOINT": str(folder / "boot"),
            "STATE_MOUNTPOINT": str(folder / "state"),
            "DATA_MOUNTPOINT": str(folder / "mnt-data"),
            "CONFIG_MOUNT_POINT": str(folder / "boot/config.json"),
            "DATABASE_PATH": str(folder / "database.sqlite"),
            "HOST_OS_VERSION_PATH": str(folder / "root/etc/os-release"),
            "LED_FILE": str(folder / "led"),
            # the machine's own bus would let it reboot the developer's machine
            "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={folder}/no-system-bus",
        }

    def start(self, extra: dict[str, str] | None = None, *, timeout_s: float = 30) -> None:
        """Start it and wait until its API is ready. Raises ``ProgramFailed``, and ``PortTaken`` when another program
        has the port."""
        self._make_host()
        self._started_at = time.monotonic()
        environment = {**self._environment, **(extra or {})}
        self.program.start(RUN, self._is_ready, environment=environment, timeout_s=timeout_s)

    def stop(self) -> None:
        self.program.stop()

    def _is_ready(self) -> bool:
        if not self.api.is_ready():
            waited_s = time.monotonic() - self._started_at
            if waited_s > _PORT_PATIENCE_S and f"cannot listen on port {self._port}:" in self.program.output():
                raise PortTaken(f"another program holds port {self._port}")
            return False
        try:
            processes = self.api.get("/debug/actors?memory=0")["actors"]
        except OSError:
            return False
        if self.program.pid() not in {process["pid"] for process in processes}:
            raise PortTaken(f"another supervisor answers at {self.api.url}")
        return True

    def _make_host(self) -> None:
        """The little that is read of a host OS."""
        for name in ("root/etc", "root/tmp", "boot", "state", "mnt-data"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        arch = _ARCH.get(platform.machine(), platform.machine())
        _write(self.folder / "boot/device-type.json", json.dumps({"slug": f"generic-{arch}", "arch": arch}))
        _write(self.folder / "root/etc/os-release", 'NAME="development"\nVERSION="1"\nPRETTY_NAME="development 1"\n')
        _write(self.folder / "led", "0")
        locks = Path(lock_folder(self._instance)).parent  # the engine mounts it by its path on this machine
        link = self.folder / "root/tmp" / locks.name
        if not link.is_symlink():
            link.symlink_to(locks)


def _write(path: Path, text: str) -> None:
    if not path.exists():
        path.write_text(text)
