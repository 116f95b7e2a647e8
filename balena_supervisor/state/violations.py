"""Checks of one field of a target document, collecting what is wrong instead of stopping at the first."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from typing import Any, Final

from balena_supervisor.errors import InvalidTarget
from balena_supervisor.state import coerce

#: Where a value stands in its document: the keys from the top.
Path = tuple[str, ...]

_LONGEST_VALUE = 1000
_DEEPEST = 64
_SMALLEST, _LARGEST = -(2**63), 2**64 - 1


class Missing:
    """Stands for a field that is not there, which is not the same as null."""


MISSING: Final = Missing()


class Violations:
    """What a document breaks, one line each, and the checks that find it.

    Each check returns the value as the program uses it. After a violation it returns something harmless of the same
    type: the document is refused as a whole by :meth:`settle`, so nobody uses it. ``show`` turns the path of a value
    into the one that the author of the document knows.
    """

    def __init__(self, show: Callable[[Path], Path] = lambda path: path) -> None:
        self.lines: list[str] = []
        self._show = show

    def add(self, path: Path, expected: str, value: object) -> None:
        where = _sendable(".".join(self._show(path)))
        self.lines.append(f"{where}: expected {expected}, got {shown(value)}")

    def settle(self) -> None:
        """Raise ``InvalidTarget`` with all lines, if there are any."""
        if self.lines:
            raise InvalidTarget("\n".join(["Invalid target state.", *self.lines]), violations=list(self.lines))

    def numeric_id(self, path: Path, value: object) -> int:
        number = coerce.to_numeric_id(value)
        if number is None:
            self.add(path, "a whole number from 0, or a text of one", value)
        return number or 0

    def short_string(self, path: Path, value: object) -> str:
        if isinstance(value, str) and coerce.is_short_string(value) and is_unicode(value):
            return value
        self.add(path, "a text of at most 255 characters", value)
        return ""

    def device_name(self, path: Path, value: object) -> str:
        if isinstance(value, str) and coerce.is_device_name(value) and is_unicode(value):
            return value
        self.add(path, "a text of at most 255 characters without a newline", value)
        return ""

    def boolean(self, path: Path, value: object) -> bool:
        if not isinstance(value, bool):
            self.add(path, "true or false", value)
        return value is True

    def mapping(self, path: Path, value: object) -> dict[str, Any]:
        if isinstance(value, dict):
            return value
        self.add(path, "an object", value)
        return {}

    def open_object(self, path: Path, value: object) -> dict[str, Any]:
        """An object whose content is not looked into, except that every process must be able to hold it."""
        fields = self.mapping(path, value)
        self.portable(path, fields)
        return fields

    def portable(self, path: Path, value: object, depth: int = _DEEPEST) -> None:
        """Any JSON that can be sent to every process and stored as JSON again; ``depth`` is how many levels it has."""
        if depth == 0:
            self.add(path, f"at most {_DEEPEST} levels", "…")
        elif isinstance(value, dict):
            for name, entry in value.items():
                self.portable((*path, name), name, depth)
                self.portable((*path, name), entry, depth - 1)
        elif isinstance(value, list):
            for index, entry in enumerate(value):
                self.portable((*path, str(index)), entry, depth - 1)
        elif isinstance(value, int) and not _SMALLEST <= value <= _LARGEST:
            self.add(path, "a number of at most 64 bits", value)
        elif isinstance(value, float) and not math.isfinite(value):
            self.add(path, "a finite number", value)
        elif isinstance(value, str) and not is_unicode(value):
            self.add(path, "a text of whole characters", value)

    def choice(self, path: Path, value: object, choices: tuple[str, ...]) -> str:
        if isinstance(value, str) and value in choices:
            return value
        self.add(path, "one of " + ", ".join(json.dumps(choice) for choice in choices), value)
        return choices[0]

    def entries(
        self, path: Path, value: object, is_name: Callable[[object], bool], kind: str
    ) -> Iterator[tuple[str, Any]]:
        """All entries of an object; a bad name is reported at its own path."""
        for name, entry in self.mapping(path, value).items():
            if not is_name(name) or not is_unicode(name):
                self.add((*path, name), kind, name)
            yield name, entry

    def texts(self, path: Path, value: object, is_name: Callable[[object], bool], kind: str) -> dict[str, str]:
        """An object of texts, such as an environment."""
        result: dict[str, str] = {}
        for name, entry in self.entries(path, value, is_name, kind):
            if isinstance(entry, str) and is_unicode(entry):
                result[name] = entry
            else:
                self.add((*path, name), "a text", entry)
        return result


def is_unicode(text: str) -> bool:
    """Whether a text can be stored and sent: JSON can also write one half of a surrogate pair."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def shown(value: object) -> str:
    """A value as compact JSON, cut when it is very long; ``undefined`` when it is missing."""
    if value is MISSING:
        return "undefined"
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except (RecursionError, ValueError):
        return "…"  # too deep, or a number of thousands of digits
    return _sendable(text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + "…")


def _sendable(text: str) -> str:
    return text if is_unicode(text) else text.encode("ascii", "backslashreplace").decode()
