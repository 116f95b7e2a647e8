"""The target state as it is stored: validated and normalised, not yet composed into containers."""

from __future__ import annotations

from typing import Any

import msgspec


class TargetService(msgspec.Struct, frozen=True, kw_only=True):
    """One service of the target release. ``image`` is normalised; ``composition`` is as the client wrote it."""

    service_name: str
    service_id: int
    image_id: int
    image: str
    app_id: int
    app_uuid: str
    release_id: int
    commit: str
    environment: dict[str, str] = {}
    labels: dict[str, str] = {}
    running: bool = True
    contract: dict[str, Any] | None = None
    composition: dict[str, Any] = {}
    #: fields that nobody knows; they are kept in the stored row and used nowhere
    extra: dict[str, Any] = {}


class TargetApp(msgspec.Struct, frozen=True, kw_only=True):
    """One app with its first release. An app without a release has ``commit`` None and no services.

    ``rejected`` apps are neither changed nor removed; ``rejection`` says why (not stored: found again when loaded).
    """

    app_id: int
    app_uuid: str
    name: str
    app_class: str = "fleet"
    source: str = "local"
    is_host: bool = False
    rejected: bool = False
    rejection: str = ""
    commit: str | None = None
    release_id: int | None = None
    services: tuple[TargetService, ...] = ()
    networks: dict[str, dict[str, Any]] = {}
    volumes: dict[str, dict[str, Any]] = {}


class TargetState(msgspec.Struct, frozen=True, kw_only=True):
    """The whole target of this device. ``version`` grows with every target that was accepted (monotonic in the
    life of the database); ``is_set`` is false until the first one was."""

    version: int = 0
    is_set: bool = False
    force: bool = False
    name: str = ""
    config: dict[str, str] = {}
    apps: tuple[TargetApp, ...] = ()
    #: the release before it of apps that may have to go back to it
    previous: tuple[TargetApp, ...] = ()


class ServiceKey(msgspec.Struct, frozen=True):
    """The key of one service to the local API, by table ``apiSecret``."""

    app_id: int
    service_name: str
    key: str
