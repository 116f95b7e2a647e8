"""The composition fields that stand for themselves, one reader for each (spec target-state 10.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from balena_supervisor.model.service import CONDITIONS, STARTED
from balena_supervisor.state import coerce
from balena_supervisor.state.compose_notes import (
    Notes,
    boolean_of,
    entries,
    integer_of,
    mapping,
    pairs,
    text,
    texts,
)
from balena_supervisor.state.compose_ports import ports
from balena_supervisor.state.compose_sizes import duration_ms, nano_cpus, size_bytes

Reader = Callable[[str, Any, Notes], Any]

DEFAULT_SHM_BYTES = 64 * 1024 * 1024
DEFAULT_IPC = "shareable"
_RESTARTS = frozenset({"no", "always", "on-failure", "unless-stopped"})
_LABEL_OPTION = "label="


def _boolean(_path: str, value: Any, _notes: Notes) -> bool:
    return boolean_of(value)


def _privileged(path: str, value: Any, notes: Notes) -> bool:
    """More careful than the other booleans: ``"false"`` must not open a door."""
    if coerce.is_truthy(value) or coerce.is_falsey(value):
        return coerce.is_truthy(value)
    notes.drop(path, "it is neither true nor false", value)
    return False


def _integer(path: str, value: Any, notes: Notes) -> int:
    number = integer_of(value)
    if number is None:
        notes.drop(path, "it is not a whole number", value)
    return number or 0


def _pids_limit(path: str, value: Any, notes: Notes) -> int:
    """A negative limit is none, as the engine has it."""
    return max(0, _integer(path, value, notes))


def _cpus(path: str, value: Any, notes: Notes) -> int:
    number = nano_cpus(value)
    if number is None:
        notes.drop(path, "it is not a number", value)
    return number or 0


def _size(_path: str, value: Any, _notes: Notes) -> int:
    return size_bytes(value)


def _shm_size(_path: str, value: Any, _notes: Notes) -> int:
    """The engine takes 0 for its default."""
    return size_bytes(value) or DEFAULT_SHM_BYTES


def _ipc(path: str, value: Any, notes: Notes) -> str:
    return text(path, value, notes) or DEFAULT_IPC


def _stop_grace_period(path: str, value: Any, notes: Notes) -> int:
    """Whole seconds, at least one: the engine's 0 cannot be told from unset."""
    duration = duration_ms(value)
    if duration is None:
        notes.reject(path, "a duration such as 1m30s", value)
    return max(1, (duration or 0) // 1000)


def _restart(path: str, value: Any, notes: Notes) -> str:
    if not isinstance(value, str):
        notes.drop(path, "it is not a text; always is used", value)
        return "always"
    policy = value.strip().lower()
    return policy if policy in _RESTARTS else "always"


def _devices(path: str, value: Any, notes: Notes) -> tuple[tuple[str, str, str], ...]:
    """``host[:container[:permissions]]``, each as its three parts."""
    devices = []
    for at, entry in entries(path, value, notes):
        parts = text(at, entry, notes).split(":")
        if not parts[0] or len(parts) > 3:
            notes.reject(at, "a device host[:container[:permissions]]", entry)
        else:
            host, container, permissions = (*parts, "", "")[:3]
            devices.append((host, container or host, permissions or "rwm"))
    return tuple(devices)


def _text_or_texts(path: str, value: Any, notes: Notes) -> tuple[str, ...]:
    return texts(path, [value] if isinstance(value, str) else value, notes)


def _extra_hosts(path: str, value: Any, notes: Notes) -> tuple[str, ...]:
    return tuple(host.replace("=", ":", 1) for host in texts(path, value, notes))


def _security_opt(path: str, value: Any, notes: Notes) -> tuple[str, ...]:
    options = texts(path, value, notes)
    dropped = [option for option in options if _LABEL_OPTION in option]
    if dropped:
        notes.drop(path, "labels are the engine's own business", dropped)
    return without_label_options(options)


def without_label_options(options: tuple[str, ...]) -> tuple[str, ...]:
    """Security options without those that an engine with SELinux adds by itself."""
    return tuple(option for option in options if _LABEL_OPTION not in option)


def _tmpfs(path: str, value: Any, notes: Notes) -> dict[str, str]:
    return read_tmpfs(dict.fromkeys(_text_or_texts(path, value, notes), ""))


def read_tmpfs(body: Mapping[str, str]) -> dict[str, str]:
    """Path to options. Old supervisors sent ``/path:options`` whole as the path; it reads the same."""
    found: dict[str, str] = {}
    for entry, options in body.items():
        path, _, inside = entry.partition(":")
        found[path] = options or inside
    return found


def _ulimits(path: str, value: Any, notes: Notes) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for name, limit in mapping(path, value, notes).items():
        if limit is None:
            continue
        both = (limit.get("soft"), limit.get("hard")) if isinstance(limit, dict) else (limit, limit)
        soft, hard = (integer_of(each) for each in both)
        if soft is None or hard is None:
            notes.drop(f"{path}.{name}", "it is neither a whole number nor soft and hard", limit)
        else:
            found[name] = (soft, hard)
    return found


#: compose field -> field of ``ServiceConfig``, and its reader
FIELDS: Final[dict[str, tuple[str, Reader]]] = {
    "cap_add": ("cap_add", texts),
    "cap_drop": ("cap_drop", texts),
    "cgroup_parent": ("cgroup_parent", text),
    "cpus": ("nano_cpus", _cpus),
    "cpu_shares": ("cpu_shares", _integer),
    "cpu_quota": ("cpu_quota", _integer),
    "cpuset": ("cpuset", text),
    "devices": ("devices", _devices),
    "dns": ("dns", _text_or_texts),
    "dns_opt": ("dns_opt", texts),
    "dns_search": ("dns_search", _text_or_texts),
    "domainname": ("domainname", text),
    "extra_hosts": ("extra_hosts", _extra_hosts),
    "group_add": ("group_add", texts),
    "hostname": ("hostname", text),
    "init": ("init", _boolean),
    "ipc": ("ipc", _ipc),
    "mac_address": ("mac_address", text),
    "mem_limit": ("memory_bytes", _size),
    "mem_reservation": ("memory_reservation_bytes", _size),
    "oom_kill_disable": ("oom_kill_disable", _boolean),
    "oom_score_adj": ("oom_score_adj", _integer),
    "pid": ("pid", text),
    "pids_limit": ("pids_limit", _pids_limit),
    "ports": ("ports", ports),
    "privileged": ("privileged", _privileged),
    "read_only": ("read_only", _boolean),
    "restart": ("restart", _restart),
    "security_opt": ("security_opt", _security_opt),
    "shm_size": ("shm_size_bytes", _shm_size),
    "stop_grace_period": ("stop_grace_period_s", _stop_grace_period),
    "stop_signal": ("stop_signal", text),
    "sysctls": ("sysctls", pairs),
    "tmpfs": ("tmpfs", _tmpfs),
    "tty": ("tty", _boolean),
    "ulimits": ("ulimits", _ulimits),
    "user": ("user", text),
    "userns_mode": ("userns_mode", text),
    "working_dir": ("working_dir", text),
}

#: fields that are read together with others
JOINT_FIELDS: Final = frozenset(
    {"command", "entrypoint", "environment", "labels", "healthcheck", "network_mode", "networks", "volumes"}
    | {"depends_on"}
)
#: taken from the service itself, not from its composition
_SERVICE_FIELDS = frozenset({"image", "running"})


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)


_SNAKE: Final = {
    spelling: name for name in (*FIELDS, *JOINT_FIELDS, *_SERVICE_FIELDS) for spelling in (name, _camel(name))
}


def canonical(composition: Mapping[str, Any], notes: Notes) -> dict[str, Any]:
    """The known fields under their snake-case names, without nulls. One warning lists all others, in camel case."""
    known: dict[str, Any] = {}
    unknown: list[str] = []
    for field, value in composition.items():
        name = _SNAKE.get(field)
        if name is None:
            unknown.append(_camel(field))
        elif value is not None and name not in _SERVICE_FIELDS:
            known[name] = value
    if unknown:
        notes.warnings.append(f"fields that are not supported are left out: {', '.join(unknown)}")
    return known


def read_fields(known: Mapping[str, Any], notes: Notes) -> dict[str, Any]:
    """The fields of ``ServiceConfig`` that the composition sets by itself."""
    found: dict[str, Any] = {}
    for name, value in known.items():
        if name in FIELDS:
            field, reader = FIELDS[name]
            found[field] = reader(name, value, notes)
    return found


def depends_on(value: Any, notes: Notes) -> dict[str, str]:
    """Service -> condition: a list, or a mapping to objects with ``condition``. The options ``restart`` and
    ``required`` of newer compose files mean nothing here."""
    if not isinstance(value, dict):
        return dict.fromkeys(texts("depends_on", value, notes), STARTED)
    found: dict[str, str] = {}
    for name, entry in value.items():
        path = f"depends_on.{name}"
        if entry is not None and not isinstance(entry, dict):
            notes.reject(path, "an object", entry)
            continue
        condition = (entry or {}).get("condition", STARTED)
        if condition not in CONDITIONS:
            notes.reject(f"{path}.condition", f"one of {', '.join(CONDITIONS)}", condition)
            continue
        found[name] = condition
    return found


def clean_path(path: str) -> str:
    """A working directory in the form in which the engine keeps it: no trailing ``/``, ``.`` or ``..`` parts."""
    if not path.startswith("/"):
        return path.removesuffix("/")
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            parts[-1:] = []
        elif part not in {"", "."}:
            parts.append(part)
    return "/" + "/".join(parts)
