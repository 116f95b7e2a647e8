"""A real image registry on this machine, without authentication."""

import os
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.dev_parts.paths import DEV
from tools.dev_parts.programs import Program, ProgramFailed, shared
from tools.dev_parts.terminal import which

_CONFIGURATION = """\
version: 0.1
log: {{level: warn, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: "{folder}/data"}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


class RegistryMissing(Exception):
    """No registry is there and none can be started."""


@contextmanager
def dev_registry() -> Iterator[str]:
    """The registry of ``TEST_REGISTRY``, or our own under ``.dev/registry``; yields ``host:port``.

    The own one keeps its port from run to run as long as it is free, so that the names of images stay the same.
    Raises ``RegistryMissing``.
    """
    given = os.environ.get("TEST_REGISTRY", "")
    if given:
        yield given
        return
    with registry_in(DEV / "registry") as address:
        yield address


@contextmanager
def registry_in(folder: Path) -> Iterator[str]:
    """A registry that keeps its images in a folder; commands that name the same folder share it."""
    binary = which("docker-registry")
    if binary is None:
        raise RegistryMissing("docker-registry is not installed")
    program = Program("registry", folder)
    remembered = folder / "port"

    def start() -> None:
        port = free_port(_number(remembered))
        remembered.write_text(str(port))
        configuration = folder / "config.yml"
        configuration.write_text(_CONFIGURATION.format(folder=folder, port=port))
        program.start([binary, "serve", str(configuration)], lambda: _answers(port))

    try:
        with shared(program, start):
            yield f"localhost:{_number(remembered)}"
    except ProgramFailed as error:
        raise RegistryMissing(f"a registry cannot be started: {error}") from error


def free_port(preferred: int = 0) -> int:
    """A TCP port of 127.0.0.1 that nobody listens on: the preferred one if it can be had."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no TCP port is free")


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _number(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0
