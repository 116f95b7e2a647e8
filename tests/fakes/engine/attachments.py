"""Containers in networks: joining at start, leaving at stop, published ports."""

from __future__ import annotations

from collections.abc import Iterable

from tests.fakes.engine.basics import ApiError, Json, new_id
from tests.fakes.engine.container import Container, Endpoint
from tests.fakes.engine.networks import PREDEFINED, Attachment, Network, Networks

_ALL_ADDRESSES = {"", "0.0.0.0", "::"}
_FIRST_EPHEMERAL = 49153


def endpoint_name(mode: str) -> str:
    """The network that a network mode means."""
    return "bridge" if mode == "default" else mode


def initial(body: Json, mode: str) -> dict[str, Endpoint]:
    """The endpoints of a new container. Raises ``ApiError`` 400 when more than one network is given."""
    given = (body.get("NetworkingConfig") or {}).get("EndpointsConfig") or {}
    if len(given) > 1:
        names = ", ".join(given)
        raise ApiError(400, f"Container cannot be connected to network endpoints: {names}")
    if mode.startswith("container:"):
        return {}
    endpoints = {name: Endpoint.from_body(settings) for name, settings in given.items()}
    endpoints.setdefault(endpoint_name(mode), Endpoint())
    return endpoints


def join_all(container: Container, networks: Networks, others: Iterable[Container]) -> None:
    """Give the starting container its addresses and ports, or nothing at all. Raises ``ApiError``."""
    if container.host_config["NetworkMode"].startswith("container:"):
        return
    joined: list[Network] = []
    try:
        for name, endpoint in container.endpoints.items():
            # once it was joined, the engine knows a network by its id: another one of that name is not the same
            network = networks.find(name if name in PREDEFINED else endpoint.network_id or name)
            if network.driver == "null" and network.flags["ConfigOnly"]:
                raise ApiError(403, f"configuration network {name} cannot be used")
            join(container, network, endpoint, networks)
            joined.append(network)
        container.sandbox = new_id()
        container.published = _publish(container, others)
    except ApiError:
        for network in joined:
            networks.detach(network, container.id)
        for endpoint in container.endpoints.values():
            endpoint.release()
        container.published = {}
        raise


def join(container: Container, network: Network, endpoint: Endpoint, networks: Networks) -> None:
    """Attach a container that runs or is being started to one network."""
    wanted = (endpoint.ipam or {}).get("IPv4Address") or ""
    if wanted and not network.user_subnet:
        raise ApiError(
            400,
            "user specified IP address is supported only when connecting to networks with user configured subnets",
        )
    if wanted and wanted in {a.address for a in network.attached.values()}:
        raise ApiError(403, "Address already in use")
    add_short_id(container, network.name, endpoint)
    endpoint.network_id = network.id
    endpoint.endpoint_id = new_id()
    endpoint.address = wanted or network.free_address()
    if endpoint.address:
        endpoint.gateway = "" if network.flags["Internal"] else network.gateway
        endpoint.prefix_length = network.subnet.prefixlen if network.subnet else 0
        endpoint.mac = endpoint.mac or "02:42:" + ":".join(f"{int(part):02x}" for part in endpoint.address.split("."))
    attachment = Attachment(
        endpoint.endpoint_id, container.name, endpoint.mac, endpoint.address, endpoint.prefix_length
    )
    networks.attach(network, container.id, attachment)


def add_short_id(container: Container, network_name: str, endpoint: Endpoint) -> None:
    """In a network of one's own the container is also known by the beginning of its id."""
    if network_name not in PREDEFINED and container.short_id not in (endpoint.aliases or []):
        endpoint.aliases = [*(endpoint.aliases or []), container.short_id]


def leave_all(container: Container, networks: Networks) -> None:
    """Give back addresses and ports; the settings stay."""
    for endpoint in container.endpoints.values():
        if endpoint.endpoint_id:
            networks.detach(networks.find(endpoint.network_id), container.id)
        endpoint.release()
    container.published = {}


def _publish(container: Container, others: Iterable[Container]) -> dict[str, list[Json] | None]:
    """Publish what is exposed and bound; in host mode nothing is."""
    if container.host_config["NetworkMode"] in {"host", "none"}:
        return {}
    taken = {
        (key.partition("/")[2], binding["HostIp"], binding["HostPort"])
        for other in others
        for key, bindings in other.published.items()
        for binding in bindings or []
    }
    published: dict[str, list[Json] | None] = {}
    for key in container.config.get("ExposedPorts") or {}:
        bindings = (container.host_config["PortBindings"] or {}).get(key)
        published[key] = _bind(container, key, bindings, taken) if bindings else None
    return published


def _bind(container: Container, key: str, bindings: list[Json], taken: set[tuple[str, str, str]]) -> list[Json]:
    protocol = key.partition("/")[2]
    result: list[Json] = []
    for binding in bindings:
        port = binding["HostPort"] or _ephemeral(protocol, taken)
        wide = binding["HostIp"] in _ALL_ADDRESSES
        used = {ip for proto, ip, number in taken if proto == protocol and number == port}
        if used and (wide or used & {"0.0.0.0", binding["HostIp"]}):
            endpoint = next(e.endpoint_id for e in container.endpoints.values())
            raise ApiError(
                500,
                f"driver failed programming external connectivity on endpoint {container.name} ({endpoint}): "
                f"Bind for {'0.0.0.0' if wide else binding['HostIp']}:{port} failed: port is already allocated",
            )
        for address in ("0.0.0.0", "::") if binding["HostIp"] == "" else (binding["HostIp"],):
            result.append({"HostIp": address, "HostPort": port})
            taken.add((protocol, address, port))
    return result


def _ephemeral(protocol: str, taken: set[tuple[str, str, str]]) -> str:
    used = {number for proto, _, number in taken if proto == protocol}
    return next(str(n) for n in range(_FIRST_EPHEMERAL, 65536) if str(n) not in used)
