"""Binds, mounts and volumes of a create call as ``Mounts`` of inspect; volumes come into being."""

from __future__ import annotations

from tests.fakes.engine.basics import ApiError, Json
from tests.fakes.engine.volumes import Volume, Volumes

_PROPAGATIONS = {"private", "rprivate", "shared", "rshared", "slave", "rslave"}


def build(config: Json, host: Json, volumes: Volumes, container_id: str) -> list[Json]:
    """The mounts in the order of their destinations. Raises ``ApiError`` for what the engine refuses."""
    found: dict[str, Json] = {}
    for text in host["Binds"] or []:
        mount = _bind(text, volumes, container_id)
        if mount["Destination"] in found:
            raise ApiError(400, f"Duplicate mount point: {mount['Destination']}")
        found[mount["Destination"]] = mount
    for given in host.get("Mounts") or []:
        mount = _long_form(given, volumes, container_id)
        if mount["Destination"] in found:
            raise ApiError(400, f"Duplicate mount point: {mount['Destination']}")
        found[mount["Destination"]] = mount
    for destination in config["Volumes"] or {}:
        if destination not in found:
            volume = volumes.create({}, anonymous=True)
            found[destination] = _volume(volume, destination, "", container_id, read_write=True)
    return [found[destination] for destination in sorted(found)]


def _bind(text: str, volumes: Volumes, container_id: str) -> Json:
    parts = text.split(":")
    if len(parts) not in {2, 3} or not parts[1].startswith("/"):
        raise ApiError(400, f"invalid volume specification: '{text}'")
    source, destination, mode = parts[0], parts[1], parts[2] if len(parts) == 3 else ""
    words = mode.split(",")
    if not source.startswith("/"):
        volume = volumes.create({"Name": source})
        return _volume(volume, destination, mode or "z", container_id, read_write="ro" not in words)
    propagation = next((word for word in words if word in _PROPAGATIONS), "rprivate")
    return _mount("bind", source, destination, mode, propagation, read_write="ro" not in words)


def _long_form(given: Json, volumes: Volumes, container_id: str) -> Json:
    kind, destination, source = given.get("Type", ""), given.get("Target", ""), given.get("Source", "")
    read_write = not given.get("ReadOnly")
    if not destination:
        raise ApiError(400, f'invalid mount config for type "{kind}": field Target must not be empty')
    if kind == "volume":
        volume = volumes.create({"Name": source}, anonymous=not source)
        return _volume(volume, destination, "z", container_id, read_write=read_write)
    if kind == "bind":
        propagation = (given.get("BindOptions") or {}).get("Propagation") or "rprivate"
        return _mount("bind", source, destination, "", propagation, read_write=read_write)
    if kind == "tmpfs":
        return _mount("tmpfs", "", destination, "", "", read_write=read_write)
    raise ApiError(400, f"mount type unknown: {kind!r}")


def _volume(volume: Volume, destination: str, mode: str, container_id: str, *, read_write: bool) -> Json:
    volume.users.add(container_id)
    mount = _mount("volume", volume.mountpoint, destination, mode, "", read_write=read_write)
    return {"Type": "volume", "Name": volume.name, **mount, "Driver": volume.driver}


def _mount(kind: str, source: str, destination: str, mode: str, propagation: str, *, read_write: bool) -> Json:
    return {
        "Type": kind,
        "Source": source,
        "Destination": destination,
        "Mode": mode,
        "RW": read_write,
        "Propagation": propagation,
    }
