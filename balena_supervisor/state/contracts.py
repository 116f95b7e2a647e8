"""Contracts: what a service requires of the device, and whether the device has it (spec target-state 9, v19)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from balena_supervisor.model.device import Configuration
from balena_supervisor.state.versions import satisfies
from balena_supervisor.state.violations import MISSING, Path, Violations

SUPERVISOR, L4T, DEVICE_TYPE = "sw.supervisor", "sw.l4t", "hw.device-type"
ARCHITECTURE, OS, KERNEL = "arch.sw", "sw.os", "sw.kernel"
#: what a service may require
TYPES = (SUPERVISOR, L4T, DEVICE_TYPE, OS, KERNEL, ARCHITECTURE)
_UNKNOWN = frozenset({"", "unknown"})

_L4T_RELEASE = re.compile(r"-l4t-r(\d+)\.(\d+)(?:\.(\d+))?")
_KERNEL_VERSION = re.compile(r"\d+\.\d+\.\d+")


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """Something that the device offers; what it does not tell is ``""``."""

    type: str
    slug: str = ""
    version: str = ""


class Requirement(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a service requires. ``has_data`` is never met: no fact has any."""

    type: str
    slug: str = ""
    version: str = ""
    has_data: bool = False


#: each of these holds when one of its alternatives does
Requirements = tuple[tuple[Requirement, ...], ...]


def device_facts(configuration: Configuration) -> tuple[Fact, ...]:
    """What this device offers (spec 9.1). What is not known of it is left out, so nobody's requirement is met by it."""
    return tuple(_facts(configuration))


def _facts(configuration: Configuration) -> Iterator[Fact]:
    yield Fact(type=SUPERVISOR, version=configuration.supervisor_version)
    release = configuration.kernel_release
    if l4t := _L4T_RELEASE.search(release):
        yield Fact(type=L4T, version=f"{l4t[1]}.{l4t[2]}.{l4t[3] or 0}")
    if configuration.device_type not in _UNKNOWN:
        yield Fact(type=DEVICE_TYPE, slug=configuration.device_type)
    if configuration.device_arch not in _UNKNOWN:
        yield Fact(type=ARCHITECTURE, slug=configuration.device_arch)
    if configuration.os_slug and configuration.os_release:
        yield Fact(type=OS, slug=configuration.os_slug, version=configuration.os_release)
    kernel = _KERNEL_VERSION.match(release)
    if kernel and configuration.kernel_name:
        yield Fact(type=KERNEL, slug=configuration.kernel_name.lower(), version=kernel[0])


def read_requirements(contract: Mapping[str, Any] | None, path: Path, violations: Violations) -> Requirements:
    """What a contract requires. What breaks its syntax (spec 9.2) is told to ``violations``."""
    if contract is None:
        return ()
    _text(contract, "type", path, violations)
    _text(contract, "slug", path, violations)
    requires = contract.get("requires")
    if requires is None:
        return ()
    return tuple(_alternatives(entry, at, violations) for at, entry in _list(requires, (*path, "requires"), violations))


def _alternatives(entry: Any, path: Path, violations: Violations) -> tuple[Requirement, ...]:
    fields = violations.mapping(path, entry)
    if fields is not entry:
        return ()
    if "or" not in fields:
        return (_requirement(fields, path, violations),)
    return tuple(
        _requirement(one, at, violations)
        for at, one in _list(fields["or"], (*path, "or"), violations)
        if violations.mapping(at, one) is one
    )


def _requirement(fields: Mapping[str, Any], path: Path, violations: Violations) -> Requirement:
    """Keys that nobody knows are ignored. A device type may be given by ``name``, as v12 has it."""
    data = fields.get("data")
    if data is not None:
        violations.mapping((*path, "data"), data)
    of_type = violations.choice((*path, "type"), fields.get("type", MISSING), TYPES)
    slug = _text(fields, "slug", path, violations)
    if of_type == DEVICE_TYPE:
        slug = slug or _text(fields, "name", path, violations)
    return Requirement(
        type=of_type, slug=slug, version=_text(fields, "version", path, violations), has_data=data is not None
    )


def _list(value: Any, path: Path, violations: Violations) -> list[tuple[Path, Any]]:
    if isinstance(value, list):
        return [((*path, str(index)), entry) for index, entry in enumerate(value)]
    violations.add(path, "a list", value)
    return []


def _text(fields: Mapping[str, Any], name: str, path: Path, violations: Violations) -> str:
    """A text; ``""`` when it is absent or null."""
    value = fields.get(name)
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    violations.add((*path, name), "a text", value)
    return ""


def unmet(requirements: Requirements, facts: Iterable[Fact]) -> list[str]:
    """Each requirement that does not hold, in words: ``sw.supervisor >=99 (the device has sw.supervisor 20.0.0)``."""
    by_type = {fact.type: fact for fact in facts}
    return [
        _words(alternatives, by_type)
        for alternatives in requirements
        if not any(_holds(requirement, by_type.get(requirement.type)) for requirement in alternatives)
    ]


def _holds(requirement: Requirement, fact: Fact | None) -> bool:
    if fact is None or requirement.has_data:
        return False
    if requirement.slug not in {"", fact.slug}:
        return False
    return not requirement.version or satisfies(fact.version, requirement.version)


def _words(alternatives: tuple[Requirement, ...], facts: Mapping[str, Fact]) -> str:
    if not alternatives:
        return "one of no alternatives"
    wanted = " or ".join(_one(requirement) for requirement in alternatives)
    there = (_offer(of_type, facts.get(of_type)) for of_type in dict.fromkeys(one.type for one in alternatives))
    return f"{wanted} (the device has {', '.join(there)})"


def _one(requirement: Requirement) -> str:
    data = "with data" if requirement.has_data else ""
    return " ".join(part for part in (requirement.type, requirement.slug, requirement.version, data) if part)


def _offer(of_type: str, fact: Fact | None) -> str:
    if fact is None:
        return f"no {of_type}"
    return " ".join(part for part in (of_type, fact.slug, fact.version) if part)
