"""Coercions of values that clients, labels and the cloud write in several forms (spec target-state 1)."""

from __future__ import annotations

import re

#: Larger numbers are not exact in JSON as most programs read it, and no id reaches them.
LARGEST_ID = 2**53 - 1
SHORT_STRING_LENGTH = 255

_NUMERIC = re.compile(r"[ \t\r\n\f\v]*([0-9]+)(?:\.0+)?[ \t\r\n\f\v]*")
_INTEGER = re.compile(r"(-?[0-9]+)(?:\.0+)?")
_DOCKER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CONFIG_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_:]*")
_LABEL_NAME = re.compile(r"[\x21-\x7e]+")
_NOT_IN_LABELS = frozenset("\"'`")
_LONGEST_NUMBER = 400


def is_truthy(value: object) -> bool:
    """Whether a label, variable or field says yes: ``true``, 1, or the texts 1, true, on in any case."""
    if isinstance(value, str):
        return value.lower() in {"1", "true", "on"}
    return isinstance(value, bool | int | float) and value == 1


def is_falsey(value: object) -> bool:
    """Whether a value says no: ``false``, 0, or the texts 0, false, off in any case."""
    if isinstance(value, str):
        return value.lower() in {"0", "false", "off"}
    return isinstance(value, bool | int | float) and value == 0


def to_int(value: object, *, positive: bool = False) -> int | None:
    """A whole number, or a text of one: optional minus, digits, optionally a dot and zeros. Else None.

    With ``positive`` a result of 0 or less is None too.
    """
    result = _whole_number(value, _INTEGER)
    return None if result is None or (positive and result <= 0) else result


def _whole_number(value: object, text: re.Pattern[str]) -> int | None:
    """A whole number, or a text of the given pattern, whose first group holds the digits. Else None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if isinstance(value, str) and len(value) <= _LONGEST_NUMBER and (match := text.fullmatch(value)):
        return int(match[1])
    return None


def to_numeric_id(value: object) -> int | None:
    """An id: a whole number from 0, or a text of one with blanks around it. Else None."""
    result = _whole_number(value, _NUMERIC)
    return result if result is not None and 0 <= result <= LARGEST_ID else None


def utf16_length(text: str) -> int:
    """The length in UTF-16 code units, in which the limits of the target format are counted."""
    return len(text) + sum(1 for character in text if ord(character) > 0xFFFF)


def is_short_string(value: object) -> bool:
    return isinstance(value, str) and utf16_length(value) <= SHORT_STRING_LENGTH


def is_device_name(value: object) -> bool:
    return isinstance(value, str) and is_short_string(value) and "\n" not in value


def is_docker_name(value: object) -> bool:
    """A name of a service, volume or network."""
    return isinstance(value, str) and is_short_string(value) and bool(_DOCKER_NAME.fullmatch(value))


def is_environment_name(value: object) -> bool:
    return isinstance(value, str) and is_short_string(value) and bool(_ENVIRONMENT_NAME.fullmatch(value))


def is_config_name(value: object) -> bool:
    """A name of a device configuration variable; a colon may follow the first character."""
    return isinstance(value, str) and is_short_string(value) and bool(_CONFIG_NAME.fullmatch(value))


def is_label_name(value: object) -> bool:
    """Printable ASCII without blank, quotes and backtick."""
    return (
        isinstance(value, str)
        and is_short_string(value)
        and bool(_LABEL_NAME.fullmatch(value))
        and not _NOT_IN_LABELS.intersection(value)
    )
