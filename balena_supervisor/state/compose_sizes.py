"""Sizes, durations and fractions of processors in compose files (spec target-state 10.3)."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Any

_SIZE = re.compile(r"([0-9]+)([bkmg]?)b?", re.IGNORECASE)
_FACTORS = {"": 1, "b": 1, "k": 1024, "m": 1024**2, "g": 1024**3}

_PAIR = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?|\.[0-9]+)\s*(ns|us|µs|μs|ms|s|m|h|d|w)\s*")
_NANOSECONDS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,  # the micro sign
    "μs": 10**3,  # the Greek letter
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
    "d": 86400 * 10**9,
    "w": 7 * 86400 * 10**9,
}
_LONGEST = 100
_LARGEST = 2**63 - 1


def size_bytes(value: Any, default: int = 0) -> int:
    """A size in bytes from a number or a text such as ``64``, ``64k`` or ``64Kb``; ``default`` for anything else."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    match = _SIZE.fullmatch(value) if isinstance(value, str) and len(value) <= _LONGEST else None
    size = int(match[1]) * _FACTORS[match[2].lower()] if match else default
    return size if size <= _LARGEST else default


def duration_ms(value: Any) -> int | None:
    """A duration in whole milliseconds, rounded down; a number is milliseconds. None when it is no duration."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return int(value) if math.isfinite(value) and 0 <= value <= _LARGEST / 10**6 else None
    if not isinstance(value, str) or len(value) > _LONGEST:
        return None
    if value.strip() == "0":
        return 0
    total, position = Fraction(0), 0
    while position < len(value):
        match = _PAIR.match(value, position)
        if match is None:
            return None
        total += Fraction(match[1]) * _NANOSECONDS[match[2]]
        position = match.end()
    return int(total / 10**6) if position and total <= _LARGEST else None


def nano_cpus(value: Any) -> int | None:
    """A number of processors, or a text of one, in billionths. None when it is no number."""
    if isinstance(value, bool):
        return None
    try:
        number = math.floor(float(value) * 10**9 + 0.5)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if abs(number) <= _LARGEST else None
