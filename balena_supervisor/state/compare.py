"""Whether what is there equals what is wanted, and where not (spec target-state 14 to 16)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from balena_supervisor.model.resource import IpamPool, Network, Volume
from balena_supervisor.model.service import Container, Endpoint, Service, ServiceConfig
from balena_supervisor.state.compose_networks import shares_service
from balena_supervisor.state.names import SUPERVISOR_NETWORK

_CONTAINER_MODE = "container:"


def _capabilities(names: Iterable[str]) -> frozenset[str]:
    """Engines may add the prefix ``CAP_`` to what they were told."""
    return frozenset(name.upper().removeprefix("CAP_") for name in names)


def _restart(policy: str) -> str:
    return policy or "no"


#: fields that are compared in another form; all others are compared as they are
_FORMS: Final[dict[str, Callable[[Any], Any]]] = {
    "volumes": Counter,
    "mounts": Counter,
    "devices": Counter,
    "dns_opt": Counter,
    "extra_hosts": Counter,
    "group_add": Counter,
    "security_opt": Counter,
    "cap_add": _capabilities,
    "cap_drop": _capabilities,
    "restart": _restart,
}
_SPECIAL: Final = frozenset({"networks", "network_mode", "hostname", "mac_address", "oom_kill_disable"})
_AS_THEY_ARE: Final = tuple(
    field for field in ServiceConfig.__struct_fields__ if field not in _FORMS and field not in _SPECIAL
)


def differences(current: Container, target: Service, container_ids: Mapping[str, str]) -> tuple[str, ...]:
    """The fields in which a container is not what its service wants; empty means equal configuration.

    ``container_ids`` maps the services of the app to their present containers, for ``network_mode: service:x``.
    Whether it runs, and the commit, are not configuration.
    """
    have, want = current.config, target.config
    found = [field for field in _AS_THEY_ARE if getattr(have, field) != getattr(want, field)]
    for field, form in _FORMS.items():
        one, other = getattr(have, field), getattr(want, field)
        if one != other and form(one) != form(other):
            found.append(field)
    if not _same_mac_address(have, want):
        found.append("mac_address")
    # An engine that cannot do it says null; asking again would change nothing.
    if have.oom_kill_disable not in {None, want.oom_kill_disable}:
        found.append("oom_kill_disable")
    if not _same_mode(have, want, container_ids):
        found.append("network_mode")
    elif not _same_hostname(have, want):
        found.append("hostname")
    if not _same_networks(have, target):
        found.append("networks")
    return tuple(found)


def same_release(current: Container, target: Service) -> bool:
    """Whether a container carries the commit of the target; if only that differs, it is renamed."""
    return current.commit == target.commit


def network_differences(current: Network, target: Network) -> tuple[str, ...]:
    """The fields in which a network is not what the target wants."""
    have, want = current.config, target.config
    found = [
        field
        for field in ("options", "ipam_driver", "ipam_options", "enable_ipv6", "internal", "config_only", "labels")
        if getattr(have, field) != getattr(want, field)
    ]
    # The engine gives a network that only holds configuration another driver.
    if have.driver != want.driver and not want.config_only:
        found.append("driver")
    # Without pools in the target the engine chooses one.
    if want.ipam_config and not _same_pools(have.ipam_config, want.ipam_config):
        found.append("ipam_config")
    return tuple(found)


def volume_differences(current: Volume, target: Volume) -> tuple[str, ...]:
    """The fields in which a volume is not what the target wants."""
    return tuple(
        field
        for field in ("driver", "options", "labels")
        if getattr(current.config, field) != getattr(target.config, field)
    )


def _same_mode(have: ServiceConfig, want: ServiceConfig, container_ids: Mapping[str, str]) -> bool:
    other = shares_service(want.network_mode)
    if other and have.network_mode.startswith(_CONTAINER_MODE):
        return container_ids.get(other) == have.network_mode.removeprefix(_CONTAINER_MODE)
    return have.network_mode == want.network_mode


def _same_hostname(have: ServiceConfig, want: ServiceConfig) -> bool:
    """Not compared where another container or, unknown to us, the host has the say."""
    if shares_service(want.network_mode) or (want.network_mode == "host" and not want.hostname):
        return True
    return have.hostname == want.hostname


def _same_mac_address(have: ServiceConfig, want: ServiceConfig) -> bool:
    """Engines from API 1.44 say it of the main network only, also when they chose it themselves."""
    if have.mac_address or not want.mac_address:
        return have.mac_address.lower() == want.mac_address.lower()
    main = have.networks.get(have.network_mode)
    return main is not None and main.mac_address.lower() == want.mac_address.lower()


def _same_networks(have: ServiceConfig, target: Service) -> bool:
    want = target.config.networks
    for name, endpoint in want.items():
        if name not in have.networks or not _same_endpoint(have.networks[name], endpoint):
            return False
    own = (f"{target.app_uuid}_", f"{target.app_id}_")
    return not any(name not in want and (name == SUPERVISOR_NETWORK or name.startswith(own)) for name in have.networks)


def _same_endpoint(have: Endpoint, want: Endpoint) -> bool:
    """Only what the target sets is compared; engines add aliases and addresses."""
    return (
        set(want.aliases) <= set(have.aliases)
        and want.ipv4_address in {"", have.ipv4_address}
        and want.ipv6_address in {"", have.ipv6_address}
        and (not want.link_local_ips or set(want.link_local_ips) == set(have.link_local_ips))
    )


def _same_pools(have: tuple[IpamPool, ...], want: tuple[IpamPool, ...]) -> bool:
    return len(have) == len(want) and all(_same_pool(*both) for both in zip(have, want, strict=True))


def _same_pool(have: IpamPool, want: IpamPool) -> bool:
    """A pool without a subnet is completed by the engine, so only what it sets can be compared."""
    if want.subnet:
        return have == want
    return (
        want.gateway in {"", have.gateway}
        and want.ip_range in {"", have.ip_range}
        and want.aux_addresses.items() <= have.aux_addresses.items()
    )
