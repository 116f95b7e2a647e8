"""Networks and volumes, target and current in one type each."""

from __future__ import annotations

import msgspec


class IpamPool(msgspec.Struct, frozen=True, kw_only=True):
    """One address pool; an unset member is ``""``."""

    subnet: str = ""
    gateway: str = ""
    ip_range: str = ""
    aux_addresses: dict[str, str] = {}


class NetworkConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What is compared of a network (spec target-state 15). ``labels`` are without the supervised label."""

    driver: str = "bridge"
    options: dict[str, str] = {}
    ipam_driver: str = "default"
    ipam_config: tuple[IpamPool, ...] = ()
    ipam_options: dict[str, str] = {}
    enable_ipv6: bool = False
    internal: bool = False
    config_only: bool = False
    labels: dict[str, str] = {}


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """A network of an app. ``name`` is the short one; ``engine_id`` and ``created_at`` are empty in a target."""

    app_id: int
    app_uuid: str
    name: str
    config: NetworkConfig = NetworkConfig()
    #: the name on the engine; old supervisors used the app id as prefix
    engine_name: str = ""
    engine_id: str = ""
    created_at: str = ""


class VolumeConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What is compared of a volume (spec target-state 16)."""

    driver: str = "local"
    options: dict[str, str] = {}
    labels: dict[str, str] = {}


class Volume(msgspec.Struct, frozen=True, kw_only=True):
    """A volume of an app; on the engine it is named ``<appId>_<name>``. ``app_uuid`` may be unknown (``""``)."""

    app_id: int
    name: str
    app_uuid: str = ""
    config: VolumeConfig = VolumeConfig()

    @property
    def engine_name(self) -> str:
        return f"{self.app_id}_{self.name}"
