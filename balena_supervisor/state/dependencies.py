"""Which services wait for which."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def cycles(edges: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """Service name -> the cycle of dependencies it is on, beginning and ending with itself."""
    found: dict[str, list[str]] = {}
    for start in edges:
        path = _path_back(start, edges)
        if path:
            found[start] = path
    return found


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
