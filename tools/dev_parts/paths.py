"""Where things are on a development machine. Everything that is made stands in ``.venv`` and ``.dev``."""

import hashlib
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: may be moved, so that two of them can be at work in one checkout
DEV = Path(os.environ.get("DEV_FOLDER") or ROOT / ".dev").absolute()
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"

#: tells checkouts on one machine apart
CHECKOUT = hashlib.sha256(str(DEV).encode()).hexdigest()[:8]
#: label of all that ``tools/dev run`` makes on the engine
INSTANCE = f"dev-{CHECKOUT}"


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
