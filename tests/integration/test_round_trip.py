"""Whatever a composition may say is sent to a real engine and reads back equal (spec target-state 18, trap 6)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from balena_supervisor.state.compare import differences, network_differences, same_release, volume_differences
from balena_supervisor.state.networks import supervisor_network_ready
from tests.integration.round_trip_engine import RoundTrip, round_trip

pytestmark = pytest.mark.engine

Composition = dict[str, Any]


@pytest.fixture(scope="module")
def trip() -> Iterator[RoundTrip]:
    with round_trip() as made:
        yield made


# The field of ServiceConfig, and a composition that sets it. "" where the composition must come out as the default.
FIELDS: list[tuple[str, Composition]] = [
    ("", {}),
    ("cap_add", {"cap_add": ["SYS_ADMIN", "CAP_NET_RAW", "net_admin"]}),
    ("cap_add", {"cap_add": ["ALL"]}),
    ("cap_drop", {"cap_drop": ["CHOWN", "ALL"]}),
    ("cgroup_parent", {"cgroup_parent": "/round-trip"}),
    ("command", {"command": "/bin/busybox sh -c 'echo $A && sleep 1'"}),
    ("command", {"command": ["/bin/busybox", "true"]}),
    ("", {"command": []}),
    ("", {"command": ""}),
    ("entrypoint", {"entrypoint": "/bin/busybox nice"}),
    ("entrypoint", {"entrypoint": ["/bin/busybox"], "command": ["/bin/busybox", "sleep", "1000"]}),
    ("nano_cpus", {"cpus": 0.5}),
    ("nano_cpus", {"cpus": "1.25"}),
    ("cpu_shares", {"cpu_shares": "200.00"}),
    ("cpu_quota", {"cpu_quota": 50000}),
    ("oom_score_adj", {"oom_score_adj": -500}),
    ("cpuset", {"cpuset": "0"}),
    ("cpuset", {"cpuset": 0}),
    ("devices", {"devices": ["/dev/null", "/dev/zero:/dev/one", "/dev/full:/dev/two:r"]}),
    ("dns", {"dns": "8.8.8.8"}),
    ("dns", {"dns": ["8.8.8.8", "2001:4860:4860::8888"]}),
    ("dns_search", {"dns_search": ["b.test", "a.test"]}),
    ("dns_opt", {"dns_opt": ["use-vc", "ndots:3"]}),
    ("domainname", {"domainname": "example.test"}),
    ("environment", {"environment": {"A": "b=c\nd", "EMPTY": "", "NUMBER": 1.5, "YES": True, "UNSET": None}}),
    ("environment", {"environment": ["A=b", "C=d=e"]}),
    ("environment", {"environment": {"ok": "x", "a=b": "c", "": "d"}}),
    ("", {"environment": {"RESIN_DEVICE_NAME_AT_INIT": "other"}}),
    ("", {"expose": [80, "81/udp"]}),
    ("extra_hosts", {"extra_hosts": ["a:10.0.0.1", "b=10.0.0.2"]}),
    ("group_add", {"group_add": ["audio", 29]}),
    ("healthcheck", {"healthcheck": {"test": "true", "interval": "90s", "start_period": "1m", "retries": 3}}),
    ("healthcheck", {"healthcheck": {"test": ["CMD", "/bin/busybox", "true"], "timeout": "1.5s"}}),
    ("healthcheck", {"healthcheck": {"interval": "5s"}}),
    ("", {"healthcheck": {"disable": True, "test": "true"}}),
    ("hostname", {"hostname": "host-a.example.test"}),
    ("init", {"init": True}),
    ("init", {"init": False}),
    ("ipc", {"ipc": "private"}),
    ("ipc", {"ipc": "host"}),
    ("labels", {"labels": {"a": "b", "io.resin.features.foo": "1", "number": 5}}),
    ("labels", {"labels": ["a=b=c", "bare"]}),
    ("mac_address", {"mac_address": "02:42:AC:11:65:43"}),
    ("memory_bytes", {"mem_limit": "64m"}),
    ("memory_bytes", {"mem_limit": 67108864}),
    ("memory_reservation_bytes", {"mem_reservation": "32Mb"}),
    ("shm_size_bytes", {"shm_size": "128m"}),
    ("", {"shm_size": 0}),
    ("oom_kill_disable", {"oom_kill_disable": True}),
    ("read_only", {"read_only": "false"}),
    ("pid", {"pid": "host"}),
    ("pids_limit", {"pids_limit": 100}),
    ("", {"pids_limit": -1}),
    ("ports", {"ports": ["8000-8001:80-81", "127.0.0.1:5353:53/udp", "9000-9001:80-81", 443]}),
    ("ports", {"ports": ["80"]}),
    ("ports", {"ports": [{"target": 80, "published": "8080", "protocol": "udp", "host_ip": "127.0.0.1"}]}),
    ("ports", {"ports": ["::1:8081:81"]}),
    ("privileged", {"privileged": True}),
    ("restart", {"restart": "no"}),
    ("restart", {"restart": " On-Failure "}),
    ("restart", {"restart": "unless-stopped"}),
    ("", {"restart": "on-failure:5"}),
    ("security_opt", {"security_opt": ["no-new-privileges", "seccomp=unconfined", "label=disable"]}),
    ("stop_grace_period_s", {"stop_grace_period": "1m30s"}),
    ("stop_grace_period_s", {"stop_grace_period": "500ms"}),
    ("stop_grace_period_s", {"stop_grace_period": "0"}),
    ("stop_signal", {"stop_signal": "SIGUSR1"}),
    ("stop_signal", {"stop_signal": 9}),
    ("", {"storage_opt": {"size": "1g"}}),
    ("sysctls", {"sysctls": {"net.ipv4.ip_forward": 1}}),
    ("sysctls", {"sysctls": ["net.ipv4.ip_local_port_range=1024 65000"]}),
    ("tmpfs", {"tmpfs": "/scratch"}),
    ("tmpfs", {"tmpfs": ["/scratch:size=1m,mode=1777", "/other"]}),
    ("tty", {"tty": False}),
    ("ulimits", {"ulimits": {"nproc": 65535, "nofile": {"soft": "1000", "hard": 2000}, "core": "x"}}),
    ("user", {"user": "1000:1000"}),
    ("user", {"user": 1000}),
    ("userns_mode", {"userns_mode": "host"}),
    ("volumes", {"volumes": ["data:/data", "logs:/logs:ro", "/anonymous"]}),
    ("volumes", {"volumes": [" data : /data "]}),
    ("", {"volumes": ["/etc:/host/etc", {"type": "bind", "source": "/etc", "target": "/x"}]}),
    ("mounts", {"volumes": [{"type": "volume", "source": "data", "target": "/data", "volume": {"nocopy": True}}]}),
    ("mounts", {"volumes": [{"type": "volume", "source": "data", "target": "/data", "read_only": True}]}),
    ("mounts", {"volumes": [{"type": "volume", "target": "/data", "readOnly": False, "consistency": "cached"}]}),
    ("mounts", {"volumes": [{"type": "tmpfs", "target": "/scratch", "tmpfs": {"size": 1048576}}]}),
    ("mounts", {"volumes": [{"type": "tmpfs", "target": "/scratch", "tmpfs": {"size": 0}}]}),
    ("working_dir", {"working_dir": "/srv/app/"}),
    ("working_dir", {"working_dir": "//srv/./x/../app"}),
    ("working_dir", {"working_dir": "/"}),
]

FEATURES = [
    "journal-logs",
    "dbus",
    "kernel-modules",
    "firmware",
    "balena-socket",
    "balena-api",
    "supervisor-api",
    "sysfs",
    "procfs",
    "gpu",
    "host-os.board-rev",
    "extra-firmware",
]


@pytest.mark.parametrize(("field", "composition"), FIELDS, ids=lambda value: str(value)[:60])
def test_a_field_reads_back_as_it_was_sent(trip: RoundTrip, field: str, composition: Composition) -> None:
    service = trip.compose(composition)
    container = trip.create(service)

    assert differences(container, service, {}) == ()
    without = trip.compose({}, service_name=service.service_name)
    assert set(differences(container, without, {})) == ({field} if field else set())


@pytest.mark.parametrize("feature", FEATURES)
def test_a_feature_reads_back_as_it_was_sent(trip: RoundTrip, feature: str) -> None:
    service = trip.compose({}, labels={f"io.balena.features.{feature}": "1"})
    container = trip.create(service)

    assert differences(container, service, {}) == ()
    assert service.config.labels[f"io.balena.features.{feature}"] == "1"
    assert differences(container, trip.compose({}, service_name=service.service_name), {})


EVERYTHING: Composition = {
    "cap_add": ["NET_ADMIN"],
    "command": "sleep 5",
    "cpus": 0.5,
    "devices": ["/dev/zero:/dev/one", "/dev/null"],
    "dns": ["8.8.8.8"],
    "environment": {"MODE": "user", "resin": "1"},
    "extra_hosts": ["a=10.0.0.1"],
    "group_add": [29, 30],
    "healthcheck": {"interval": "1m"},
    "init": True,
    "labels": {"io.resin.twice": "user", "vendor": "me"},
    "mem_limit": "64m",
    "networks": {"front": {"aliases": ["www"]}, "back": None},
    "ports": ["8080:80"],
    "restart": "unless-stopped",
    "security_opt": ["no-new-privileges"],
    "stop_grace_period": "3s",
    "sysctls": {"net.ipv4.ip_forward": "1"},
    "tmpfs": ["/scratch:size=1m"],
    "ulimits": {"nofile": 1000},
    "volumes": ["data:/data", {"type": "tmpfs", "target": "/fast"}, "/cache"],
}

IMAGE_OVERLAYS: list[Composition] = [
    {},
    EVERYTHING,
    {"command": "nice"},
    {"command": []},
    {"entrypoint": "/bin/busybox sh"},
    {"entrypoint": [], "command": "/bin/busybox true"},
    {"entrypoint": [], "command": []},
    {"healthcheck": {"disable": True}},
    {"healthcheck": {"interval": "0", "retries": 0, "timeout": "1m"}},
    {"healthcheck": {"test": ["NONE"]}},
    {"user": "0", "working_dir": "/", "stop_signal": "SIGTERM"},
    {"environment": {"MODE": "", "BALENA_DEVICE_NAME_AT_INIT": "mine"}},
    {"labels": {"io.balena.features.procfs": "0"}},
]


@pytest.mark.parametrize("composition", IMAGE_OVERLAYS, ids=str)
def test_values_of_the_image_and_of_the_composition_read_back_together(
    trip: RoundTrip, composition: Composition
) -> None:
    service = trip.compose(composition, image="rich", labels={"own": "1"}, environment={"OWN": "1"})

    assert differences(trip.create(service), service, {}) == ()


@pytest.mark.parametrize("image", ["plain", "rich"])
@pytest.mark.parametrize("command", [{}, {"command": []}, {"command": "true"}], ids=str)
def test_an_entry_point_of_one_empty_word_reads_back_as_none(trip: RoundTrip, image: str, command: Composition) -> None:
    service = trip.compose({"entrypoint": [""], **command}, image=image)

    assert service.config.entrypoint == ()
    assert differences(trip.create(service), service, {}) == ()


NETWORKING: list[Composition] = [
    {"networks": ["back", "front"]},
    {"networks": {"front": {"aliases": ["www", "api"], "ipv4_address": "SUBNET.77"}, "back": {}}},
    {"networks": {"back": {"aliases": ["www"]}, "front": {"ipv4_address": "SUBNET.78", "priority": 5}}},
    {"networks": {"front": {"link_local_ips": ["169.254.8.8", "169.254.8.9"]}}},
    {"networks": {"six": {"ipv6_address": "PREFIX6:77::9"}}},
    {"networks": {"front": {"ipv4_address": "SUBNET.79"}}, "network_mode": "back"},
    {"network_mode": "front", "networks": {"front": {"aliases": ["kept"]}}},
    {"network_mode": "default"},
    {"network_mode": "bridge", "networks": ["front"]},
    {"network_mode": "none", "networks": ["front"]},
    {"network_mode": "host", "networks": ["front"], "ports": ["80"]},
    {"network_mode": "host", "hostname": "named"},
    {"network_mode": "container:abc"},
]


@pytest.mark.parametrize("composition", NETWORKING, ids=str)
@pytest.mark.parametrize("labels", [{}, {"io.balena.features.supervisor-api": "true"}], ids=["", "api"])
def test_networks_read_back_as_they_were_sent(
    trip: RoundTrip, composition: Composition, labels: dict[str, str]
) -> None:
    service = trip.compose(trip.with_subnet(composition), labels=labels)

    assert differences(trip.create(service), service, {}) == ()


def test_the_network_of_another_service_reads_back_as_its_container(trip: RoundTrip) -> None:
    other = trip.create(trip.compose({}, service_name="other"))
    ids = {"other": other.container_id}
    service = trip.compose({"network_mode": "service: other"}, labels={"io.balena.features.supervisor-api": "1"})
    container = trip.create(service, ids)

    assert differences(container, service, ids) == ()
    assert differences(container, service, {"other": "f" * 64}) == ("network_mode",)


def test_a_running_service_reads_back_like_one_that_was_only_created(trip: RoundTrip) -> None:
    labels = {"io.balena.features.supervisor-api": "1", "io.balena.features.procfs": "0"}
    service = trip.compose(EVERYTHING | {"ports": ["127.0.0.1:0:80"]}, image="rich", labels=labels)
    container = trip.create(service)
    trip.engine.start(container.container_id)
    running = trip.read(container.container_id)
    trip.engine.remove_container(container.container_id, force=True, v=True)

    assert running.status == "Running"
    assert running.started_at
    assert differences(running, service, {}) == ()


def test_an_alias_that_begins_like_the_id_is_not_taken_for_the_id(trip: RoundTrip) -> None:
    service = trip.compose({"networks": ["front"]})
    container_id = trip.create(service).container_id
    alias, back = container_id[:3], f"{trip.app_uuid}_back"
    trip.connect(container_id, back, {"Aliases": [alias]})
    trip.engine.start(container_id)
    networks = trip.read(container_id).config.networks
    trip.engine.remove_container(container_id, force=True)

    assert networks[back].aliases == (alias,)


def test_the_host_name_is_not_compared_while_it_is_unknown(trip: RoundTrip) -> None:
    service = trip.compose({"network_mode": "host"})
    container = trip.create(service)

    assert service.config.hostname == ""
    assert container.config.hostname
    assert differences(container, service, {}) == ()


def test_identity_reads_back_from_labels_and_name(trip: RoundTrip) -> None:
    service = trip.compose({}, service_name="web_1")
    container = trip.create(service)

    assert (container.app_id, container.app_uuid) == (trip.app_id, trip.app_uuid)
    assert (container.service_id, container.service_name) == (7, "web_1")
    assert (container.image_id, container.release_id, container.commit) == (8, 9, trip.instance)
    assert container.status == "Installed"
    assert container.docker_image_id == service.docker_image_id
    assert same_release(container, service)


# The fields of NetworkConfig that must be noticed when the definition goes away, and the definition.
NETWORK_FIELDS: list[tuple[str, Composition]] = [
    ("", {}),
    ("options", {"driver_opts": {"com.docker.network.bridge.enable_icc": False}}),
    ("labels", {"ipam": {"config": [{"subnet": "SUBNET2.0/25"}]}}),
    ("labels", {"ipam": {"config": [{"subnet": "SUBNET2.0/25", "gateway": "SUBNET2.7"}]}}),
    (
        "labels",
        {
            "ipam": {
                "config": [
                    {
                        "subnet": "SUBNET2.0/24",
                        "gateway": "SUBNET2.1",
                        "ip_range": "SUBNET2.128/25",
                        "aux_addresses": {"printer": "SUBNET2.9"},
                    }
                ]
            }
        },
    ),
    ("", {"ipam": {"config": [{}]}}),
    ("", {"ipam": {"driver": "default", "config": None, "options": None}}),
    ("ipam_options", {"ipam": {"options": {"foo": 5}}}),
    ("internal", {"internal": True}),
    ("labels", {"labels": {"a": 1, "io.resin.b": "2", "io.balena.app-id": "9", "io.balena.supervised": "false"}}),
    ("labels", {"labels": ["a=b"]}),
    ("config_only driver", {"config_only": True}),
    ("", {"attachable": True, "external": True, "name": "x"}),
]


@pytest.mark.parametrize(("fields", "definition"), NETWORK_FIELDS, ids=lambda value: str(value)[:60])
def test_a_network_reads_back_as_it_was_sent(trip: RoundTrip, fields: str, definition: Composition) -> None:
    network = trip.network(trip.with_subnet(definition))
    created = trip.create_network(network)
    trip.engine.remove_network(created.engine_id)

    assert network_differences(created, network) == ()
    assert (created.app_id, created.app_uuid, created.name) == (network.app_id, network.app_uuid, network.name)
    assert (created.engine_name, bool(created.created_at)) == (network.engine_name, True)
    assert set(network_differences(created, trip.network({}))) == set(fields.split())


def test_a_network_with_ipv6_reads_back_as_it_was_sent(trip: RoundTrip) -> None:
    pools = [{"subnet": "SUBNET2.0/24", "gateway": "SUBNET2.1"}, {"subnet": "PREFIX6:78::/64"}]
    network = trip.network(trip.with_subnet({"enable_ipv6": True, "ipam": {"config": pools}}))
    created = trip.create_network(network)
    trip.engine.remove_network(created.engine_id)

    assert network_differences(created, network) == ()
    assert set(network_differences(created, trip.network({}))) == {"enable_ipv6", "labels"}


VOLUME_FIELDS: list[tuple[str, Composition]] = [
    ("", {}),
    ("", {"driver": None, "driver_opts": None, "labels": None}),
    ("options", {"driver_opts": {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}}),
    ("labels", {"labels": {"a": 1, "io.resin.b": "2"}}),
    ("", {"labels": {"io.balena.supervised": "no", "io.balena.app-uuid": "other"}}),
    ("", {"external": True, "name": "x"}),
]


@pytest.mark.parametrize(("field", "definition"), VOLUME_FIELDS, ids=lambda value: str(value)[:60])
def test_a_volume_reads_back_as_it_was_sent(trip: RoundTrip, field: str, definition: Composition) -> None:
    volume = trip.volume(definition)
    created = trip.create_volume(volume)

    assert created is not None
    assert (created.app_id, created.app_uuid, created.name) == (volume.app_id, volume.app_uuid, volume.name)
    assert volume_differences(created, volume) == ()
    assert set(volume_differences(created, trip.volume({}))) == ({field} if field else set())


def test_the_network_of_the_supervisor_reads_back_as_ready(trip: RoundTrip) -> None:
    assert supervisor_network_ready(trip.engine.inspect_network("supervisor0"))
    assert not supervisor_network_ready(trip.engine.inspect_network("bridge"))
