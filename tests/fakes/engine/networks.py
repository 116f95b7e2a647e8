"""Networks of the simulated engine, with an address pool for each."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

from tests.fakes.engine.basics import ApiError, Json, has_labels, id_from, new_id, now_ns, parse_filters, rfc3339_nano
from tests.fakes.engine.events import EventLog

PREDEFINED = ("none", "host", "bridge")
_DRIVERS = {"bridge", "host", "null", "macvlan", "ipvlan", "overlay"}
_POOL_KEYS = {
    "Subnet": "Subnet",
    "IPRange": "IPRange",
    "Gateway": "Gateway",
    "AuxiliaryAddresses": "AuxiliaryAddresses",
}


@dataclass
class Attachment:
    """A running container in a network."""

    endpoint_id: str
    name: str
    mac: str
    address: str
    prefix_length: int


@dataclass
class Network:
    id: str
    name: str
    driver: str
    created: str
    ipam: Json
    gateway: str
    subnet: ipaddress.IPv4Network | None
    user_subnet: bool
    labels: dict[str, str]
    options: dict[str, str]
    flags: Json
    attached: dict[str, Attachment] = field(default_factory=dict)

    def view(self, *, with_containers: bool) -> Json:
        containers = {
            container_id: {
                "Name": a.name,
                "EndpointID": a.endpoint_id,
                "MacAddress": a.mac,
                "IPv4Address": f"{a.address}/{a.prefix_length}" if a.address else "",
                "IPv6Address": "",
            }
            for container_id, a in self.attached.items()
        }
        return {
            "Name": self.name,
            "Id": self.id,
            "Created": self.created,
            "Scope": "local",
            "Driver": self.driver,
            "EnableIPv6": self.flags["EnableIPv6"],
            "IPAM": self.ipam,
            "Internal": self.flags["Internal"],
            "Attachable": self.flags["Attachable"],
            "Ingress": False,
            "ConfigFrom": {"Network": ""},
            "ConfigOnly": self.flags["ConfigOnly"],
            "Containers": containers if with_containers else {},
            "Options": self.options,
            "Labels": self.labels,
        }

    def free_address(self) -> str:
        """The lowest free address; empty in a network without a subnet."""
        if self.subnet is None:
            return ""
        taken = {a.address for a in self.attached.values()} | {self.gateway}
        return next(str(host) for host in self.subnet.hosts() if str(host) not in taken | {str(self.subnet[1])})


class Networks:
    """Networks by id. A name may occur more than once, as on the real engine."""

    def __init__(self, events: EventLog) -> None:
        self._events = events
        self._all: dict[str, Network] = {}
        for name, driver in zip(PREDEFINED, ("null", "host", "bridge"), strict=True):
            self._add_predefined(name, driver)

    def _add_predefined(self, name: str, driver: str) -> None:
        subnet = ipaddress.IPv4Network("172.17.0.0/16") if name == "bridge" else None
        pools = [{"Subnet": str(subnet)}] if subnet else []
        self._all[id_from(name)] = Network(
            id=id_from(name),
            name=name,
            driver=driver,
            created=rfc3339_nano(now_ns()),
            ipam={"Driver": "default", "Options": None, "Config": pools},
            gateway=str(subnet[1]) if subnet else "",
            subnet=subnet,
            user_subnet=False,
            labels={},
            options={"com.docker.network.bridge.name": "docker0"} if subnet else {},
            flags={"EnableIPv6": False, "Internal": False, "Attachable": False, "ConfigOnly": False},
        )

    def named(self, name: str) -> list[Network]:
        return [network for network in self._all.values() if network.name == name]

    def find(self, key: str) -> Network:
        """By id, name or beginning of an id, in this order; a name that occurs twice is ambiguous."""
        if key in self._all:
            return self._all[key]
        by_name = self.named(key)
        if len(by_name) > 1:
            raise ApiError(400, f"{len(by_name)} matches found based on name: network {key} is ambiguous")
        by_prefix = [network for network in self._all.values() if key and network.id.startswith(key)]
        if not by_name and len(by_prefix) != 1:
            raise ApiError(404, f"network {key} not found")
        return (by_name or by_prefix)[0]

    def listing(self, filters: str) -> list[Json]:
        wanted = parse_filters(filters, {"label", "name", "id", "driver", "type", "scope", "dangling"})

        def matches(network: Network) -> bool:
            kind = "builtin" if network.name in PREDEFINED else "custom"
            return (
                has_labels(wanted.get("label", []), network.labels)
                and ("name" not in wanted or any(name in network.name for name in wanted["name"]))
                and ("id" not in wanted or any(network.id.startswith(key) for key in wanted["id"]))
                and ("driver" not in wanted or network.driver in wanted["driver"])
                and ("type" not in wanted or kind in wanted["type"])
            )

        return [network.view(with_containers=False) for network in self._all.values() if matches(network)]

    def create(self, body: Json) -> Json:
        name = body.get("Name", "")
        if not name.strip():
            raise ApiError(500, "invalid name: ")
        if name in PREDEFINED:
            raise ApiError(403, f"operation is not permitted on predefined {name} network ")
        warning = ""
        if same := self.named(name):
            if body.get("CheckDuplicate"):
                raise ApiError(409, f"network with name {name} already exists")
            warning = f"Network with name {name} (id : {same[0].id}) already exists"
        network = self._build(name, body)
        self._all[network.id] = network
        self._events.emit("network", "create", network.id, {"name": name, "type": network.driver})
        return {"Id": network.id, "Warning": warning}

    def _build(self, name: str, body: Json) -> Network:
        config_only = bool(body.get("ConfigOnly"))
        driver = "null" if config_only else (body.get("Driver") or "bridge")
        if driver not in _DRIVERS:
            raise ApiError(404, f'plugin "{driver}" not found')
        if body.get("EnableIPv6") and not any(":" in p.get("Subnet", "") for p in _pools(body)):
            raise ApiError(
                404,
                "could not find an available, non-overlapping IPv6 address pool among the defaults "
                "to assign to the network",
            )
        ipam = body.get("IPAM") or {}
        given = [{key: pool[key] for key in _POOL_KEYS if pool.get(key)} for pool in _pools(body)]
        subnet, gateway = (None, "") if config_only or driver == "null" else self._address_space(given)
        filled = given or ([{"Subnet": str(subnet), "Gateway": gateway}] if subnet else [])
        return Network(
            id=new_id(),
            name=name,
            driver=driver,
            created=rfc3339_nano(now_ns()),
            ipam={"Driver": ipam.get("Driver") or "default", "Options": ipam.get("Options"), "Config": filled},
            gateway=gateway,
            subnet=subnet,
            user_subnet=bool(given),
            labels=dict(body.get("Labels") or {}),
            options=dict(body.get("Options") or {}),
            flags={key: bool(body.get(key)) for key in ("EnableIPv6", "Internal", "Attachable", "ConfigOnly")},
        )

    def _address_space(self, pools: list[Json]) -> tuple[ipaddress.IPv4Network | None, str]:
        if not pools:
            taken = [network.subnet for network in self._all.values() if network.subnet]
            free = (ipaddress.IPv4Network(f"{a}.{b}.0.0/16") for a, b in [(172, b) for b in range(18, 32)])
            more = (ipaddress.IPv4Network(f"192.168.{c}.0/20") for c in range(0, 256, 16))
            for subnet in [*free, *more]:
                if not any(subnet.overlaps(other) for other in taken):
                    return subnet, str(subnet[1])
            raise ApiError(
                404,
                "could not find an available, non-overlapping IPv4 address pool among the defaults "
                "to assign to the network",
            )
        first = next((pool for pool in pools if ":" not in pool.get("Subnet", "")), pools[0])
        try:
            subnet = ipaddress.IPv4Network(first.get("Subnet", ""))
        except ValueError:
            raise ApiError(500, f"Invalid subnet {first.get('Subnet', '')} : invalid CIDR address: ") from None
        if any(network.subnet and network.subnet.overlaps(subnet) for network in self._all.values()):
            raise ApiError(403, "Pool overlaps with other one on this address space")
        return subnet, first.get("Gateway") or str(subnet[1])

    def remove(self, key: str) -> None:
        if len(self.named(key)) > 1:
            raise ApiError(400, f"network {key} is ambiguous ({len(self.named(key))} matches found based on name)")
        network = self.find(key)
        if network.name in PREDEFINED:
            raise ApiError(403, f"{network.name} is a pre-defined network and cannot be removed")
        if network.attached:
            raise ApiError(
                403,
                f"error while removing network: network {network.name} id {network.id} has active endpoints",
            )
        del self._all[network.id]
        self._events.emit("network", "destroy", network.id, {"name": network.name, "type": network.driver})

    def attach(self, network: Network, container_id: str, attachment: Attachment) -> None:
        network.attached[container_id] = attachment
        self._tell("connect", network, container_id)

    def detach(self, network: Network, container_id: str) -> None:
        if network.attached.pop(container_id, None):
            self._tell("disconnect", network, container_id)

    def leave_stale(self, key: str, name: str) -> None:
        """Keep the endpoint of a container that is gone, as the real engine sometimes does."""
        network = self.find(key)
        network.attached[f"ep-{name}"] = Attachment(f"ep-{name}", name, "", "", 0)

    def forget_stale(self, network: Network, name: str) -> bool:
        return network.attached.pop(f"ep-{name}", None) is not None

    def _tell(self, action: str, network: Network, container_id: str) -> None:
        attributes = {"container": container_id, "name": network.name, "type": network.driver}
        self._events.emit("network", action, network.id, attributes)


def _pools(body: Json) -> list[Json]:
    return list((body.get("IPAM") or {}).get("Config") or [])
