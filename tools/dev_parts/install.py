"""``tools/dev setup``: Debian packages and the virtual environment. Standard library only."""

import configparser
import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path

from tools.dev_parts import packages
from tools.dev_parts.paths import PYTHON, ROOT, VENV
from tools.dev_parts.terminal import say

_EXTRAS = ("test", "lint")
_STAMP = VENV / ".setup-stamp"


class SetupFailed(Exception):
    """The virtual environment could not be made; the output above says why."""


def ensure() -> None:
    """Bring the machine to where ``run`` and ``test`` work. Does and prints nothing when it is there.

    Two at a time wait for each other. Raises ``SetupFailed``.
    """
    checkout = os.open(ROOT, os.O_RDONLY)
    try:
        fcntl.flock(checkout, fcntl.LOCK_EX)
        lacking = packages.install_missing()
        if not _stamp_is_current():
            _make_environment(without_dbus=bool(packages.BUILD_PACKAGES.intersection(lacking)))
    finally:
        os.close(checkout)


def enter_environment(program: str, arguments: list[str]) -> None:
    """Set up, then go on with ``tools/PROGRAM`` in the virtual environment; returns at once when it runs there already.

    Raises ``SetupFailed``.
    """
    if Path(sys.prefix) != VENV:
        ensure()
        os.execv(PYTHON, [str(PYTHON), str(ROOT / "tools" / program), *arguments])  # noqa: S606  # no shell wanted


def _make_environment(*, without_dbus: bool) -> None:
    if not _python_works():
        say(f"creating .venv with Python {sys.version.split()[0]}")
        _run([sys.executable, "-m", "venv", "--clear", str(VENV)], "cannot create .venv")
    say("installing Python packages into .venv: the supervisor's own, and those for tests and checks")
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if without_dbus:
        say("D-Bus support is left out: its parts cannot be built here. Everything that needs no D-Bus works")
        _run([*pip, *_requirements_without_dbus()], "cannot install the Python packages")
        _run([*pip, "--no-deps", "-e", str(ROOT)], "cannot install the supervisor into .venv")
    else:
        _run([*pip, "-e", f"{ROOT}[{','.join(_EXTRAS)}]"], "cannot install the Python packages")
    _STAMP.write_text(_stamp())


def _requirements_without_dbus() -> list[str]:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    lines = parser["options"]["install_requires"].splitlines()
    for extra in _EXTRAS:
        lines += parser["options.extras_require"][extra].splitlines()
    return [line for line in lines if line and not line.startswith("dbus-python")]


def _python_works() -> bool:
    """False also after the checkout was moved, or when the Python that it was made with is gone."""
    if not PYTHON.exists():
        return False
    check = [str(PYTHON), "-c", "import sys, pip; sys.exit(sys.version_info < (3, 11))"]
    return subprocess.run(check, check=False, capture_output=True).returncode == 0


def _stamp() -> str:
    """What the environment was made from: change this and it is made again."""
    return hashlib.sha256((ROOT / "setup.cfg").read_bytes() + str(ROOT).encode()).hexdigest()


def _stamp_is_current() -> bool:
    return _python_works() and _STAMP.exists() and _STAMP.read_text() == _stamp()


def _run(command: list[str], failure: str) -> None:
    if subprocess.run(command, check=False, stdin=subprocess.DEVNULL, cwd=ROOT).returncode:
        raise SetupFailed(failure)
