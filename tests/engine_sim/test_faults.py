"""What a test can order of the simulated engine, seen through the client library that the supervisor uses."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import docker
import pytest
import requests
from docker.errors import APIError

from tests.engine_sim.sides import Json, Side
from tests.fakes.engine import SimulatedEngine
from tests.fakes.engine.basics import now_ns


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[SimulatedEngine]:
    before = set(threading.enumerate())
    with SimulatedEngine(tmp_path) as simulated:
        simulated.add_image("plain", {"Cmd": ["/run"]})
        yield simulated
    left = {thread for thread in threading.enumerate() if thread.name.startswith("engine-")} - before
    assert not left


@pytest.fixture
def client(engine: SimulatedEngine) -> Iterator[docker.APIClient]:
    api = docker.APIClient(base_url=engine.url, version="1.41", timeout=20)
    yield api
    api.close()


def started(client: docker.APIClient, name: str, **host: Any) -> str:
    created = client.create_container("plain", name=name, host_config=client.create_host_config(**host))
    client.start(created["Id"])
    return str(created["Id"])


def inspect_image(client: docker.APIClient, name: str) -> Json:
    found: Json = client.inspect_image(name)  # type: ignore[no-untyped-call]  # the stubs leave it out
    return found


def states(client: docker.APIClient) -> dict[str, str]:
    return {row["Names"][0][1:]: row["State"] for row in client.containers(all=True)}


def test_a_call_fails_the_second_time_only(engine: SimulatedEngine, client: docker.APIClient) -> None:
    engine.fail("POST", "/containers/create", nth=2, status=500, message="no space left on device")
    client.create_container("plain", name="one")
    with pytest.raises(APIError, match="no space left") as caught:
        client.create_container("plain", name="two")
    assert caught.value.status_code == 500
    client.create_container("plain", name="two")
    assert [call.status for call in engine.calls_of("POST", "/create$")] == [201, 500, 201]


def test_a_call_may_fail_after_it_was_carried_out(engine: SimulatedEngine, client: docker.APIClient) -> None:
    engine.fail("POST", "/networks/create", phase="after")
    with pytest.raises(APIError):
        client.create_network("net")
    assert [network["Name"] for network in client.networks(names=["net"])] == ["net"]


def test_a_hanging_call_is_answered_once_it_is_released(engine: SimulatedEngine, client: docker.APIClient) -> None:
    container = started(client, "one")
    hang = engine.hang("POST", "/stop")
    with ThreadPoolExecutor(1) as pool:
        stopping = pool.submit(client.stop, container)
        hang.wait_reached()
        other = docker.APIClient(base_url=engine.url, version="1.41")
        assert states(other) == {"one": "running"}
        hang.release()
        stopping.result(20)
        assert states(other) == {"one": "exited"}
        other.close()


def test_closing_ends_a_call_that_hangs(tmp_path: Path) -> None:
    with SimulatedEngine(tmp_path) as engine, ThreadPoolExecutor(1) as pool:
        api = docker.APIClient(base_url=engine.url, version="1.41")
        hang = engine.hang("GET", "/info")
        asking = pool.submit(api.info)
        hang.wait_reached()
        engine.close()
        with pytest.raises(requests.exceptions.ConnectionError):
            asking.result(20)
        api.close()


@pytest.mark.parametrize(("phase", "there"), [("before", {}), ("after", {"one": "created"})])
def test_dying_at_a_call_leaves_what_was_there(
    engine: SimulatedEngine, client: docker.APIClient, phase: Any, there: dict[str, str]
) -> None:
    engine.die_at("POST", "/containers/create", phase=phase)
    with pytest.raises(requests.exceptions.ConnectionError):
        client.create_container("plain", name="one")
    assert not engine.socket_path.exists()
    with pytest.raises(requests.exceptions.ConnectionError):
        client.ping()
    engine.revive()
    assert states(client) == there


def test_a_restart_with_its_containers_starts_those_with_a_policy(
    engine: SimulatedEngine, client: docker.APIClient
) -> None:
    started(client, "always", restart_policy={"Name": "always"})
    started(client, "once")
    engine.restart(restart_containers=True)
    assert states(client) == {"always": "running", "once": "exited"}


def test_an_exit_follows_the_restart_policy(engine: SimulatedEngine, client: docker.APIClient) -> None:
    for name, policy in (("always", "always"), ("failure", "on-failure"), ("never", "no")):
        started(client, name, restart_policy={"Name": policy})
    for name in ("always", "failure", "never"):
        engine.exit(name, 0)
    assert states(client) == {"always": "running", "failure": "exited", "never": "exited"}
    client.start("failure")
    engine.exit("failure", 3)
    assert client.inspect_container("failure")["RestartCount"] == 1
    client.stop("always")
    assert states(client)["always"] == "exited"


def test_a_program_that_ignores_its_stop_signal_is_killed_without_delay(
    engine: SimulatedEngine, client: docker.APIClient
) -> None:
    engine.behave("stubborn", ignores_stop=True)
    engine.behave("polite", exit_code=7)
    for name in ("stubborn", "polite"):
        started(client, name)
        client.stop(name, timeout=10)
    codes = {name: client.inspect_container(name)["State"]["ExitCode"] for name in ("stubborn", "polite")}
    assert codes == {"stubborn": 137, "polite": 7}


def test_events_arrive_while_they_happen_and_can_be_replayed(engine: SimulatedEngine, client: docker.APIClient) -> None:
    began_s = now_ns() // 1_000_000_000
    listener = docker.APIClient(base_url=engine.url, version="1.41")
    live = listener.events(decode=True, filters={"type": "container", "event": ["start", "die"]})
    container = started(client, "one")
    client.stop(container)
    assert [next(live)["Action"] for _ in range(2)] == ["start", "die"]
    replayed = client.events(decode=True, since=began_s, until=began_s + 1, filters={"type": "container"})
    assert [event["Action"] for event in replayed] == ["create", "start", "kill", "die", "stop"]
    engine.hang_up_events()
    assert list(live) == []
    listener.close()


def test_lost_events_are_neither_heard_nor_remembered(engine: SimulatedEngine, client: docker.APIClient) -> None:
    began_s = now_ns() // 1_000_000_000
    engine.lose_events("start", times=1)
    started(client, "one")
    started(client, "two")
    until_s = now_ns() // 1_000_000_000 + 1
    replayed = client.events(decode=True, since=began_s, until=until_s, filters={"event": "start"})
    assert [event["Actor"]["Attributes"]["name"] for event in replayed] == ["two"]


def test_a_pull_shows_each_layer_and_can_be_paused(engine: SimulatedEngine, client: docker.APIClient) -> None:
    digest = engine.add_remote_image("registry.example:5000/app/web:v1", layers=(1000, 500), paused=True)
    lines = client.pull("registry.example:5000/app/web", tag="v1", stream=True, decode=True)
    seen = [next(lines) for _ in range(5)]
    assert seen[0] == {"status": "Pulling from app/web", "id": "v1"}
    assert seen[-1]["progressDetail"] == {"current": 500, "total": 1000}
    other = docker.APIClient(base_url=engine.url, version="1.41")
    assert other.images("registry.example:5000/app/web") == []
    engine.resume_pulls()
    rest = list(lines)
    assert rest[-2]["status"] == f"Digest: {digest}"
    assert rest[-1]["status"] == "Status: Downloaded newer image for registry.example:5000/app/web:v1"
    assert inspect_image(other, f"registry.example:5000/app/web@{digest}")["RepoTags"] == [
        "registry.example:5000/app/web:v1"
    ]
    other.close()


def test_a_pull_by_digest_gives_an_image_without_a_tag(engine: SimulatedEngine, client: docker.APIClient) -> None:
    name = "registry.example/app@sha256:" + "ab" * 32
    engine.add_remote_image(name)
    client.pull(name)
    assert inspect_image(client, name)["RepoTags"] == []
    assert [image["RepoTags"] for image in client.images("registry.example/app")] == [None]
    assert [image["RepoDigests"] for image in client.images() if image["RepoDigests"]] == [[name]]
    client.remove_image(name)
    with pytest.raises(APIError):
        inspect_image(client, name)


def test_a_pull_with_a_login_records_it_and_refuses_another(engine: SimulatedEngine, client: docker.APIClient) -> None:
    engine.add_remote_image("registry.example/app:1", login=("d_1", "key"))
    with pytest.raises(APIError, match="no basic auth credentials"):
        client.pull("registry.example/app", tag="1", auth_config={"username": "d_1", "password": "wrong"})
    client.pull("registry.example/app", tag="1", auth_config={"username": "d_1", "password": "key"})
    assert engine.registry.logins[-1] == ("registry.example/app:1", {"username": "d_1", "password": "key"})


def test_a_pull_that_breaks_says_so_in_its_last_line(engine: SimulatedEngine, client: docker.APIClient) -> None:
    engine.add_remote_image("registry.example/app:1", error="unexpected EOF")
    lines = list(client.pull("registry.example/app", tag="1", stream=True, decode=True))
    assert lines[-1] == {"errorDetail": {"message": "unexpected EOF"}, "error": "unexpected EOF"}
    with pytest.raises(APIError):
        inspect_image(client, "registry.example/app:1")


def test_an_unknown_image_cannot_be_pulled(client: docker.APIClient) -> None:
    with pytest.raises(APIError, match="manifest unknown") as caught:
        client.pull("registry.example/nothing", tag="1")
    assert caught.value.status_code == 404


def test_a_moved_tag_leaves_a_dangling_image(engine: SimulatedEngine, client: docker.APIClient) -> None:
    old = engine.add_image("app:1", {"Cmd": ["/old"]})
    new = engine.add_image("app:1", {"Cmd": ["/new"]})
    assert inspect_image(client, "app:1")["Id"] == new
    assert [image["Id"] for image in client.images(filters={"dangling": True})] == [old]
    client.remove_image(old)
    assert client.images(filters={"dangling": True}) == []


def test_many_callers_at_once_lose_nothing(engine: SimulatedEngine, client: docker.APIClient) -> None:
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda n: started(client, f"c{n:02}"), range(40)))
    assert len(set(ids)) == 40
    assert set(states(client).values()) == {"running"}
    assert len(engine.calls_of("POST", "/start$")) == 40


def test_a_folder_with_a_long_path_still_gets_a_socket(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    with SimulatedEngine(folder) as engine:
        assert Side(str(engine.socket_path), "").call("GET", "/_ping") == (200, "OK")


def test_the_program_form_is_steered_over_its_control_socket(tmp_path: Path) -> None:
    path = tmp_path / "e.sock"
    command = [sys.executable, "-m", "tests.fakes.engine", "--socket", str(path), "--any-image", "--image", "plain"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout is not None
            assert program.stdout.readline() == f"unix://{path}\n"
            engine, control = Side(str(path), ""), Side(f"{path}.control", "")
            assert engine.call("POST", "/images/create?fromImage=some.example/thing&tag=1")[0] == 200
            assert engine.call("POST", "/_control/fail", {"method": "GET", "path": "/info", "status": 503})[0] == 204
            assert engine.call("GET", "/info") == (503, {"message": "simulated failure"})
            assert engine.call("POST", "/_control/fail", {"nonsense": 1})[0] == 400
            assert control.call("POST", "/_control/die", {})[0] == 204
            assert not path.exists()
            assert control.call("POST", "/_control/revive", {})[0] == 204
            calls = engine.call("GET", "/_control/calls")[1]
            assert [call["path"] for call in calls] == ["/images/create", "/info"]
        finally:
            program.terminate()
        assert program.wait(20) == 0
