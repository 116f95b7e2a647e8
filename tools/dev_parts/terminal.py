"""Plain lines for people, and the way to become root."""

import os
import shutil
import subprocess
import sys


def say(text: str) -> None:
    sys.stdout.write(f"dev: {text}\n")
    sys.stdout.flush()


def which(program: str) -> str | None:
    """Like ``shutil.which``, but also looks where only root's PATH leads."""
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin")


def root_prefix() -> list[str] | None:
    """What to put before a command that needs root: nothing, ``sudo``, or None when there is no way."""
    if os.geteuid() == 0:
        return []
    sudo = which("sudo")
    if sudo is None:
        return None
    if subprocess.run([sudo, "-n", "true"], check=False, capture_output=True).returncode == 0:
        return [sudo, "-n"]
    return [sudo] if sys.stdin.isatty() else None
