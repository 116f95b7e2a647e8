"""What the engine makes of the body of a create call: defaults, what comes from the image, null or empty forms."""

from __future__ import annotations

from typing import Any

from tests.fakes.engine.basics import ApiError, Json

_MASKED = ["asound", "acpi", "kcore", "keys", "latency_stats", "timer_list", "timer_stats", "sched_debug", "scsi"]
_READ_ONLY = ["bus", "fs", "irq", "sys", "sysrq-trigger"]

#: Go type of each field that can be wrong in a target; the engine refuses another type with status 500
_TEXT = ("Image", "User", "WorkingDir", "Hostname", "Domainname", "MacAddress", "StopSignal")
_HOST_TEXT = ("NetworkMode", "IpcMode", "PidMode", "CpusetCpus", "CgroupParent", "UsernsMode")
_HOST_NUMBERS = ("Memory", "NanoCpus", "CpuShares", "CpuQuota", "ShmSize", "PidsLimit", "OomScoreAdj")
_HOST_LISTS = ("Binds", "CapAdd", "CapDrop", "Dns", "DnsOptions", "DnsSearch", "ExtraHosts", "GroupAdd", "SecurityOpt")

#: by the form in which an unset field shows
_NULL = """
    Binds PortBindings VolumesFrom CapAdd CapDrop Dns DnsOptions DnsSearch ExtraHosts GroupAdd Links SecurityOpt
    BlkioWeightDevice BlkioDeviceReadBps BlkioDeviceWriteBps BlkioDeviceReadIOps BlkioDeviceWriteIOps Devices
    DeviceCgroupRules DeviceRequests MemorySwappiness PidsLimit Ulimits
"""
_EMPTY = """
    ContainerIDFile VolumeDriver Cgroup PidMode UTSMode UsernsMode Isolation CgroupParent CpusetCpus CpusetMems
"""
_ZERO = """
    OomScoreAdj CpuShares Memory NanoCpus BlkioWeight CpuPeriod CpuQuota CpuRealtimePeriod CpuRealtimeRuntime
    KernelMemory KernelMemoryTCP MemoryReservation MemorySwap CpuCount CpuPercent IOMaximumIOps IOMaximumBandwidth
"""
_FALSE = "AutoRemove Privileged PublishAllPorts ReadonlyRootfs OomKillDisable"
#: left out of inspect when empty
_OMITTED_WHEN_EMPTY = ("Mounts", "Tmpfs", "Sysctls", "StorageOpt")


def check_types(body: Json) -> None:
    """Refuse what Go's JSON decoder refuses. Raises ``ApiError`` 500."""
    host = body.get("HostConfig") or {}
    rules = (
        *((body, name, "ContainerConfigWrapper", str) for name in _TEXT),
        *((host, name, "HostConfig.HostConfig", str) for name in _HOST_TEXT),
        *((host, name, "HostConfig.HostConfig", int) for name in _HOST_NUMBERS),
    )
    for part, name, where, kind in rules:
        _check(part.get(name), kind, f"{where}.{name}")
    for name in _HOST_LISTS:
        for value in host.get(name) or []:
            _check(value, str, f"HostConfig.HostConfig.{name}")
    for name in ("Env",):
        for value in body.get(name) or []:
            _check(value, str, f"ContainerConfigWrapper.{name}")
    for labels in (body.get("Labels") or {}).values():
        _check(labels, str, "ContainerConfigWrapper.Labels")


def _check(value: Any, kind: type, where: str) -> None:
    if value is None or (isinstance(value, kind) and not (kind is int and isinstance(value, bool))):
        return
    words = {str: "string", bool: "bool", int: "number", float: "number", list: "array", dict: "object"}
    wanted = "string" if kind is str else "int64"
    message = f"json: cannot unmarshal {words[type(value)]} into Go struct field {where} of type {wanted}"
    raise ApiError(500, message)


def container_config(body: Json, image: Json, container_id: str) -> Json:
    """``Config`` of inspect: the body over the configuration of the image."""
    config: Json = {name: body.get(name) or "" for name in ("Hostname", "Domainname", "User")}
    config["Hostname"] = config["Hostname"] or container_id[:12]
    config["User"] = config["User"] or image.get("User") or ""
    for name in ("AttachStdin", "AttachStdout", "AttachStderr"):
        config[name] = bool(body.get(name))
    if ports := {**(image.get("ExposedPorts") or {}), **(body.get("ExposedPorts") or {})}:
        config["ExposedPorts"] = dict(sorted(ports.items()))
    for name in ("Tty", "OpenStdin", "StdinOnce"):
        config[name] = bool(body.get(name))
    config["Env"] = _environment(body, image)
    command, entrypoint = _command(body, image)
    config["Cmd"] = command
    if health := _healthcheck(body.get("Healthcheck"), image.get("Healthcheck")):
        config["Healthcheck"] = health
    config["Image"] = body.get("Image", "")
    volumes = {**(image.get("Volumes") or {}), **(body.get("Volumes") or {})}
    config["Volumes"] = volumes or None
    config["WorkingDir"] = body.get("WorkingDir") or image.get("WorkingDir") or ""
    config["Entrypoint"] = entrypoint
    if body.get("MacAddress"):
        config["MacAddress"] = body["MacAddress"]
    config["OnBuild"] = None
    config["Labels"] = dict(sorted({**(image.get("Labels") or {}), **(body.get("Labels") or {})}.items()))
    if signal := body.get("StopSignal") or image.get("StopSignal"):
        config["StopSignal"] = signal
    if body.get("StopTimeout") is not None:
        config["StopTimeout"] = body["StopTimeout"]
    return config


def _environment(body: Json, image: Json) -> list[str]:
    own = list(body.get("Env") or [])
    names = {entry.partition("=")[0] for entry in own}
    return own + [entry for entry in image.get("Env") or [] if entry.partition("=")[0] not in names]


def _command(body: Json, image: Json) -> tuple[list[str] | None, list[str] | None]:
    """As the engine merges: the image's command only when neither is given; null and empty stay what they are."""
    command, entrypoint = _words(body.get("Cmd")), _words(body.get("Entrypoint"))
    if not entrypoint:
        if not command:
            command = image.get("Cmd")
        if entrypoint is None:
            entrypoint = image.get("Entrypoint")
    return command, entrypoint


def _words(value: Any) -> list[str] | None:
    if isinstance(value, str):
        return [value] if value else None
    return value if value is None else list(value)


def _healthcheck(own: Json | None, image: Json | None) -> Json:
    merged: Json = {}
    for name in ("Test", "Interval", "Timeout", "StartPeriod", "Retries"):
        value = (own or {}).get(name) or (image or {}).get(name)
        if value:
            merged[name] = value
    return merged


def host_config(given: Json | None) -> Json:
    """``HostConfig`` of inspect."""
    own = given or {}
    host: Json = {}
    for names, value in ((_NULL, None), (_EMPTY, ""), (_ZERO, 0), (_FALSE, False)):
        host |= dict.fromkeys(names.split(), value)
    host |= {
        "LogConfig": {"Type": "json-file", "Config": {}},
        "NetworkMode": "default",
        "RestartPolicy": {"Name": "", "MaximumRetryCount": 0},
        "CgroupnsMode": "host",
        "IpcMode": "private",
        "ShmSize": 67108864,
        "ConsoleSize": [0, 0],
        "Runtime": "runc",
        "MaskedPaths": [f"/proc/{name}" for name in _MASKED] + ["/sys/firmware"],
        "ReadonlyPaths": [f"/proc/{name}" for name in _READ_ONLY],
    }
    for name, value in own.items():
        if name in _OMITTED_WHEN_EMPTY and not value:
            continue
        if value is not None and not (value == "" and host.get(name)) and not (name == "ShmSize" and not value):
            host[name] = value
    _adjust(host)
    return host


def _adjust(host: Json) -> None:
    policy = host["RestartPolicy"]
    host["RestartPolicy"] = {"Name": policy.get("Name", ""), "MaximumRetryCount": policy.get("MaximumRetryCount", 0)}
    if not host["PidsLimit"]:
        host["PidsLimit"] = None
    if host["Memory"] and not host["MemorySwap"]:
        host["MemorySwap"] = 2 * host["Memory"]
    if host["LogConfig"].get("Type") == "":
        host["LogConfig"] = {"Type": "json-file", "Config": {}}
    if host["Privileged"]:
        host["MaskedPaths"] = host["ReadonlyPaths"] = None
    options = host["SecurityOpt"] or []
    open_to_host = host["Privileged"] or "host" in {host["PidMode"], host["IpcMode"]}
    if open_to_host and not any(option.startswith("label") for option in options):
        host["SecurityOpt"] = [*options, "label=disable"]
    for bindings in (host["PortBindings"] or {}).values():
        for binding in bindings or []:
            binding.setdefault("HostIp", "")
            binding["HostPort"] = str(binding.get("HostPort", ""))
