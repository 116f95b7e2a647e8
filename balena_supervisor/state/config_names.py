"""Names of the device configuration variables: which are kept, under which name, with which defaults
(spec cloud-and-host 6.1 to 6.3)."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec


class ConfigName(msgspec.Struct, frozen=True):
    """One variable: ``name`` without prefix, ``key`` of the configuration store (``""`` when it has none), ``kind``
    ``int``, ``bool`` or ``string``, and the default as text."""

    name: str
    key: str
    kind: str
    default: str
    needs_reboot: bool = False


CONFIG_NAMES = (
    ConfigName("SUPERVISOR_POLL_INTERVAL", "appUpdatePollInterval", "int", "900000"),
    ConfigName("SUPERVISOR_INSTANT_UPDATE_TRIGGER", "instantUpdates", "bool", "true"),
    ConfigName("SUPERVISOR_LOCAL_MODE", "localMode", "bool", "false"),
    ConfigName("SUPERVISOR_CONNECTIVITY_CHECK", "connectivityCheckEnabled", "bool", "true"),
    ConfigName("SUPERVISOR_LOG_CONTROL", "loggingEnabled", "bool", "true"),
    ConfigName("SUPERVISOR_DELTA", "delta", "bool", "false"),
    ConfigName("SUPERVISOR_DELTA_REQUEST_TIMEOUT", "deltaRequestTimeout", "int", "59000"),
    ConfigName("SUPERVISOR_DELTA_APPLY_TIMEOUT", "deltaApplyTimeout", "int", "0"),
    ConfigName("SUPERVISOR_DELTA_RETRY_COUNT", "deltaRetryCount", "int", "30"),
    ConfigName("SUPERVISOR_DELTA_RETRY_INTERVAL", "deltaRetryInterval", "int", "10000"),
    ConfigName("SUPERVISOR_DELTA_VERSION", "deltaVersion", "int", "2"),
    ConfigName("SUPERVISOR_OVERRIDE_LOCK", "lockOverride", "bool", "false"),
    ConfigName("SUPERVISOR_PERSISTENT_LOGGING", "persistentLogging", "bool", "false", needs_reboot=True),
    ConfigName("HOST_FIREWALL_MODE", "firewallMode", "string", "off"),
    ConfigName("HOST_DISCOVERABILITY", "hostDiscoverability", "bool", "true"),
    ConfigName("SUPERVISOR_HARDWARE_METRICS", "hardwareMetrics", "bool", "true"),
    ConfigName("SUPERVISOR_API_REQUEST_TIMEOUT", "apiRequestTimeout", "int", "59000"),
    ConfigName("SUPERVISOR_VPN_CONTROL", "", "bool", "true"),
)
OVERRIDE_LOCK_ALIAS = "OVERRIDE_LOCK"
#: of our own, and not shown where it is not set: seconds that each release has to prove itself
ROLLBACK = "SUPERVISOR_ROLLBACK"

_KNOWN = frozenset(entry.name for entry in CONFIG_NAMES) | {OVERRIDE_LOCK_ALIAS, ROLLBACK}
_OF_BACK_ENDS = (
    re.compile(r"HOST_(CONFIG|EXTLINUX)_.+"),
    re.compile(r"HOST_CONFIGFS_ssdt|HOST_ODMDATA_configuration"),
    re.compile(r"HOST_SPLASH_(?i:image)"),
)
_PREFIXES = ("", "RESIN_", "BALENA_")
#: The server always adds this one with the old prefix and measures the heartbeat by it (spec cloud-server 3).
_OLD_PREFIX_WINS = frozenset({"SUPERVISOR_POLL_INTERVAL"})


def is_kept(name: str) -> bool:
    """Whether a name without prefix is stored: one of ours, or one that some host back end understands."""
    return name in _KNOWN or any(pattern.fullmatch(name) for pattern in _OF_BACK_ENDS)


def kept_config(given: Mapping[str, str]) -> dict[str, str]:
    """What of the given variables is stored: without prefix, the stronger prefix winning, unknown names dropped.

    The old name ``OVERRIDE_LOCK`` is kept and also decides ``SUPERVISOR_OVERRIDE_LOCK``.
    """
    kept: dict[str, str] = {}
    ranks: dict[str, int] = {}
    for full_name, value in given.items():
        prefix = next((prefix for prefix in _PREFIXES if prefix and full_name.startswith(prefix)), "")
        name = full_name[len(prefix) :]
        rank = _PREFIXES.index(prefix)
        if name in _OLD_PREFIX_WINS and prefix == "RESIN_":
            rank = len(_PREFIXES)
        if is_kept(name) and rank >= ranks.get(name, -1):
            kept[name], ranks[name] = value, rank
    if OVERRIDE_LOCK_ALIAS in kept:
        kept["SUPERVISOR_OVERRIDE_LOCK"] = kept[OVERRIDE_LOCK_ALIAS]
    return kept


def complete_config(stored: Mapping[str, str], unmanaged: bool, *, target_set: bool = True) -> dict[str, str]:
    """The target configuration as ``GET /v2/local/target-state`` shows it (spec device-api 7.1).

    All names of the table, values of ``stored`` unchanged, defaults for the others, then the names of the host back
    ends. ``target_set`` says whether this device ever stored a target; before that no firewall mode is in force.
    """
    complete = {entry.name: stored.get(entry.name, entry.default) for entry in CONFIG_NAMES}
    if unmanaged and "SUPERVISOR_LOCAL_MODE" not in stored:
        complete["SUPERVISOR_LOCAL_MODE"] = "true"
    if not target_set and "HOST_FIREWALL_MODE" not in stored:
        complete["HOST_FIREWALL_MODE"] = ""
    complete.update({name: value for name, value in stored.items() if name != OVERRIDE_LOCK_ALIAS})
    return complete
