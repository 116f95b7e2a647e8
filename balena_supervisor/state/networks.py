"""Networks of apps and of the supervisor: from compose, and as the engine takes them (spec target-state 15)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from balena_supervisor.model.resource import IpamPool, Network, NetworkConfig
from balena_supervisor.model.service import Service
from balena_supervisor.model.target import TargetApp
from balena_supervisor.state import labels as label_names
from balena_supervisor.state.compose_notes import Notes, boolean_of, entries, mapping, pairs, text
from balena_supervisor.state.names import SUPERVISOR_NETWORK, network_engine_name

DEFAULT_NETWORK = "default"

_BRIDGE_NAME = "com.docker.network.bridge.name"
_SUPERVISOR_SUBNET: Final = {"Subnet": "10.114.104.0/25", "Gateway": "10.114.104.1"}


def compose_network(
    app: TargetApp, name: str, definition: Mapping[str, Any] | None, notes: Notes | None = None
) -> Network:
    """A network of an app from its definition.

    Warnings and violations go to ``notes``; without it a violation raises ``InvalidComposition``.
    """
    own = notes or Notes()
    path = f"networks.{name}"
    known = {field: value for field, value in (definition or {}).items() if value is not None}
    ipam = mapping(f"{path}.ipam", known.get("ipam", {}), own)
    pools = _pools(f"{path}.ipam.config", ipam.get("config"), own)
    labels = label_names.rewritten(pairs(f"{path}.labels", known.get("labels", {}), own, bare=""))
    labels = label_names.without(labels, label_names.SUPERVISED, label_names.INSTANCE, label_names.PRIVATE_IPAM)
    labels[label_names.APP_ID] = str(app.app_id)
    if pools:
        labels[label_names.PRIVATE_IPAM] = "true"
    config = NetworkConfig(
        driver=text(f"{path}.driver", known.get("driver") or "bridge", own),
        options=pairs(f"{path}.driver_opts", known.get("driver_opts", {}), own),
        ipam_driver=text(f"{path}.ipam.driver", ipam.get("driver") or "default", own),
        ipam_config=pools,
        ipam_options=pairs(f"{path}.ipam.options", ipam.get("options") or {}, own),
        enable_ipv6=boolean_of(known.get("enable_ipv6")),
        internal=boolean_of(known.get("internal")),
        config_only=boolean_of(known.get("config_only")),
        labels=labels,
    )
    if notes is None:
        own.settle(f"network {name} of app {app.name} ({app.app_id})")
    return _network(app, name, config)


def default_network(app: TargetApp, services: Iterable[Service]) -> Network:
    """The network that every app has. It costs no bridge while every service is on the host's network."""
    only_host = all(service.config.network_mode == "host" for service in services)
    config = NetworkConfig(config_only=only_host, labels={label_names.APP_ID: str(app.app_id)})
    return _network(app, DEFAULT_NETWORK, config)


def network_body(network: Network, instance: str = "") -> dict[str, Any]:
    """The create body of the engine."""
    config = network.config
    labels = {**config.labels, label_names.SUPERVISED: "true"}
    return {
        "Name": network.engine_name or network_engine_name(network.app_uuid, network.name),
        "Driver": config.driver,
        "Options": config.options,
        "IPAM": {
            "Driver": config.ipam_driver,
            "Config": [_pool_body(pool) for pool in config.ipam_config],
            "Options": config.ipam_options,
        },
        "EnableIPv6": config.enable_ipv6,
        "Internal": config.internal,
        "ConfigOnly": config.config_only,
        "Labels": label_names.with_instance(labels, instance),
        "CheckDuplicate": True,
    }


def supervisor_network_body() -> dict[str, Any]:
    """The create body of ``supervisor0``, on which services reach the API of the supervisor."""
    return {
        "Name": SUPERVISOR_NETWORK,
        "Options": {_BRIDGE_NAME: SUPERVISOR_NETWORK},
        "IPAM": {"Driver": "default", "Config": [dict(_SUPERVISOR_SUBNET)]},
        "CheckDuplicate": True,
    }


def supervisor_network_ready(inspect: Mapping[str, Any]) -> bool:
    """Whether an inspected ``supervisor0`` has the bridge and the addresses that everything relies on."""
    pools = (inspect.get("IPAM") or {}).get("Config") or []
    return (inspect.get("Options") or {}).get(_BRIDGE_NAME) == SUPERVISOR_NETWORK and any(
        all(pool.get(name) == value for name, value in _SUPERVISOR_SUBNET.items()) for pool in pools
    )


def _network(app: TargetApp, name: str, config: NetworkConfig) -> Network:
    return Network(
        app_id=app.app_id,
        app_uuid=app.app_uuid,
        name=name,
        config=config,
        engine_name=network_engine_name(app.app_uuid, name),
    )


def _pools(path: str, value: Any, notes: Notes) -> tuple[IpamPool, ...]:
    pools: list[IpamPool] = []
    for at, entry in entries(path, [] if value is None else value, notes):
        fields = {name: member for name, member in mapping(at, entry, notes).items() if member is not None}
        pool = IpamPool(
            subnet=text(f"{at}.subnet", fields.get("subnet", ""), notes),
            gateway=text(f"{at}.gateway", fields.get("gateway", ""), notes),
            ip_range=text(f"{at}.ip_range", fields.get("ip_range", ""), notes),
            aux_addresses=pairs(f"{at}.aux_addresses", fields.get("aux_addresses", {}), notes),
        )
        if pool == IpamPool():
            notes.drop(at, "it has no address", entry)
            continue
        if not (pool.subnet and pool.gateway):
            notes.warn(at, "an address pool should have subnet and gateway")
        pools.append(pool)
    return tuple(pools)


def _pool_body(pool: IpamPool) -> dict[str, Any]:
    members = {
        "Subnet": pool.subnet,
        "Gateway": pool.gateway,
        "IPRange": pool.ip_range,
        "AuxiliaryAddresses": pool.aux_addresses,
    }
    return {name: value for name, value in members.items() if value}
