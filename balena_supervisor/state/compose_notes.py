"""What reading a composition has to say: things that were dropped, and things that cannot be used at all."""

from __future__ import annotations

from typing import Any

from balena_supervisor.errors import InvalidComposition
from balena_supervisor.state import coerce
from balena_supervisor.state.violations import shown


class Notes:
    """Collects the warnings and violations of one definition, so that all of them can be shown at once.

    Paths start inside the definition: ``ports.0``. A reader that rejects a value returns something harmless of the
    same type; :meth:`settle` then refuses the definition as a whole.
    """

    __slots__ = ("violations", "warnings")

    def __init__(self) -> None:
        self.warnings: list[str] = []
        #: path, and what is wrong there
        self.violations: list[tuple[str, str]] = []

    def warn(self, path: str, text: str) -> None:
        self.warnings.append(f"{path}: {text}")

    def drop(self, path: str, why: str, definition: object) -> None:
        """A part of the definition that is left out."""
        self.warnings.append(f"{path}: {shown(definition)} is left out, {why}")

    def reject(self, path: str, expected: str, definition: object) -> None:
        """A part without which the definition makes no sense."""
        self.violations.append((path, f"expected {expected}, got {shown(definition)}"))

    def settle(self, what: str) -> None:
        """Raise ``InvalidComposition`` if anything was rejected; ``what`` names the definition."""
        if self.violations:
            lines = [f"{path}: {text}" for path, text in self.violations]
            raise InvalidComposition(f"cannot build {what}: {'; '.join(lines)}", violations=lines)


def entries(path: str, value: Any, notes: Notes) -> list[tuple[str, Any]]:
    """The entries of a list field with their paths. Null entries count as absent; what is no list is rejected."""
    if not isinstance(value, list | tuple):
        notes.reject(path, "a list", value)
        return []
    return [(f"{path}.{index}", entry) for index, entry in enumerate(value) if entry is not None]


def mapping(path: str, value: Any, notes: Notes) -> dict[str, Any]:
    """An object field; what is no object is rejected."""
    if isinstance(value, dict):
        return value
    notes.reject(path, "an object", value)
    return {}


def text_of(value: Any) -> str | None:
    """A JSON scalar as text, the way JavaScript writes it: ``true``, ``1``, ``1.5``. None for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, int | float) else None


def boolean_of(value: Any) -> bool:
    """The boolean of a value as JavaScript has it: every text but the empty one is true, ``"false"`` included."""
    return value not in (None, False, 0, "")


def integer_of(value: Any) -> int | None:
    """A whole number, or a text of one, that fits into the 64 bits of the engine. None for anything else."""
    number = coerce.to_int(value)
    return number if number is not None and -(2**63) <= number < 2**63 else None


def text(path: str, value: Any, notes: Notes) -> str:
    result = text_of(value)
    if result is None:
        notes.reject(path, "a text", value)
    return result or ""


def texts(path: str, value: Any, notes: Notes) -> tuple[str, ...]:
    """A list of texts."""
    return tuple(text(at, entry, notes) for at, entry in entries(path, value, notes))


def pairs(path: str, value: Any, notes: Notes, *, bare: str | None = None) -> dict[str, str]:
    """An object of texts, or a list of ``NAME=value``, split at the first ``=``.

    A null value is left out. ``bare`` is the value of a list entry without ``=``; None leaves it out with a warning.
    Names that the engine could not tell from their values are left out too.
    """
    found: dict[str, str] = {}
    if isinstance(value, dict):
        items = [(name, text(f"{path}.{name}", entry, notes)) for name, entry in value.items() if entry is not None]
    else:
        items = []
        for at, entry in entries(path, value, notes):
            name, equals, rest = text(at, entry, notes).partition("=")
            if equals or bare is not None:
                items.append((name, rest if equals else bare or ""))
            else:
                notes.drop(at, "it sets no value", entry)
    for name, entry in items:
        if not name or "\0" in name + entry:
            notes.drop(path, "it has no usable name", name)
        else:
            found[name] = entry
    return found
