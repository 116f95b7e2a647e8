"""Versions against ranges of npm (spec target-state 9.3).

By the rules of npm's own grammar and tests. The library ``semantic-version`` does it too, but takes ``1.2.3`` for
``=1.2.3-rc1``, joins the two sides of ``>=1.2.3-alpha <1.3.0-beta`` by "or", and cannot read ``>= 12.0.0``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

Numbers = tuple[int, int, int]
#: parts of a pre-release: a number sorts before a word
Parts = tuple[tuple[bool, int, str], ...]

_LONGEST = 256
_BUILD = r"(?:\+[0-9A-Za-z.-]+)?"
_PRERELEASE = r"(?:-((?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)(?:\.(?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*))*))?"
_NUMBER = r"(0|[1-9]\d{0,14}|[xX*])"
_PARTIAL = rf"v?{_NUMBER}(?:\.{_NUMBER}(?:\.{_NUMBER}{_PRERELEASE}{_BUILD})?)?"
_COMPARATOR = re.compile(rf"(\^|~|>=|<=|>|<|=|){_PARTIAL}")
_HYPHEN = re.compile(r"\s*(\S+)\s+-\s+(\S+)\s*")
#: blanks may follow an operator, and ``~>`` is another ``~``
_OPERATOR = re.compile(r"(~>|\^|~|>=|<=|>|<|=)\s+|~>")
#: devices also say ``12.11`` and ``v12.11.43``
_VERSION = re.compile(rf"\s*v?(\d{{1,15}})(?:\.(\d{{1,15}}))?(?:\.(\d{{1,15}}))?{_PRERELEASE}{_BUILD}\s*")


class Version(msgspec.Struct, frozen=True, order=True):
    """``released`` is false for a pre-release, which sorts before its release. Build metadata means nothing."""

    numbers: Numbers
    released: bool = True
    parts: Parts = ()


class Unreadable(Exception):
    """A range that nobody can read."""


#: lower than every pre-release of its numbers
_LOWEST: Parts = ((False, 0, ""),)


def satisfies(version: str, wanted: str) -> bool:
    """Whether a version is in a range such as ``>=12.0.0 <13 || ^14.1``.

    A pre-release is in it only if the range names a pre-release of the same three numbers. What cannot be read, on
    either side, is not met.
    """
    match = _VERSION.fullmatch(version)
    if match is None or len(wanted) > _LONGEST:
        return False
    major, minor, patch = (int(number or 0) for number in match.groups()[:3])
    found = _version((major, minor, patch), match[4])
    try:
        return any([_within(found, list(_comparators(part))) for part in wanted.split("||")])  # noqa: C419  # reads all
    except Unreadable:
        return False


def _within(version: Version, comparators: list[tuple[str, Version]]) -> bool:
    if not all(_compare(version, operator, bound) for operator, bound in comparators):
        return False
    return version.released or any(not bound.released and bound.numbers == version.numbers for _, bound in comparators)


def _compare(version: Version, operator: str, bound: Version) -> bool:
    match operator:
        case ">":
            return version > bound
        case ">=":
            return version >= bound
        case "<":
            return version < bound
        case "<=":
            return version <= bound
        case _:
            return version == bound


def _comparators(part: str) -> Iterator[tuple[str, Version]]:
    """One alternative as bounds that all have to hold."""
    hyphen = _HYPHEN.fullmatch(part)
    if hyphen:
        yield from _bounds(f">={hyphen[1]}")
        yield from _bounds(f"<={hyphen[2]}")
        return
    words = _OPERATOR.sub(lambda match: "~" if "~>" in match[0] else match[1], part).split()
    for word in words:
        yield from _bounds(word)


def _bounds(word: str) -> Iterator[tuple[str, Version]]:
    match = _COMPARATOR.fullmatch(word)
    if match is None:
        raise Unreadable(word)
    operator = match[1]
    given = []
    for number in match.groups()[1:4]:
        if number is None or number in "xX*":
            break
        given.append(int(number))
    padded = (*given, 0, 0, 0)
    numbers = (padded[0], padded[1], padded[2])
    if not given:
        # any version, unless it shall be higher or lower than any
        yield (
            ("<", Version((0, 0, 0), released=False, parts=_LOWEST))
            if operator in {">", "<"}
            else (
                ">=",
                Version((0, 0, 0)),
            )
        )
        return
    whole = len(given) == 3
    bound = _version(numbers, match[5] if whole else None)
    if operator in {"", "="} and whole:
        yield "=", bound
    elif operator in {"", "=", "^", "~"}:
        yield ">=", bound
        yield "<", _below(_next(numbers, _fixed(operator, given)))
    elif whole:
        yield operator, bound
    elif operator == ">":
        yield ">=", Version(_next(numbers, len(given)))
    elif operator == "<=":
        yield "<", _below(_next(numbers, len(given)))
    else:
        yield operator, _below(numbers) if operator == "<" else bound


def _fixed(operator: str, given: list[int]) -> int:
    """How many of the leading numbers may not grow."""
    if operator == "^":
        leading_zeros = next((index for index, number in enumerate(given) if number), len(given) - 1)
        return leading_zeros + 1
    return min(2, len(given)) if operator == "~" else len(given)


def _next(numbers: Numbers, fixed: int) -> Numbers:
    """The first numbers that differ from these in the ``fixed`` leading ones."""
    padded = (*numbers[: fixed - 1], numbers[fixed - 1] + 1, 0, 0)
    return padded[0], padded[1], padded[2]


def _below(numbers: Numbers) -> Version:
    return Version(numbers, released=False, parts=_LOWEST)


def _version(numbers: Numbers, prerelease: str | None) -> Version:
    given = [part for part in (prerelease or "").split(".") if part]
    parts = tuple((False, int(part), "") if part.isdecimal() else (True, 0, part) for part in given)
    return Version(numbers, released=not parts, parts=parts)
