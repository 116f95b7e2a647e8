"""Network mode and networks of a service (spec target-state 10.7)."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Any

import msgspec

from balena_supervisor.model.service import Endpoint
from balena_supervisor.state.compose_notes import Notes, entries, mapping, text, texts

#: modes in which a container has no network of the app
ISOLATED_MODES = frozenset({"host", "none"})
_ENGINE_MODES = ISOLATED_MODES | {"bridge"}
_SERVICE = "service:"
_CONTAINER = "container:"


class Networking(msgspec.Struct, frozen=True):
    """``mode`` as in ``ServiceConfig``; ``depends_on`` is the service whose network is shared, or ``""``."""

    mode: str
    networks: dict[str, Endpoint]
    depends_on: str = ""


def shares_service(mode: str) -> str:
    """The name of the service whose network a mode shares, or ``""``."""
    return mode.removeprefix(_SERVICE) if mode.startswith(_SERVICE) else ""


def can_join_networks(mode: str) -> bool:
    """Whether a container of this mode may be connected to networks at all."""
    return mode not in ISOLATED_MODES and not mode.startswith((_SERVICE, _CONTAINER))


def networking(
    mode: Any,
    networks: Any,
    *,
    service_name: str,
    engine_name: Callable[[str], str],
    defined: AbstractSet[str],
    notes: Notes,
) -> Networking:
    """Mode and networks of one service from its two compose fields.

    ``engine_name`` gives the name on the engine, ``defined`` are the short names of the app's networks; one that is
    not among them is rejected, since the engine would notice it only at the start.
    """
    own = _endpoints("networks", networks, service_name, notes)
    wanted = _mode("network_mode", mode, notes)
    if wanted in _ENGINE_MODES or wanted.startswith(_SERVICE):
        if own and wanted != "bridge":
            notes.warn("networks", f"{', '.join(own)}: left out, network_mode is {wanted}")
            own = {}
        kept = {engine_name(name): endpoint for name, endpoint in own.items()}
        _check_defined(own, defined, notes)
        return Networking(wanted, kept, shares_service(wanted))
    main = wanted or next(iter(own), "default")
    own.setdefault(main, Endpoint(aliases=(service_name,)))
    _check_defined(own, defined, notes)
    return Networking(engine_name(main), {engine_name(name): endpoint for name, endpoint in own.items()})


def endpoint_body(endpoint: Endpoint) -> dict[str, Any]:
    """The endpoint configuration of the engine, without addresses that are unset."""
    addresses: dict[str, Any] = {}
    if endpoint.ipv4_address:
        addresses["IPv4Address"] = endpoint.ipv4_address
    if endpoint.ipv6_address:
        addresses["IPv6Address"] = endpoint.ipv6_address
    if endpoint.link_local_ips:
        addresses["LinkLocalIPs"] = list(endpoint.link_local_ips)
    return {"IPAMConfig": addresses, "Aliases": list(endpoint.aliases)}


def read_endpoint(body: dict[str, Any] | None, container_id: str) -> Endpoint:
    """A network of a container from inspect.

    The engine adds the short id of the container as an alias. Only names of 12 characters or more are taken for it: a
    service called ``c`` keeps its alias.
    """
    body = body or {}
    addresses = body.get("IPAMConfig") or {}
    return Endpoint(
        aliases=tuple(
            alias for alias in body.get("Aliases") or () if len(alias) < 12 or not container_id.startswith(alias)
        ),
        ipv4_address=addresses.get("IPv4Address") or "",
        ipv6_address=addresses.get("IPv6Address") or "",
        link_local_ips=tuple(addresses.get("LinkLocalIPs") or ()),
        mac_address=body.get("MacAddress") or "",
    )


def _mode(path: str, value: Any, notes: Notes) -> str:
    """The mode as text; ``""`` when there is none."""
    mode = "" if value is None else text(path, value, notes).strip()
    if mode.startswith(_CONTAINER):
        notes.drop(path, "containers of others cannot be joined", mode)
        return ""
    if mode.startswith(_SERVICE):
        name = mode.removeprefix(_SERVICE).strip()
        if not name:
            notes.reject(path, "a service name after service:", value)
        return _SERVICE + name
    return mode


def _endpoints(path: str, value: Any, service_name: str, notes: Notes) -> dict[str, Endpoint]:
    """The networks under their short names, in the order given."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        names = [text(at, entry, notes) for at, entry in entries(path, value, notes)]
        return {name: Endpoint(aliases=(service_name,)) for name in names}
    return {name: _endpoint(f"{path}.{name}", settings, service_name, notes) for name, settings in value.items()}


def _endpoint(path: str, value: Any, service_name: str, notes: Notes) -> Endpoint:
    settings = {} if value is None else mapping(path, value, notes)

    def setting(snake: str, camel: str) -> Any:
        found = settings.get(snake)
        return settings.get(camel) if found is None else found

    ipv4, ipv6 = setting("ipv4_address", "ipv4Address"), setting("ipv6_address", "ipv6Address")
    link_local = setting("link_local_ips", "linkLocalIps")
    aliases = texts(f"{path}.aliases", settings.get("aliases") or (), notes)
    return Endpoint(
        aliases=tuple(dict.fromkeys(aliases if service_name in aliases else (*aliases, service_name))),
        ipv4_address="" if ipv4 is None else text(f"{path}.ipv4_address", ipv4, notes),
        ipv6_address="" if ipv6 is None else text(f"{path}.ipv6_address", ipv6, notes),
        link_local_ips=texts(f"{path}.link_local_ips", link_local or (), notes),
    )


def _check_defined(names: dict[str, Endpoint], defined: AbstractSet[str], notes: Notes) -> None:
    for name in names:
        if name not in defined:
            notes.reject("networks", "a network that the release defines", name)
