"""Which services of a release wait for which others, and where that never ends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

from balena_supervisor.model.service import Service
from balena_supervisor.model.target import TargetApp, TargetService
from balena_supervisor.state.compose_fields import canonical, depends_on
from balena_supervisor.state.compose_networks import shares_service
from balena_supervisor.state.compose_notes import Notes, text_of


def cycles_of(services: Iterable[Service]) -> dict[str, list[str]]:
    """Service name -> the cycle of dependencies it is on, beginning and ending with itself."""
    return cycles({service.service_name: service.depends_on for service in services})


def cycles(edges: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """As :func:`cycles_of`, of the names that each name depends on. Names that are no key lead nowhere."""
    try:
        TopologicalSorter(edges).prepare()
    except CycleError:
        return {start: path for start in edges if (path := _path_back(start, edges))}
    return {}


def cycles_of_app(app: TargetApp) -> Iterator[tuple[TargetService, str, list[str]]]:
    """Each cycle of a release once: the first service on it, the field in which that one names the next, the cycle."""
    edges = {service.service_name: dependencies(service) for service in app.services}
    found = cycles(edges)
    told: set[str] = set()
    for service in app.services:
        path = found.get(service.service_name, [])
        if path and not told.intersection(path):
            yield service, edges[service.service_name][path[1]], path
        told.update(path)


def dependencies(service: TargetService) -> dict[str, str]:
    """Service -> the compose field that makes this one wait for it. What cannot be read says nothing here."""
    known = canonical(service.composition, Notes())
    found = dict.fromkeys(depends_on(known["depends_on"], Notes()), "depends_on") if "depends_on" in known else {}
    other = shares_service((text_of(known.get("network_mode")) or "").strip()).strip()
    if other:
        found.setdefault(other, "network_mode")
    return found


def shown(cycle: list[str]) -> str:
    return " → ".join(cycle)


def _path_back(start: str, edges: Mapping[str, Iterable[str]]) -> list[str]:
    paths = [[start]]
    seen: set[str] = set()
    while paths:
        path = paths.pop()
        for name in edges.get(path[-1], ()):
            if name == start:
                return [*path, name]
            if name not in seen:
                seen.add(name)
                paths.append([*path, name])
    return []
