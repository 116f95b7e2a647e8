"""The engine adapter on a simulated engine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from balena_supervisor.adapters.engine import Engine
from balena_supervisor.adapters.engine_pull import pull, registry_header
from balena_supervisor.adapters.engine_stream import JsonStream, StreamQuiet
from balena_supervisor.errors import EngineError, EngineUnavailable, NotFound
from tests.fakes.engine.simulated import SimulatedEngine


@pytest.fixture
def engine(simulated: SimulatedEngine) -> Iterator[Engine]:
    opened = Engine(simulated.url)
    yield opened
    opened.close()


def test_nothing_is_sent_before_the_first_call(simulated: SimulatedEngine, engine: Engine) -> None:
    assert simulated.calls == []
    engine.ping()
    assert [call.path for call in simulated.calls] == ["/version", "/_ping"]


def test_a_missing_engine_is_unavailable_and_found_when_it_comes(tmp_path: Path) -> None:
    engine = Engine(f"unix://{tmp_path}/engine.sock")
    with pytest.raises(EngineUnavailable, match=r"cannot list containers: the engine at unix://.*No such file"):
        engine.list_containers()
    with SimulatedEngine(tmp_path) as simulated:
        assert simulated.url == engine.host
        assert engine.list_containers() == []
        engine.close()


@pytest.mark.parametrize("host", ["", "nonsense://x", "tcp://127.0.0.1:1"])
def test_an_address_that_leads_nowhere_is_unavailable(host: str) -> None:
    with pytest.raises(EngineUnavailable):
        Engine(host or "unix:///nowhere").ping()


def test_a_connection_that_the_engine_closed_is_replaced(simulated: SimulatedEngine, engine: Engine) -> None:
    engine.ping()
    simulated.restart()
    engine.ping()


def test_a_404_is_not_found_with_the_words_of_the_engine(engine: Engine) -> None:
    with pytest.raises(NotFound) as caught:
        engine.inspect_container("nobody")
    assert caught.value.fields["status"] == 404
    assert caught.value.message == f"cannot inspect nobody: {caught.value.fields['cause']}"


def test_a_refusal_has_its_status_and_cause(simulated: SimulatedEngine, engine: Engine) -> None:
    simulated.fail("GET", "^/volumes$", status=503, message="busy")
    with pytest.raises(EngineError) as caught:
        engine.list_volumes()
    assert caught.value.fields == {"status": 503, "cause": "busy"}


def test_a_call_without_an_answer_ends_at_its_limit(simulated: SimulatedEngine, engine: Engine) -> None:
    engine.ping()
    simulated.hang("POST", "/stop$")
    with pytest.raises(EngineUnavailable, match="gave no answer"):
        engine.stop_container("x", -29.8)


def test_eight_threads_call_at_once(simulated: SimulatedEngine, engine: Engine) -> None:
    engine.ping()
    simulated.hang("GET", "^/volumes$", times=8).release()
    together = threading.Barrier(8)

    def call(_: int) -> int:
        together.wait(10)
        return len(engine.list_volumes())

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(call, range(8))) == [0] * 8


def test_an_event_stream_is_closed_from_another_thread(engine: Engine) -> None:
    stream = engine.events({"type": ["container"]})
    seen: list[object] = []
    reader = threading.Thread(target=lambda: seen.extend(stream))
    reader.start()
    stream.close()
    reader.join(5)
    assert not reader.is_alive()
    assert seen == []


def test_a_silent_event_stream_says_so(engine: Engine) -> None:
    with pytest.raises(StreamQuiet):
        list(engine.events({"type": ["container"]}, quiet_s=0.1))


def test_a_pull_reports_each_percent_once(simulated: SimulatedEngine, engine: Engine) -> None:
    simulated.add_remote_image("a.io/x:1", (4_000_000, 2_000_000))
    seen: list[int] = []
    pull(engine, "a.io/x", "1", progress=seen.append)
    assert seen == sorted(set(seen))
    assert seen[-1] == 100
    assert engine.inspect_image("a.io/x:1")["RepoTags"] == ["a.io/x:1"]


def test_a_pull_by_digest(simulated: SimulatedEngine, engine: Engine) -> None:
    digest = simulated.add_remote_image("a.io/x:1")
    pull(engine, "a.io/x", digest)
    assert engine.inspect_image(f"a.io/x@{digest}")["RepoDigests"] == [f"a.io/x@{digest}"]


def test_a_pull_that_breaks_off_fails_with_the_words_of_the_registry(
    simulated: SimulatedEngine, engine: Engine
) -> None:
    simulated.add_remote_image("a.io/x:1", error="unexpected EOF")
    with pytest.raises(EngineError, match="unexpected EOF"):
        pull(engine, "a.io/x", "1")


def test_a_pull_without_a_sign_of_life_fails(simulated: SimulatedEngine, engine: Engine) -> None:
    simulated.add_remote_image("a.io/x:1", paused=True)
    with pytest.raises(EngineUnavailable, match="no progress"):
        pull(engine, "a.io/x", "1", stall_s=0.2)


def test_a_pull_whose_engine_dies_is_no_success(simulated: SimulatedEngine, engine: Engine) -> None:
    simulated.add_remote_image("a.io/x:1", paused=True)
    with pytest.raises(EngineUnavailable, match="the connection to the engine broke"):
        pull(engine, "a.io/x", "1", progress=lambda _: simulated.die())


def test_a_pull_is_given_up_from_another_thread(simulated: SimulatedEngine, engine: Engine) -> None:
    simulated.add_remote_image("a.io/x:1", paused=True)
    streams: list[JsonStream] = []

    def give_up(_: int) -> None:
        closer = threading.Thread(target=streams[0].close)
        closer.start()
        closer.join()

    with pytest.raises(EngineUnavailable, match="it was given up"):
        pull(engine, "a.io/x", "1", opened=streams.append, progress=give_up)


def test_a_registry_is_told_who_we_are(simulated: SimulatedEngine, engine: Engine) -> None:
    simulated.add_remote_image("a.io/x:1", login=("d_uuid", "key"))
    with pytest.raises(EngineError, match="no basic auth credentials"):
        pull(engine, "a.io/x", "1")
    pull(engine, "a.io/x", "1", auth_header=registry_header("d_uuid", "key", "a.io"))
    assert simulated.registry.logins[-1][1]["serveraddress"] == "a.io"
