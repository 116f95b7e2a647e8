"""The Debian packages that development needs, and their installation. Standard library only."""

import importlib.util
import os
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path

from tools.dev_parts.terminal import root_prefix, say, which

#: without these, D-Bus support cannot be built
BUILD_PACKAGES = frozenset({"gcc", "libc6-dev", "pkg-config", "libdbus-1-dev", "libglib2.0-dev", "python3-dev"})


def static_busybox() -> Path | None:
    """A busybox that runs in an image made from scratch: one that asks for no dynamic linker."""
    path = which("busybox")
    if path is None:
        return None
    with Path(path).open("rb") as file:
        head = file.read(4096)
    return None if b"/ld-" in head else Path(path)


def missing() -> list[str]:
    """Names of packages whose content this machine lacks, from wherever else it may have it."""
    return [package for package, present in _NEEDS if not present()]


def install_missing() -> list[str]:
    """Install what is missing, and say so. Returns what is missing still."""
    wanted = missing()
    if not wanted:
        return []
    if which("apt-get") is None:
        say(f"cannot install packages: this machine has no apt-get. Missing: {', '.join(wanted)}")
        return wanted
    prefix = root_prefix()
    if prefix is None:
        say(f"cannot install packages: neither root nor sudo. Missing: {', '.join(wanted)}")
        return wanted
    say(f"installing Debian packages: {', '.join(wanted)}")
    for arguments in (["update"], ["install", "-y", "--no-install-recommends", *wanted]):
        command = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", *arguments]
        if subprocess.run(command, check=False, stdin=subprocess.DEVNULL).returncode:
            say(f"apt-get {arguments[0]} failed")
    return missing()


def _has(program: str) -> Callable[[], bool]:
    return lambda: which(program) is not None


def _has_library(name: str) -> Callable[[], bool]:
    def present() -> bool:
        tool = which("pkg-config")
        return tool is not None and subprocess.run([tool, "--exists", name], check=False).returncode == 0

    return present


def _has_engine() -> bool:
    """An engine of this machine, or the socket of one: docker-ce and docker.io exclude each other."""
    return bool(os.environ.get("DOCKER_HOST")) or which("dockerd") is not None or Path("/var/run/docker.sock").exists()


_NEEDS: list[tuple[str, Callable[[], bool]]] = [
    ("docker.io", _has_engine),
    ("docker-registry", _has("docker-registry")),
    ("iptables", _has("iptables")),
    ("iproute2", _has("ip")),
    ("busybox-static", lambda: static_busybox() is not None),
    ("dbus", _has("dbus-daemon")),
    ("wrk", _has("wrk")),
    ("chromium", _has("chromium")),
    ("chromium-driver", _has("chromedriver")),
    ("debootstrap", _has("debootstrap")),
    ("shellcheck", _has("shellcheck")),
    ("python3-dbusmock", Path("/usr/lib/python3/dist-packages/dbusmock").is_dir),
    ("gcc", _has("gcc")),
    ("libc6-dev", Path("/usr/include/stdio.h").exists),
    ("pkg-config", _has("pkg-config")),
    ("libdbus-1-dev", _has_library("dbus-1")),
    ("libglib2.0-dev", _has_library("glib-2.0")),
    ("python3-dev", lambda: Path(sysconfig.get_path("include"), "Python.h").exists()),
    ("python3-venv", lambda: importlib.util.find_spec("ensurepip") is not None),
]
