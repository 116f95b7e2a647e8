from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_shellcheck_finds_nothing_in_the_entry_script() -> None:
    done = subprocess.run(["shellcheck", ROOT / "entry.sh"], check=False, capture_output=True, text=True)

    assert done.stdout == ""
    assert done.returncode == 0


def test_the_entry_script_can_be_executed() -> None:
    assert (ROOT / "entry.sh").stat().st_mode & 0o111 == 0o111
