"""What the feature labels of a service add to its container (spec target-state 12)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from balena_supervisor.model.device import Configuration, HostFacts
from balena_supervisor.model.service import Mount
from balena_supervisor.state.coerce import is_truthy, to_int
from balena_supervisor.state.compose_networks import can_join_networks
from balena_supervisor.state.compose_notes import Notes
from balena_supervisor.state.environment import both
from balena_supervisor.state.strategies import (
    DEFAULT_HANDOVER_TIMEOUT_S,
    DOWNLOAD_THEN_KILL,
    HANDOVER_TIMEOUT,
    STRATEGIES,
    STRATEGY,
)

_PREFIX = "io.balena.features."
SUPERVISOR_API = _PREFIX + "supervisor-api"

_ENGINE_SOCKET = "/host/run/balena-engine.sock"
_OLD_SOCKET = "/var/run/balena.sock"
_LOCALHOST = "127.0.0.1"
_GPU: Final = {"Driver": "", "Count": 1, "DeviceIDs": [], "Capabilities": [["gpu"]], "Options": {}}


class Around(msgspec.Struct, frozen=True):
    """What a feature may depend on. ``user_environment`` is what user and image set, ``key`` the service's API key."""

    mode: str
    user_environment: Mapping[str, str]
    configuration: Configuration
    host: HostFacts
    gateway: str
    key: str


class Added(msgspec.Struct):
    """What the features of one service add; grows while they are gone through."""

    binds: list[str] = []
    mounts: list[Mount] = []
    environment: dict[str, str] = {}
    device_requests: list[dict[str, Any]] = []
    joins_supervisor_network: bool = False


def features(labels: Mapping[str, str], around: Around) -> Added:
    """Everything that the labels (rewritten) switch on, in the order of the table."""
    added = Added()
    for name, feature in _FEATURES.items():
        if is_truthy(labels.get(_PREFIX + name)):
            feature(added, around)
    return added


def check_labels(labels: Mapping[str, str], notes: Notes) -> None:
    """Warn of an update strategy that is none: it silently means the default, and ``handover`` is easily written."""
    strategy = labels.get(STRATEGY)
    if strategy is not None and strategy not in STRATEGIES:
        expected = ", ".join(STRATEGIES)
        notes.warn(f"labels.{STRATEGY}", f"{strategy!r} is none of {expected}; {DOWNLOAD_THEN_KILL} is used")
    timeout = labels.get(HANDOVER_TIMEOUT)
    if timeout is not None and to_int(timeout, positive=True) is None:
        text = f"{timeout!r} is no number of milliseconds; {DEFAULT_HANDOVER_TIMEOUT_S * 1000:.0f} is used"
        notes.warn(f"labels.{HANDOVER_TIMEOUT}", text)


def _journal_logs(added: Added, _around: Around) -> None:
    added.binds += [f"{path}:{path}:ro" for path in ("/var/log/journal", "/run/log/journal", "/etc/machine-id")]


def _dbus(added: Added, _around: Around) -> None:
    added.binds.append("/run/dbus:/host/run/dbus")


def _kernel_modules(added: Added, around: Around) -> None:
    if around.host.has_kernel_modules:
        added.binds.append("/lib/modules:/lib/modules")


def _firmware(added: Added, around: Around) -> None:
    if around.host.has_firmware:
        added.binds.append("/lib/firmware:/lib/firmware")


def _balena_socket(added: Added, around: Around) -> None:
    socket = around.host.docker_socket
    for target in dict.fromkeys((_ENGINE_SOCKET, socket, _OLD_SOCKET)):
        added.mounts.append(Mount(type="bind", source=socket, target=target))
    if "DOCKER_HOST" not in around.user_environment:
        added.environment["DOCKER_HOST"] = f"unix://{_ENGINE_SOCKET}"


def _balena_api(added: Added, around: Around) -> None:
    added.environment |= both("API_KEY", around.configuration.device_api_key)
    added.environment |= both("API_URL", around.configuration.api_endpoint)


def _supervisor_api(added: Added, around: Around) -> None:
    host = _LOCALHOST if around.mode == "host" else around.gateway or _LOCALHOST
    port = str(around.configuration.listen_port)
    added.joins_supervisor_network = can_join_networks(around.mode)
    added.environment |= both("SUPERVISOR_API_KEY", around.key)
    added.environment |= both("SUPERVISOR_PORT", port)
    added.environment |= both("SUPERVISOR_HOST", host)
    added.environment |= both("SUPERVISOR_ADDRESS", f"http://{host}:{port}")


def _sysfs(added: Added, _around: Around) -> None:
    added.binds.append("/sys:/sys")


def _procfs(added: Added, _around: Around) -> None:
    added.binds.append("/proc:/proc")


def _gpu(added: Added, _around: Around) -> None:
    added.device_requests.append(dict(_GPU))


def _board_rev(added: Added, around: Around) -> None:
    if around.configuration.board_rev:
        added.environment |= both("HOST_OS_BOARD_REV", around.configuration.board_rev)
        added.environment |= both("HOST_OS_BUILD", around.configuration.board_rev)


def _extra_firmware(added: Added, _around: Around) -> None:
    added.mounts.append(Mount(type="volume", source="extra-firmware", target="/extra-firmware"))


_FEATURES: Final[dict[str, Callable[[Added, Around], None]]] = {
    "journal-logs": _journal_logs,
    "dbus": _dbus,
    "kernel-modules": _kernel_modules,
    "firmware": _firmware,
    "balena-socket": _balena_socket,
    "balena-api": _balena_api,
    "supervisor-api": _supervisor_api,
    "sysfs": _sysfs,
    "procfs": _procfs,
    "gpu": _gpu,
    "host-os.board-rev": _board_rev,
    "extra-firmware": _extra_firmware,
}
