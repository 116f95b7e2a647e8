"""Published ports (spec target-state 10.4). Ranges are expanded, so that bindings compare one by one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from balena_supervisor.model.service import PortBinding
from balena_supervisor.state import coerce
from balena_supervisor.state.compose_notes import Notes, entries, text_of

_PORTS = re.compile(
    r"(?:(?:(?P<ip>[0-9a-fA-F.:]+):)?(?P<host>[0-9]+)(?:-(?P<host_end>[0-9]+))?:)?"
    r"(?P<port>[0-9]+)(?:-(?P<end>[0-9]+))?(?:/(?P<protocol>tcp|udp))?"
)
_LARGEST = 65535
_FORM = "a port mapping [[ip:]host[-end]:]port[-end][/tcp|/udp]"
_LONG_FORM = {"target", "published", "protocol", "host_ip", "mode", "name", "app_protocol"}


def ports(path: str, value: Any, notes: Notes) -> tuple[PortBinding, ...]:
    """All bindings of the field, sorted, each once."""
    found: set[PortBinding] = set()
    for at, entry in entries(path, value, notes):
        definition = _short_form(entry)
        bindings = None if definition is None else parse(definition)
        if bindings is None:
            notes.reject(at, _FORM, entry)
        else:
            found.update(bindings)
    return tuple(sorted(found))


def parse(definition: str) -> list[PortBinding] | None:
    """The bindings of one definition; None when it cannot be read or the ranges do not fit."""
    match = _PORTS.fullmatch(definition) if definition.isascii() else None
    if match is None:
        return None
    inside = _range(match["port"], match["end"])
    outside = _range(match["host"], match["host_end"], lowest=0) if match["host"] else inside
    if inside is None or outside is None or len(inside) != len(outside):
        return None
    protocol, ip = match["protocol"] or "tcp", match["ip"] or ""
    return [PortBinding(port, protocol, ip, host) for port, host in zip(inside, outside, strict=True)]


def exposed_ports(bindings: Iterable[PortBinding]) -> dict[str, dict[str, Any]]:
    return {f"{binding.container_port}/{binding.protocol}": {} for binding in bindings}


def port_bindings(bindings: Iterable[PortBinding]) -> dict[str, list[dict[str, str]]]:
    """The form of the engine; several bindings of one container port share a list."""
    body: dict[str, list[dict[str, str]]] = {}
    for binding in bindings:
        key = f"{binding.container_port}/{binding.protocol}"
        body.setdefault(key, []).append({"HostIp": binding.host_ip, "HostPort": str(binding.host_port)})
    return body


def read_port_bindings(body: Mapping[str, Any] | None) -> tuple[PortBinding, ...]:
    """What :func:`port_bindings` made, from inspect.

    A port that the engine chooses itself, or that no supervisor would write, is 0.
    """
    found: set[PortBinding] = set()
    for key, bindings in (body or {}).items():
        port, _, protocol = key.partition("/")
        for binding in bindings or ():
            host_port = coerce.to_int(binding.get("HostPort")) or 0
            container_port = coerce.to_int(port) or 0
            found.add(PortBinding(container_port, protocol or "tcp", binding.get("HostIp") or "", host_port))
    return tuple(sorted(found))


def _range(first: str, last: str | None, lowest: int = 1) -> range | None:
    """The ports of a range. Port 0 is good only outside, where the engine then chooses one."""
    if len(first) > 5 or len(last or "") > 5:
        return None
    start, end = int(first), int(last or first)
    return range(start, end + 1) if lowest <= start <= end <= _LARGEST else None


def _short_form(entry: Any) -> str | None:
    """A definition as text: a number is a port, the long form of compose files is written short."""
    if not isinstance(entry, dict):
        return None if isinstance(entry, bool) else text_of(entry)
    if "target" not in entry or not _LONG_FORM.issuperset(entry):
        return None
    target, published = text_of(entry["target"]), text_of(entry.get("published"))
    ip, protocol = entry.get("host_ip"), entry.get("protocol")
    if target is None or (ip and published is None) or not isinstance(protocol or "", str):
        return None
    head = (f"{ip}:" if ip else "") + (f"{published}:" if published else "")
    return f"{head}{target}" + (f"/{protocol}" if protocol else "")
