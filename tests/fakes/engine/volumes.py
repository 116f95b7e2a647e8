"""Volumes of the simulated engine."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from tests.fakes.engine.basics import (
    NAME_PATTERN,
    ApiError,
    Json,
    has_labels,
    new_id,
    now_ns,
    parse_filters,
    rfc3339_nano,
)
from tests.fakes.engine.events import EventLog

_OPTIONS = {"type", "o", "device", "size"}
_ROOT = "/var/lib/docker/volumes"


@dataclass
class Volume:
    name: str
    driver: str
    labels: dict[str, str] | None
    options: dict[str, str] | None
    created_at: str
    anonymous: bool = False
    users: set[str] = field(default_factory=set)

    @property
    def mountpoint(self) -> str:
        return f"{_ROOT}/{self.name}/_data"

    def view(self) -> Json:
        return {
            "CreatedAt": self.created_at,
            "Driver": self.driver,
            "Labels": self.labels,
            "Mountpoint": self.mountpoint,
            "Name": self.name,
            "Options": self.options,
            "Scope": "local",
        }


class Volumes:
    """Volumes by name. Only the driver ``local`` exists."""

    def __init__(self, events: EventLog) -> None:
        self._events = events
        self._all: dict[str, Volume] = {}

    def get(self, name: str) -> Volume:
        if name not in self._all:
            raise ApiError(404, f"get {name}: no such volume")
        return self._all[name]

    def listing(self, filters: str) -> Json:
        wanted = parse_filters(filters, {"label", "name", "driver", "dangling"})
        found = [volume.view() for volume in self._all.values() if _matches(volume, wanted)]
        return {"Volumes": found, "Warnings": None}

    def create(self, body: Json, *, anonymous: bool = False) -> Volume:
        """Make a volume, or find the one that has the name, whatever its labels and options."""
        name = body.get("Name") or new_id()
        if name in self._all:
            return self._all[name]
        driver = body.get("Driver") or "local"
        if driver != "local":
            raise ApiError(404, f'create {name}: error looking up volume plugin {driver}: plugin "{driver}" not found')
        if not NAME_PATTERN.fullmatch(name):
            raise ApiError(
                400,
                f'create {name}: "{name}" includes invalid characters for a local volume name, only '
                '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path',
            )
        options = body.get("DriverOpts")
        for option in options or {}:
            if option not in _OPTIONS:
                raise ApiError(400, f'create {name}: invalid option: "{option}"')
        created_at = rfc3339_nano(now_ns() // 1_000_000_000 * 1_000_000_000)
        volume = Volume(name, driver, body.get("Labels"), options, created_at, anonymous)
        self._all[name] = volume
        self._events.emit("volume", "create", name, {"driver": driver})
        return volume

    def remove(self, name: str) -> None:
        volume = self.get(name)
        if volume.users:
            raise ApiError(409, f"remove {name}: volume is in use - [{', '.join(sorted(volume.users))}]")
        del self._all[name]
        self._events.emit("volume", "destroy", name, {"driver": volume.driver})


def _matches(volume: Volume, wanted: dict[str, list[str]]) -> bool:
    if not has_labels(wanted.get("label", []), volume.labels):
        return False
    if "name" in wanted and not any(re.search(name, volume.name) for name in wanted["name"]):
        return False
    if "driver" in wanted and volume.driver not in wanted["driver"]:
        return False
    dangling = wanted.get("dangling")
    return not dangling or (dangling[0] in {"true", "1"}) == (not volume.users)
