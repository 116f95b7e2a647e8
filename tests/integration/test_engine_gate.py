"""The gate itself: what it lets through, when, and who hears of an end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from balena_supervisor.adapters.engine import Engine
from balena_supervisor.adapters.engine_stream import JsonStream
from balena_supervisor.errors import EngineUnavailable
from tests.fakes.engine import SimulatedEngine
from tests.integration.engine_gate import Call, EngineGate, Phase, kind_of
from tests.runtime.toy_supervisor import alive, wait_until
from tools.dev_parts.paths import ROOT

CREATE = "POST /networks/create"
_CALLER = "import sys; from balena_supervisor.adapters.engine import Engine; Engine(sys.argv[1]).create_network({})"


@pytest.fixture
def behind(run_dir: Path) -> Iterator[SimulatedEngine]:
    with SimulatedEngine(run_dir) as made:
        yield made


@pytest.fixture
def gate(behind: SimulatedEngine, run_dir: Path) -> Iterator[EngineGate]:
    made = EngineGate(behind.url, run_dir / "gate.sock")
    yield made
    made.close()


@pytest.fixture
def caller(gate: EngineGate) -> Iterator[Engine]:
    made = Engine(gate.url)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        ("POST /containers/create", "POST /containers/create"),
        ("POST /containers/3f/stop", "POST /containers/*/stop"),
        ("DELETE /containers/3f", "DELETE /containers/*"),
        ("POST /images/create", "POST /images/create"),
        ("POST /images/localhost:5000/a/b:1/tag", "POST /images/*/tag"),
        ("DELETE /images/localhost:5000/a/b:1", "DELETE /images/*"),
    ],
)
def test_a_kind_of_call_has_no_names(call: str, kind: str) -> None:
    assert kind_of(*call.split(" ")) == kind


def test_only_changing_calls_are_counted(gate: EngineGate, caller: Engine) -> None:
    network = caller.create_network({"Name": "front"})
    assert network in {found["Id"] for found in caller.list_networks()}
    caller.remove_network(network)
    assert [call.kind for call in gate.calls()] == [CREATE, "DELETE /networks/*"]
    assert gate.calls()[1] == Call("DELETE /networks/*", f"/networks/{network}", os.getpid())
    gate.forget()
    assert gate.kinds() == {}


@pytest.mark.parametrize(("phase", "there"), [("before", False), ("after", True)])
def test_the_engine_knows_of_a_call_after_it_and_not_before(
    gate: EngineGate, caller: Engine, behind: SimulatedEngine, phase: Phase, *, there: bool
) -> None:
    names: list[set[str]] = []
    direct = Engine(behind.url)
    hook = gate.hook(CREATE, 2, phase, lambda _: names.append({found["Name"] for found in direct.list_networks()}))
    caller.create_network({"Name": "one"})
    assert names == []
    caller.create_network({"Name": "two"})
    assert hook.wait().kind == CREATE
    direct.close()
    assert ("one" in names[0], "two" in names[0]) == (True, there)


@pytest.mark.parametrize(("phase", "count"), [("before", 0), ("after", 1)])
def test_a_caller_that_is_killed_before_a_call_has_not_made_it(
    gate: EngineGate, behind: SimulatedEngine, phase: Phase, count: int
) -> None:
    def kill(call: Call) -> None:
        os.kill(call.pid, signal.SIGKILL)
        wait_until(lambda: not alive(call.pid), "it is dead")

    hook = gate.hook("", 1, phase, kill)
    killed = subprocess.run([sys.executable, "-c", _CALLER, gate.url], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    hook.wait()
    gate.close()  # nothing is under way any more
    assert len(behind.calls_of("POST", "/networks/create$")) == count


def test_an_engine_that_hangs_over_a_call_can_be_met_during_it(
    gate: EngineGate, caller: Engine, behind: SimulatedEngine
) -> None:
    hanging = behind.hang("POST", "/networks/create$")

    def let_go(_: Call) -> None:
        hanging.wait_reached()
        hanging.release()

    hook = gate.hook(CREATE, 1, "during", let_go)
    caller.create_network({"Name": "one"})
    assert hook.wait().kind == CREATE


def test_what_goes_wrong_in_a_hook_is_raised_in_the_test(gate: EngineGate, caller: Engine) -> None:
    hook = gate.hook("", 1, "before", lambda _: os.kill(0, 1_000_000))
    caller.create_network({"Name": "one"})
    with pytest.raises((OSError, ValueError)):
        hook.wait()


@pytest.fixture
def half_pulled(caller: Engine, behind: SimulatedEngine) -> JsonStream:
    behind.add_remote_image("shop/web:1", paused=True)
    return caller.pull_image("shop/web", "1")


def test_progress_of_a_pull_passes_as_it_comes_and_its_end_is_held_back(
    gate: EngineGate, caller: Engine, behind: SimulatedEngine
) -> None:
    behind.add_remote_image("shop/web:1", paused=True)
    seen: list[str] = []
    begun = gate.hook("POST /images/create", 1, "during", lambda _: seen.append("begun"))
    gate.hook("POST /images/create", 1, "after", lambda _: seen.append("end"))
    lines = iter(stream := caller.pull_image("shop/web", "1"))
    assert "Pulling" in next(lines)["status"]
    begun.wait()
    assert seen == ["begun"]
    behind.resume_pulls()
    assert list(lines)
    assert stream.done
    assert seen == ["begun", "end"]


def test_an_engine_that_dies_hangs_up_on_the_caller(
    gate: EngineGate, caller: Engine, half_pulled: JsonStream, behind: SimulatedEngine
) -> None:
    lines = iter(half_pulled)
    next(lines)
    behind.die()
    with pytest.raises(EngineUnavailable):
        list(lines)
    with pytest.raises(EngineUnavailable):
        caller.ping()
    behind.revive()
    caller.ping()
    assert gate.kinds() == {"POST /images/create": 1}


def test_a_caller_that_hangs_up_ends_its_connection_to_the_engine(
    gate: EngineGate, caller: Engine, half_pulled: JsonStream
) -> None:
    lines = iter(half_pulled)
    next(lines)
    assert gate.connections() > 0
    half_pulled.close()
    caller.close()
    wait_until(lambda: gate.connections() == 0, "nobody is connected")
