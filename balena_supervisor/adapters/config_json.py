"""config.json, which host and supervisor share (spec cloud-and-host 2.7)."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import Any

import msgspec

from balena_supervisor.adapters.safe_file import write_safely


class FileState(Enum):
    READABLE = "readable"
    MISSING = "missing"
    DAMAGED = "damaged"


class ConfigFile(msgspec.Struct, frozen=True):
    """What was read; ``problem`` says in words why a file that is there is of no use."""

    state: FileState
    values: dict[str, Any] = {}
    problem: str = ""


class ConfigJson:
    """The file at one path. It is read as a whole and written as a whole: keys of others and their order survive."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> ConfigFile:
        try:
            values = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return ConfigFile(FileState.MISSING)
        except OSError as error:
            return self._damaged(error.strerror or str(error))
        except ValueError as error:
            return self._damaged(f"it is no JSON ({error})")
        if not isinstance(values, dict):
            return self._damaged("it holds no JSON object")
        return ConfigFile(FileState.READABLE, values)

    def write(self, values: dict[str, Any]) -> None:
        """Raises ``OSError``. Folders are not created: without its folder the boot partition is not mounted."""
        write_safely(self._path, json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode())

    def _damaged(self, reason: str) -> ConfigFile:
        return ConfigFile(FileState.DAMAGED, problem=f"cannot read {self._path}: {reason}")
