"""The disk on which the engine keeps its images, and what else tells how much room they take."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from balena_supervisor.adapters.engine import Engine
from balena_supervisor.adapters.engine_http import EngineHttp, json_of
from balena_supervisor.model.image import DiskSpace, Platform

_TIMEOUT_S = 10.0
#: the engine's word for a processor (that of ``uname``) -> that of images, with the variant
_ARCHITECTURES = {
    "x86_64": ("amd64", ""),
    "i386": ("386", ""),
    "i686": ("386", ""),
    "aarch64": ("arm64", ""),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "armv5l": ("arm", "v5"),
}


class EngineDisk:
    """``data_mountpoint`` is the data partition of a host OS that has one, ``root_mountpoint`` the root of the host."""

    def __init__(self, engine: Engine, *, data_mountpoint: Path, root_mountpoint: Path) -> None:
        self._engine = engine
        self._data_mountpoint = data_mountpoint
        self._root_mountpoint = root_mountpoint
        self._facts: dict[str, Any] | None = None

    def platform(self) -> Platform:
        """Raises errors of the engine."""
        facts = self._read_facts()
        name = str(facts.get("Architecture") or "")
        architecture, variant = _ARCHITECTURES.get(name, (name, ""))
        return Platform(os=str(facts.get("OSType") or "linux"), architecture=architecture, variant=variant)

    def space(self) -> DiskSpace | None:
        """Size and free bytes of that disk; None when it cannot be seen from here. Raises errors of the engine.

        The root of a host OS is often read-only and full to the last byte: it tells nothing.
        """
        folder = self._folder()
        if folder is None:
            return None
        try:
            disk = os.statvfs(folder)
        except OSError:
            return None
        if disk.f_flag & os.ST_RDONLY or not disk.f_blocks:
            return None
        return DiskSpace(total_bytes=disk.f_blocks * disk.f_frsize, free_bytes=disk.f_bavail * disk.f_frsize)

    def layer_sizes(self, image: str) -> list[int]:
        """What each entry of the history of an image takes, from the lowest to the top. Raises errors of the engine."""
        entries = self._get(f"/images/{image}/history", f"read the history of image {image}") or []
        return [int(entry.get("Size") or 0) for entry in reversed(entries)]

    def _folder(self) -> Path | None:
        if self._data_mountpoint.is_dir():
            return self._data_mountpoint
        data_root = str(self._read_facts().get("DockerRootDir") or "").lstrip("/")
        folder = self._root_mountpoint / data_root
        return folder if data_root and folder.is_dir() else None

    def _read_facts(self) -> dict[str, Any]:
        if self._facts is None:
            self._facts = self._get("/info", "ask the engine about itself") or {}
        return self._facts

    def _get(self, path: str, doing: str) -> Any:
        """Rare enough for a connection of its own, in whatever version of the API the engine prefers."""
        http = EngineHttp(self._engine.host)
        try:
            return json_of(http.send("GET", path, doing, timeout_s=_TIMEOUT_S), doing)
        finally:
            http.close()
