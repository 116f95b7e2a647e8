"""Volumes of a service, short and long form (spec target-state 10.8)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from balena_supervisor.model.lock import lock_folder
from balena_supervisor.model.service import Mount
from balena_supervisor.state.compose_notes import Notes, entries

_BIND_REFUSED = "bind mounts are not allowed"
#: group of options -> the one option that is known there, by its compose name, and its type
_OPTIONS: dict[str, tuple[str, type]] = {
    "volume": ("nocopy", bool),
    "bind": ("propagation", str),
    "tmpfs": ("size", int),
}


def lock_volumes(app_id: int, service_name: str, instance: str) -> tuple[str, str]:
    """The two binds that every service has: the folder of its update locks, under both names."""
    folder = f"{lock_folder(instance)}/{app_id}/{service_name}"
    return f"{folder}:/tmp/resin", f"{folder}:/tmp/balena"


def volumes(path: str, value: Any, app_id: int, notes: Notes) -> tuple[list[str], list[Mount]]:
    """Short and long entries, with named volumes under their engine names. What is refused is left out."""
    short: list[str] = []
    long: list[Mount] = []
    for at, entry in entries(path, value, notes):
        if isinstance(entry, str):
            volume = _short(at, entry, app_id, notes)
            short += [volume] if volume else []
        elif isinstance(entry, dict):
            mount = _long(at, entry, app_id, notes)
            long += [mount] if mount else []
        else:
            notes.reject(at, "a volume source:target[:mode] or an object", entry)
    return short, long


def image_volumes(paths: Iterable[str]) -> list[str]:
    """The volumes of an image or container. A path with a colon would look like a bind mount, and is not compared."""
    return [path for path in paths if ":" not in path]


def binds(service_volumes: Iterable[str]) -> list[str]:
    return [volume for volume in service_volumes if ":" in volume]


def anonymous(service_volumes: Iterable[str]) -> dict[str, dict[str, Any]]:
    return {volume: {} for volume in service_volumes if ":" not in volume}


def mount_body(mount: Mount) -> dict[str, Any]:
    """The form of the engine, without what is unset."""
    body: dict[str, Any] = {"Type": mount.type, "Target": mount.target}
    if mount.source:
        body["Source"] = mount.source
    if mount.read_only:
        body["ReadOnly"] = True
    if mount.propagation:
        body["BindOptions"] = {"Propagation": mount.propagation}
    if mount.no_copy:
        body["VolumeOptions"] = {"NoCopy": True}
    if mount.size_bytes:
        body["TmpfsOptions"] = {"SizeBytes": mount.size_bytes}
    return body


def read_mount(body: dict[str, Any]) -> Mount:
    """What :func:`mount_body` made, from inspect."""
    return Mount(
        type=body.get("Type") or "",
        target=body.get("Target") or "",
        source=body.get("Source") or "",
        read_only=bool(body.get("ReadOnly")),
        propagation=(body.get("BindOptions") or {}).get("Propagation") or "",
        no_copy=bool((body.get("VolumeOptions") or {}).get("NoCopy")),
        size_bytes=(body.get("TmpfsOptions") or {}).get("SizeBytes") or 0,
    )


def _short(path: str, entry: str, app_id: int, notes: Notes) -> str | None:
    # More than source, target and mode means nothing to the engine.
    parts = [part.strip() for part in entry.split(":")[:3]]
    if len(parts) == 3 and not parts[2]:
        del parts[2]
    if not all(parts[:2]):
        notes.drop(path, "source or target is empty", entry)
    elif len(parts) == 1:
        return parts[0]
    elif parts[0].startswith("/"):
        notes.drop(path, _BIND_REFUSED, entry)
    else:
        return f"{app_id}_" + ":".join(parts)
    return None


def _long(path: str, entry: dict[str, Any], app_id: int, notes: Notes) -> Mount | None:
    source, options = entry.get("source"), _options(entry)
    read_only = entry.get("readOnly") if entry.get("read_only") is None else entry["read_only"]
    refusal = _refusal(entry.get("type"), entry.get("target"), source)
    if options is None or not isinstance(read_only, bool | None):
        refusal = refusal or "an option has the wrong type"
    if refusal or options is None:
        notes.drop(path, refusal, entry)
        return None
    return Mount(
        type=entry["type"],
        target=entry["target"],
        source=f"{app_id}_{source}" if source else "",
        read_only=read_only is True,
        propagation=options.get("bind", ""),
        no_copy=options.get("volume", False),
        size_bytes=options.get("tmpfs", 0),
    )


def _refusal(kind: Any, target: Any, source: Any) -> str:
    """Why a long entry is left out; ``""`` when it is not."""
    if not (isinstance(kind, str) and isinstance(target, str) and target and isinstance(source or "", str)):
        return "it needs type and target"
    is_path = bool(source) and source.startswith("/")
    if kind == "bind" and is_path:
        return _BIND_REFUSED
    fits = (kind == "volume" and not is_path) or (kind == "tmpfs" and not source)
    return "" if fits else "type and source do not fit"


def _options(entry: dict[str, Any]) -> dict[str, Any] | None:
    """The known options by their group; None when one has the wrong type or a group is empty."""
    found: dict[str, Any] = {}
    for group, (name, kind) in _OPTIONS.items():
        options = entry.get(group)
        if options is None:
            continue
        if not isinstance(options, dict) or not options:
            return None
        value = options.get(name)
        if value is None:
            continue
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            return None
        found[group] = value
    return found
