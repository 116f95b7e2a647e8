"""Where things are on a development machine. Everything that is made stands in ``.venv`` and ``.dev``."""

import hashlib
import os
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: may be moved, so that two of them can be at work in one checkout
DEV = Path(os.environ.get("DEV_FOLDER") or ROOT / ".dev").absolute()
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"


def checkout_id(folder: Path) -> str:
    """A short name for the folder ``.dev`` of one checkout."""
    return hashlib.sha256(str(folder).encode()).hexdigest()[:8]


def instance_label(folder: Path) -> str:
    """The instance label of all that ``tools/dev run`` with this folder makes on the engine."""
    return f"dev-{checkout_id(folder)}"


#: tells checkouts on one machine apart
CHECKOUT = checkout_id(DEV)
INSTANCE = instance_label(DEV)


def run_folder(name: str = "") -> Path:
    """A private folder with a short path, made when missing.

    The path of a Unix socket may have 107 bytes, and a checkout may be deep: sockets stand here and not in ``.dev``.
    """
    base = Path("/run") if os.access("/run", os.W_OK) else Path("/tmp")  # noqa: S108  # made private, owner checked
    folder = base / f"balena-dev-{os.getuid()}-{CHECKOUT}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise SystemExit(f"dev: {folder} belongs to another user")
    folder = folder / name
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def tidy_run_folder() -> None:
    """Remove the folder when nothing is in it; another command of this checkout may still use it."""
    with suppress(OSError):
        run_folder().rmdir()
