"""Strategies for whole services, networks and volumes as people write them in compose files."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import strategies as st

#: anything that JSON and the engine can hold in a text, with the characters that separate things elsewhere
_ODD = st.text(st.sampled_from("aZ09 =:,;#'\"\\$\n\t/{}[]<>&|%éß漢🐳\u200b\u00a0"), max_size=12)
_WORD = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)
_NAME = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,10}", fullmatch=True)
_LABEL = st.text(st.sampled_from("abzAZ019.-_/:@+~!#$%^&*()=[]{}|;<>,?"), min_size=1, max_size=14)
_PATH = st.lists(st.from_regex(r"[A-Za-z0-9_.-]{1,8}", fullmatch=True), min_size=1, max_size=3).map(
    lambda parts: "/x/" + "/".join(part.strip(".") or "p" for part in parts)
)
_BOOLEANS = st.sampled_from([True, False, "true", "false", "", 0, 1, None])
_DURATION = st.sampled_from(["1s", "1.5s", "90s", "1m30s", "1h 5m", "100ms", "0", 1500, "2m"])
_SIZE = st.sampled_from([67108864, "64m", "64Mb", "65536k", "1g", "100000000b", "8M"])
_IPV4 = st.builds("10.{}.{}.{}".format, *[st.integers(1, 250)] * 3)
_DNS = st.one_of(_IPV4, st.sampled_from(["2001:4860:4860::8888", "::1"]))


def _few(of: st.SearchStrategy[Any], most: int = 3) -> st.SearchStrategy[list[Any]]:
    return st.lists(of, max_size=most, unique_by=repr)


def _numbers(low: int, high: int) -> st.SearchStrategy[Any]:
    return st.integers(low, high).flatmap(lambda number: st.sampled_from([number, str(number), f"{number}.0"]))


@st.composite
def _ports(draw: st.DrawFn) -> list[Any]:
    found: list[Any] = []
    for _ in range(draw(st.integers(0, 3))):
        inside, outside = draw(st.integers(1, 65000)), draw(st.integers(1, 65000))
        many = draw(st.integers(0, 3))
        protocol = draw(st.sampled_from(["", "/tcp", "/udp"]))
        ip = draw(st.sampled_from(["", "", "127.0.0.1:", "0.0.0.0:", "::1:", ":::"]))
        form = draw(st.integers(0, 3))
        if form == 0:
            found.append(draw(st.sampled_from([inside, str(inside), f"{inside}{protocol}"])))
        elif form == 1:
            found.append({"target": inside, "published": outside, "protocol": protocol.strip("/") or "tcp"})
        else:
            found.append(f"{ip}{outside}-{outside + many}:{inside}-{inside + many}{protocol}")
    return found


_devices = _few(
    st.builds(
        lambda host, inside, how: ":".join(part for part in (host, inside, how if inside else "") if part),
        st.sampled_from(["/dev/null", "/dev/zero", "/dev/full", "/dev/random"]),
        st.sampled_from(["", "/dev/one", "/dev/two"]),
        st.sampled_from(["", "r", "rw", "rwm", "m"]),
    )
)

_healthchecks = st.fixed_dictionaries(
    {},
    optional={
        "test": st.one_of(_ODD, st.lists(_ODD, min_size=1, max_size=3).map(lambda words: ["CMD", *words]), st.none()),
        "interval": _DURATION,
        "timeout": _DURATION,
        "start_period": _DURATION,
        "retries": _numbers(0, 9),
        "disable": st.sampled_from([True, False, None]),
    },
)

_ulimits = st.dictionaries(
    st.sampled_from(["nofile", "nproc", "core", "memlock", "stack", "rtprio"]),
    st.one_of(
        _numbers(0, 65535),
        st.integers(0, 1000).map(lambda soft: {"soft": soft, "hard": soft + 10}),
        st.just({"soft": "5", "hard": "6"}),
    ),
    max_size=3,
)

_sysctls = st.dictionaries(
    st.sampled_from(["net.ipv4.ip_forward", "net.ipv4.conf.all.forwarding", "net.core.somaxconn", "kernel.msgmax"]),
    st.sampled_from([0, 1, "1", "128"]),
    max_size=2,
).flatmap(lambda of: st.sampled_from([of, [f"{name}={value}" for name, value in of.items()]]))


@st.composite
def _volumes(draw: st.DrawFn) -> list[Any]:
    """Each target once: the engine refuses two things in one place."""
    found: list[Any] = []
    for target in draw(_few(_PATH, 4)):
        source = draw(st.sampled_from(["data", "logs", "d.at-a_1"]))
        found.append(
            draw(
                st.sampled_from(
                    [
                        target,
                        f"{source}:{target}",
                        f" {source} : {target} : ro",
                        f"{source}:{target}:rw",
                        f"{source}:{target}:nocopy",
                        f"/etc:{target}",
                        {"type": "volume", "source": source, "target": target},
                        {"type": "volume", "source": source, "target": target, "read_only": True},
                        {"type": "volume", "target": target},
                        {"type": "volume", "source": source, "target": target, "volume": {"nocopy": True}},
                        {"type": "volume", "source": source, "target": target, "readOnly": False, "consistency": "x"},
                        {"type": "tmpfs", "target": target, "tmpfs": {"size": 1048576}},
                        {"type": "tmpfs", "target": target},
                        {"type": "bind", "source": "/etc", "target": target},
                    ]
                )
            )
        )
    return found


_tmpfs = st.one_of(
    _PATH.map(lambda path: path.replace("/x/", "/t/", 1)),
    _few(_PATH.map(lambda path: path.replace("/x/", "/t/", 1)), 2).map(
        lambda paths: [f"{path}{('', ':size=1m', ':size=64k,mode=1777')[n % 3]}" for n, path in enumerate(paths)]
    ),
)

_environment = st.one_of(
    st.dictionaries(_NAME, st.one_of(_ODD, st.integers(-5, 5), st.booleans(), st.floats(0, 5), st.none()), max_size=5),
    st.lists(st.builds("{}={}".format, _NAME, _ODD), max_size=3),
)
_labels = st.one_of(
    st.dictionaries(_LABEL, st.one_of(_ODD, st.integers(-5, 5), st.booleans()), max_size=4),
    st.lists(st.builds("{}={}".format, _WORD, _ODD), max_size=3),
    st.sampled_from([{"io.resin.features.procfs": "1"}, {"io.balena.legacy": "1", "io.resin.legacy": "2"}]),
)
_COMMANDS = st.one_of(
    st.lists(_ODD, max_size=4), st.sampled_from(["", "/bin/busybox sh -c 'echo $A && sleep 1'", "a > b 2>&1 # c"]), _ODD
)

#: what the engine of the tests takes together; each field by itself stands in ``test_round_trip``
_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "cap_add": _few(st.sampled_from(["SYS_ADMIN", "CAP_NET_RAW", "net_admin", "ALL", "sys_time"])),
    "cap_drop": _few(st.sampled_from(["CHOWN", "KILL", "cap_mknod", "ALL"])),
    "cgroup_parent": st.sampled_from(["", "/round-trip", "round/trip"]),
    "command": _COMMANDS,
    "entrypoint": _COMMANDS,
    "cpus": st.sampled_from([0, 0.5, "1.25", "0.001", 1, "x"]),
    "cpu_shares": _numbers(0, 4096),
    "oom_score_adj": _numbers(-1000, 1000),
    "cpuset": st.sampled_from(["", "0", "0-1", 0, "0,1"]),
    "devices": _devices,
    "dns": st.one_of(_DNS, _few(_DNS)),
    "dns_search": st.one_of(_WORD, _few(_WORD)),
    "dns_opt": _few(st.sampled_from(["use-vc", "ndots:3", "timeout:1"])),
    "domainname": st.sampled_from(["", "example.test", "a-b.c"]),
    "environment": _environment,
    "expose": st.just([80, "81/udp"]),
    "extra_hosts": _few(st.builds("{}{}{}".format, _WORD, st.sampled_from(":="), _IPV4)),
    "group_add": _few(st.one_of(_WORD, st.integers(0, 99))),
    "healthcheck": _healthchecks,
    "hostname": st.one_of(_WORD, st.just("")),
    "init": _BOOLEANS,
    "ipc": st.sampled_from(["", "private", "shareable", "host", "none"]),
    "labels": _labels,
    "mac_address": st.sampled_from(["", "02:42:ac:11:65:43", "02:42:AC:11:65:44"]),
    "mem_limit": _SIZE,
    "mem_reservation": st.sampled_from(["7m", 6 * 1024**2 + 1, 0, "x"]),
    "shm_size": _SIZE,
    "oom_kill_disable": _BOOLEANS,
    "read_only": _BOOLEANS,
    "pid": st.sampled_from(["", "host"]),
    "pids_limit": st.sampled_from([0, -1, 100, "50"]),
    "ports": _ports(),
    "privileged": st.sampled_from([True, False, "false", None]),
    "restart": st.sampled_from(["no", "always", " On-Failure ", "unless-stopped", "on-failure:5", "x", None, 5]),
    "security_opt": _few(st.sampled_from(["no-new-privileges", "seccomp=unconfined", "label=disable"])),
    "stop_grace_period": _DURATION,
    "stop_signal": st.sampled_from(["SIGTERM", "SIGUSR1", 9, "15", "RTMIN+3"]),
    "storage_opt": st.just({"size": "1g"}),
    "sysctls": _sysctls,
    "tmpfs": _tmpfs,
    "tty": _BOOLEANS,
    "ulimits": _ulimits,
    "user": st.sampled_from(["", "0", 1000, "1000:1000", "nobody", "a:b"]),
    "userns_mode": st.sampled_from(["", "host"]),
    "volumes": _volumes(),
    "working_dir": st.sampled_from(["", "/", "/srv/app/", "//a/./b/../c", "/é 漢"]),
    "x-own": st.just({"a": 1}),
}

_settings = st.fixed_dictionaries(
    {}, optional={"aliases": st.lists(_WORD, max_size=2), "priority": st.integers(0, 9), "link_local_ips": st.just([])}
)


@st.composite
def networking(draw: st.DrawFn) -> dict[str, Any]:
    """``networks`` and ``network_mode``; ``SUBNET`` stands for the subnet of network ``front``."""
    mode = draw(st.sampled_from([None] * 5 + ["default", "back", "host", "none", "bridge", "front"]))
    names = draw(st.lists(st.sampled_from(["front", "back", "default"]), max_size=3, unique=True))
    if draw(st.booleans()):
        networks: Any = {name: draw(st.one_of(st.none(), _settings)) for name in names}
        if "front" in networks and draw(st.booleans()):
            networks["front"] = {**(networks["front"] or {}), "ipv4_address": f"SUBNET.{draw(st.integers(10, 200))}"}
    else:
        networks = names
    return {"networks": networks, **({"network_mode": mode} if mode else {})}


@st.composite
def compositions(draw: st.DrawFn) -> dict[str, Any]:
    """A composition with many fields at once, in any order."""
    number = draw(st.integers(0, 30))
    fields = draw(st.lists(st.sampled_from(list(_FIELDS)), unique=True, min_size=number, max_size=number))
    net = draw(networking())
    if net.get("network_mode") == "host":
        fields = [name for name in fields if name != "mac_address"]  # the engine refuses both together
    return {_spelling(name, draw(st.integers(0, 4))): draw(_FIELDS[name]) for name in fields} | net


def _spelling(name: str, which: int) -> str:
    """Both spellings work; camel case is the rarer one."""
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest) if which == 0 else name


feature_labels = st.dictionaries(
    st.sampled_from(
        [
            *("dbus", "kernel-modules", "firmware", "balena-socket", "balena-api", "supervisor-api", "sysfs", "procfs"),
            *("gpu", "host-os.board-rev", "journal-logs"),
        ]
    ).map(lambda name: f"io.balena.features.{name}"),
    st.sampled_from(["1", "true", "0", "on"]),
    max_size=3,
)
own_labels = st.dictionaries(_LABEL, _ODD, max_size=3)
own_environment = st.dictionaries(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,9}", fullmatch=True), _ODD, max_size=3)


@st.composite
def network_definitions(draw: st.DrawFn) -> dict[str, Any]:
    """``SUBNET2`` stands for a free subnet."""
    pools: st.SearchStrategy[Any] = st.sampled_from(
        [
            [],
            None,
            [{}],
            [{"subnet": "SUBNET2.0/24"}],
            [{"subnet": "SUBNET2.0/24", "gateway": "SUBNET2.1", "ip_range": "SUBNET2.128/25"}],
            [{"subnet": "SUBNET2.0/25", "gateway": "SUBNET2.7", "aux_addresses": {"printer": "SUBNET2.9"}}],
        ]
    )
    ipam = st.fixed_dictionaries(
        {},
        optional={
            "driver": st.sampled_from(["default", None]),
            "config": pools,
            "options": st.sampled_from([None, {}, {"foo": 5}, {"a": "b=c"}]),
        },
    )
    fields = {
        "driver": st.sampled_from(["bridge", None]),
        "driver_opts": st.sampled_from(
            [{}, None, {"com.docker.network.bridge.enable_icc": False}, {"com.docker.network.driver.mtu": 1400}]
        ),
        "ipam": ipam,
        "internal": _BOOLEANS,
        "labels": _labels,
        "attachable": st.just(True),
    }
    return draw(st.fixed_dictionaries({}, optional=fields))


volume_definitions = st.fixed_dictionaries(
    {},
    optional={
        "driver": st.sampled_from(["local", None]),
        "driver_opts": st.sampled_from([None, {}, {"type": "tmpfs", "device": "tmpfs", "o": "size=1m,uid=1000"}]),
        "labels": _labels,
        "external": st.just(True),
    },
)


#: fields with which a busybox runs on any engine, this machine's included
_RUNNING_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    **{
        name: _FIELDS[name]
        for name in (
            *("cpuset", "devices", "dns", "dns_search", "dns_opt", "domainname", "environment"),
            *("expose", "extra_hosts", "hostname", "labels", "mem_limit", "shm_size", "read_only"),
            *("restart", "stop_grace_period", "storage_opt", "tmpfs", "tty", "volumes", "working_dir"),
        )
    },
    "cap_add": _few(st.sampled_from(["CAP_NET_RAW", "net_admin", "SYS_TIME"])),
    "cap_drop": _few(st.sampled_from(["KILL", "cap_mknod"])),
    "cpu_shares": _numbers(2, 4096),
    "cpus": st.sampled_from([0.5, "1.25", "x"]),
    "group_add": _few(st.integers(0, 99)),
    "healthcheck": st.just({"test": "/bin/busybox true", "interval": "1h"}),
    "init": st.just(False),
    "ipc": st.sampled_from(["private", "shareable", "none"]),
    "mem_limit": st.sampled_from(["64m", 67108864]),
    "pids_limit": st.sampled_from([0, -1, 100]),
    "ports": _few(st.builds("127.0.0.1:0:{}{}".format, st.integers(1, 999), st.sampled_from(["", "/udp"]))),
    "security_opt": st.just(["no-new-privileges", "label=disable"]),
    "stop_signal": st.sampled_from(["SIGTERM", "15", 9]),  # any other is ignored for the whole grace period
    "sysctls": st.just({"net.ipv4.ip_forward": 1}),
    "ulimits": st.sampled_from([{"nofile": 900}, {"nofile": {"soft": "800", "hard": 900}, "core": 0}]),
    "user": st.sampled_from(["0", 0, ""]),
}


@st.composite
def apps(draw: st.DrawFn) -> dict[str, Any]:
    """``services``, ``networks`` and ``volumes`` of an app that runs; images are still to be added."""
    services: dict[str, Any] = {}
    for name in draw(st.lists(st.sampled_from(["web", "db", "job", "c"]), min_size=1, max_size=3, unique=True)):
        number = draw(st.integers(0, 20))
        fields = draw(st.lists(st.sampled_from(list(_RUNNING_FIELDS)), unique=True, min_size=number, max_size=number))
        names = draw(st.lists(st.sampled_from(["front", "back"]), max_size=2, unique=True))
        networks = {network: {"aliases": draw(st.lists(_WORD, max_size=2))} for network in names}
        before = list(services)
        made = {field: draw(_RUNNING_FIELDS[field]) for field in fields}
        # the fields of the service itself take texts only
        made["environment"] = draw(own_environment)
        made["labels"] = draw(own_labels)
        services[name] = made | {
            "networks": networks,
            "depends_on": draw(_few(st.sampled_from(before), 2)) if before else [],
        }
    definitions: dict[str, Any] = {
        "front": {"labels": draw(own_labels)},
        "back": {"internal": draw(st.booleans()), "driver_opts": {"a": "b", "c": 1}},
    }
    volumes = {name: {"labels": draw(own_labels)} for name in ("data", "logs", "d.at-a_1")}
    return {"services": services, "networks": definitions, "volumes": volumes}


_UNORDERED = frozenset(
    {"cap_add", "cap_drop", "devices", "dns_opt", "extra_hosts", "group_add", "ports", "security_opt", "volumes"}
)


def reordered(value: Any, random: Random, name: str = "") -> Any:
    """The same, with keys and entries in another order where it means nothing. The first network is the main one."""
    if isinstance(value, dict):
        items = [(key, reordered(entry, random, key)) for key, entry in value.items()]
        if name != "networks":
            random.shuffle(items)
        return dict(items)
    if isinstance(value, list) and name in _UNORDERED:
        return random.sample(value, len(value))
    return value
