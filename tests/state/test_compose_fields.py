"""Every composition field that stands for itself: what it becomes, and what is said when it cannot be used."""

from __future__ import annotations

from typing import Any

import pytest

from balena_supervisor.model.image import ImageDetails
from balena_supervisor.state.compose_fields import FIELDS
from tests.state.composing import composed, config, problem

MIB = 1024 * 1024

# composition field, its value, field of the configuration, what it becomes
ROWS: list[tuple[str, Any, str, Any]] = [
    ("cap_add", ["SYS_ADMIN", "ALL"], "cap_add", ("SYS_ADMIN", "ALL")),
    ("cap_drop", ["CHOWN"], "cap_drop", ("CHOWN",)),
    ("cgroup_parent", "/x", "cgroup_parent", "/x"),
    ("command", "a && b", "command", ("a", "&&", "b")),
    ("command", ["a b", 1], "command", ("a b", "1")),
    ("entrypoint", "/init -x", "entrypoint", ("/init", "-x")),
    ("cpus", 0.5, "nano_cpus", 500_000_000),
    ("cpus", "1.5", "nano_cpus", 1_500_000_000),
    ("cpu_shares", 512, "cpu_shares", 512),
    ("cpu_shares", "200.00", "cpu_shares", 200),
    ("cpu_quota", "50000", "cpu_quota", 50000),
    ("cpu_quota", 10**30, "cpu_quota", 0),
    ("oom_score_adj", -500, "oom_score_adj", -500),
    ("oom_score_adj", "5.5", "oom_score_adj", 0),
    ("cpuset", "0,1", "cpuset", "0,1"),
    ("cpuset", 0, "cpuset", "0"),
    ("devices", ["/dev/a"], "devices", (("/dev/a", "/dev/a", "rwm"),)),
    ("devices", ["/dev/a:/dev/b"], "devices", (("/dev/a", "/dev/b", "rwm"),)),
    ("devices", ["/dev/a:/dev/b:r"], "devices", (("/dev/a", "/dev/b", "r"),)),
    ("dns", "8.8.8.8", "dns", ("8.8.8.8",)),
    ("dns", ["8.8.8.8", None, "1.1.1.1"], "dns", ("8.8.8.8", "1.1.1.1")),
    ("dns_search", "a.test", "dns_search", ("a.test",)),
    ("dns_opt", ["use-vc"], "dns_opt", ("use-vc",)),
    ("domainname", "example.test", "domainname", "example.test"),
    ("extra_hosts", ["a:1.2.3.4", "b=1.2.3.4", "c=::1=x"], "extra_hosts", ("a:1.2.3.4", "b:1.2.3.4", "c:::1=x")),
    ("group_add", ["audio", 29], "group_add", ("audio", "29")),
    ("hostname", "kiosk", "hostname", "kiosk"),
    ("init", True, "init", True),
    ("init", "false", "init", True),
    ("init", 0, "init", False),
    ("init", None, "init", None),
    ("ipc", "host", "ipc", "host"),
    ("ipc", "", "ipc", "shareable"),
    ("mac_address", "02:42:ac:11:65:43", "mac_address", "02:42:ac:11:65:43"),
    ("mem_limit", "256m", "memory_bytes", 256 * MIB),
    ("mem_limit", "1.5g", "memory_bytes", 0),
    ("mem_reservation", 1024, "memory_reservation_bytes", 1024),
    ("shm_size", "128Mb", "shm_size_bytes", 128 * MIB),
    ("shm_size", "lots", "shm_size_bytes", 64 * MIB),
    ("shm_size", 0, "shm_size_bytes", 64 * MIB),
    ("oom_kill_disable", 1, "oom_kill_disable", True),
    ("oom_kill_disable", "", "oom_kill_disable", False),
    ("read_only", "false", "read_only", True),
    ("read_only", False, "read_only", False),
    ("pid", "host", "pid", "host"),
    ("pids_limit", 100, "pids_limit", 100),
    ("pids_limit", "100", "pids_limit", 100),
    ("pids_limit", -1, "pids_limit", 0),
    ("privileged", True, "privileged", True),
    ("privileged", "false", "privileged", False),
    ("privileged", "certainly", "privileged", False),
    ("restart", " Unless-Stopped ", "restart", "unless-stopped"),
    ("restart", "no", "restart", "no"),
    ("restart", "on-failure:5", "restart", "always"),
    ("restart", 5, "restart", "always"),
    ("security_opt", ["no-new-privileges", "label=disable"], "security_opt", ("no-new-privileges",)),
    ("stop_grace_period", "1m30s", "stop_grace_period_s", 90),
    ("stop_grace_period", "1.9s", "stop_grace_period_s", 1),
    ("stop_grace_period", "10ms", "stop_grace_period_s", 1),
    ("stop_grace_period", 5000, "stop_grace_period_s", 5),
    ("stop_signal", "SIGINT", "stop_signal", "SIGINT"),
    ("stop_signal", 9, "stop_signal", "9"),
    ("sysctls", {"net.core.somaxconn": 1024}, "sysctls", {"net.core.somaxconn": "1024"}),
    ("sysctls", ["a=b=c"], "sysctls", {"a": "b=c"}),
    ("tmpfs", "/run", "tmpfs", {"/run": ""}),
    ("tmpfs", ["/run:size=1m,mode=700", "/tmp"], "tmpfs", {"/run": "size=1m,mode=700", "/tmp": ""}),
    ("tty", False, "tty", False),
    ("tty", None, "tty", True),
    ("ulimits", {"nproc": 5, "core": "6"}, "ulimits", {"nproc": (5, 5), "core": (6, 6)}),
    ("ulimits", {"nofile": {"soft": "1", "hard": 2}, "x": None}, "ulimits", {"nofile": (1, 2)}),
    ("user", "node", "user", "node"),
    ("user", 1000, "user", "1000"),
    ("userns_mode", "host", "userns_mode", "host"),
    ("working_dir", "/srv/", "working_dir", "/srv"),
    ("working_dir", "/", "working_dir", "/"),
    ("working_dir", "//a/./b/../c//", "working_dir", "/a/c"),
    ("working_dir", "srv/", "working_dir", "srv"),
]


def test_every_field_has_a_row() -> None:
    assert {name for name, _, _, _ in ROWS} >= FIELDS.keys() - {"ports"}, "ports have a module of their own"


@pytest.mark.parametrize(("name", "value", "field", "expected"), ROWS)
def test_a_field_becomes_part_of_the_configuration(name: str, value: Any, field: str, expected: Any) -> None:
    assert getattr(config({name: value}), field) == expected


DEFAULTS: list[tuple[str, Any]] = [
    ("tty", True),
    ("ipc", "shareable"),
    ("shm_size_bytes", 64 * MIB),
    ("stop_grace_period_s", 10),
    ("stop_signal", "SIGTERM"),
    ("restart", "always"),
    ("init", None),
    ("command", ()),
    ("entrypoint", ()),
    ("hostname", ""),
    ("mounts", ()),
    ("privileged", False),
]


@pytest.mark.parametrize(("field", "expected"), DEFAULTS)
def test_a_field_that_is_not_given_has_its_default(field: str, expected: Any) -> None:
    assert getattr(config({}), field) == expected


@pytest.mark.parametrize("name", sorted({name for name, _, _, _ in ROWS}))
def test_null_means_absent(name: str) -> None:
    assert config({name: None}) == config({})


@pytest.mark.parametrize(
    ("snake", "camel", "value"),
    [
        ("mem_limit", "memLimit", "1m"),
        ("stop_grace_period", "stopGracePeriod", "5s"),
        ("dns_opt", "dnsOpt", ["x"]),
        ("network_mode", "networkMode", "host"),
        ("oom_score_adj", "oomScoreAdj", 5),
    ],
)
def test_both_spellings_of_a_field_mean_the_same(snake: str, camel: str, value: Any) -> None:
    assert config({camel: value}) == config({snake: value}) != config({})


def test_one_warning_names_every_field_that_is_not_supported() -> None:
    service = composed({"build": ".", "container_name": "x", "expose": [80], "storage_opt": {}, "x-note": 1, "tty": 1})
    assert service.warnings == (
        "fields that are not supported are left out: build, containerName, expose, storageOpt, x-note",
    )


def test_image_and_running_of_a_composition_are_ignored_without_a_word() -> None:
    service = composed({"image": "other", "running": False})
    assert (service.image_name, service.running, service.warnings) == ("acme/web:latest", True, ())


@pytest.mark.parametrize(
    ("composition", "path"),
    [
        ({"cpus": "many"}, "cpus"),
        ({"cpus": True}, "cpus"),
        ({"cpu_shares": "x"}, "cpu_shares"),
        ({"pids_limit": 1.5}, "pids_limit"),
        ({"restart": 5}, "restart"),
        ({"privileged": "certainly"}, "privileged"),
        ({"security_opt": ["label=disable"]}, "security_opt"),
        ({"ulimits": {"core": "x"}}, "ulimits.core"),
        ({"sysctls": ["x"]}, "sysctls.0"),
        ({"environment": {"a=b": "c"}}, "environment"),
        ({"environment": ["A"]}, "environment.0"),
        ({"healthcheck": {"retries": -1}}, "healthcheck.retries"),
    ],
)
def test_what_is_left_out_is_said_once(composition: dict[str, Any], path: str) -> None:
    warnings = composed(composition).warnings
    assert [warning.partition(": ")[0] for warning in warnings] == [path]


@pytest.mark.parametrize(
    ("composition", "path"),
    [
        ({"cap_add": "SYS_ADMIN"}, "cap_add"),
        ({"devices": {}}, "devices"),
        ({"devices": ["/a:/b:r:x"]}, "devices.0"),
        ({"devices": [":/b"]}, "devices.0"),
        ({"dns": 5}, "dns"),
        ({"dns_opt": "use-vc"}, "dns_opt"),
        ({"extra_hosts": {"a": "b"}}, "extra_hosts"),
        ({"group_add": "audio"}, "group_add"),
        ({"security_opt": "x"}, "security_opt"),
        ({"tmpfs": {"a": "b"}}, "tmpfs"),
        ({"user": ["x"]}, "user"),
        ({"stop_grace_period": "10"}, "stop_grace_period"),
        ({"ulimits": 5}, "ulimits"),
        ({"sysctls": "a=b"}, "sysctls"),
        ({"labels": "a=b"}, "labels"),
        ({"environment": "a=b"}, "environment"),
        ({"depends_on": "db"}, "depends_on"),
        ({"depends_on": {"db": "service_healthy"}}, "depends_on.db"),
        ({"depends_on": {"db": {"condition": "service_fine"}}}, "depends_on.db.condition"),
        ({"depends_on": {"db": {"condition": ["service_started"]}}}, "depends_on.db.condition"),
        ({"command": {}}, "command"),
        ({"volumes": {}}, "volumes"),
        ({"volumes": [5]}, "volumes.0"),
        ({"ports": "80:80"}, "ports"),
        ({"ports": ["80", "abc"]}, "ports.1"),
        ({"healthcheck": []}, "healthcheck"),
    ],
)
def test_what_makes_no_sense_stops_the_app_and_is_named(composition: dict[str, Any], path: str) -> None:
    said = problem(composition)
    assert said.startswith(f"cannot build service web of app acme (4711): {path}: expected ")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["db", "cache"], {"db": "service_started", "cache": "service_started"}),
        ({"db": {"condition": "service_healthy", "restart": True}}, {"db": "service_healthy"}),
        (
            {"db": {"condition": "service_completed_successfully"}, "cache": {}, "web": None},
            {"db": "service_completed_successfully", "cache": "service_started", "web": "service_started"},
        ),
        ([], {}),
        ({}, {}),
        (None, {}),
    ],
)
def test_dependencies_are_a_list_or_a_mapping_to_conditions(value: Any, expected: dict[str, str]) -> None:
    assert composed({"depends_on": value}).depends_on == expected


def test_the_image_fills_what_the_composition_leaves_open() -> None:
    image = ImageDetails(
        id="sha256:1", command=("serve",), entrypoint=("/init",), user="node", working_dir="/srv/", stop_signal="SIGINT"
    )
    taken, given = config(around={"image": image}), {"command": "x", "user": "root", "working_dir": "/"}
    assert (taken.command, taken.entrypoint, taken.user) == (("serve",), ("/init",), "node")
    assert (taken.working_dir, taken.stop_signal, taken.image) == ("/srv", "SIGINT", "sha256:1")
    own = config(given, around={"image": image})
    assert (own.command, own.entrypoint, own.user, own.working_dir) == (("x",), ("/init",), "root", "/")


@pytest.mark.parametrize(
    ("composition", "command", "entrypoint"),
    [
        ({"command": []}, (), ("/init",)),
        ({"entrypoint": []}, ("serve",), ()),
        ({"entrypoint": "", "command": ""}, ("serve",), ()),
        ({"entrypoint": "/x", "command": ""}, (), ("/x",)),
    ],
)
def test_an_empty_command_is_the_image_command_only_where_the_engine_would_put_it(
    composition: dict[str, Any], command: tuple[str, ...], entrypoint: tuple[str, ...]
) -> None:
    image = ImageDetails(id="sha256:1", command=("serve",), entrypoint=("/init",))
    made = config(composition, around={"image": image})
    assert (made.command, made.entrypoint) == (command, entrypoint)
