"""Apps as the target wants them."""

from __future__ import annotations

import msgspec

from balena_supervisor.model.resource import Network, Volume
from balena_supervisor.model.service import Service


class ComposedApp(msgspec.Struct, frozen=True, kw_only=True):
    """A target app ready to be planned. ``problem`` says why it cannot be built or is rejected; then it is left as it
    is."""

    app_id: int
    app_uuid: str
    name: str
    commit: str | None = None
    release_id: int | None = None
    is_host: bool = False
    rejected: bool = False
    services: tuple[Service, ...] = ()
    networks: tuple[Network, ...] = ()
    volumes: tuple[Volume, ...] = ()
    problem: str = ""
    #: what was dropped of networks and volumes; those of a service stand in the service
    warnings: tuple[str, ...] = ()
