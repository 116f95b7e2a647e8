"""The engine is away for half a minute in the middle of a pull, a create and a stop: stopped like a process that hangs,
or ended and started again. The supervisor says why nothing goes on, and all is as it should be soon after.
"""

from __future__ import annotations

import itertools
import signal
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from balena_supervisor.model.lock import lock_folder
from tests.integration.conftest import TestedSupervisor
from tests.integration.engine_gate import Call, EngineGate
from tests.integration.own_engine import OwnEngine, expect_each_once, leave_nothing, own_engine
from tests.integration.targets import runs, target
from tests.runtime.toy_supervisor import wait_until
from tools.dev_parts import labelled
from tools.dev_parts.registry import free_port

pytestmark = [pytest.mark.engine, pytest.mark.root, pytest.mark.timeout(300)]

_APP = 77002
#: looks at the state, 50 a second at most, in which the reason has to be shown: more than half a minute. That an engine
#: hangs is not known, and so not shown, before it has been silent for that long.
_LOOKS = {"ends": 1500, "hangs": 100}
_SCRIPT = 'trap "echo > /tmp/balena/stopping; sleep 2; exit 0" TERM; while :; do sleep 1000 & wait; done'
_SLOW_STOP = ["/bin/sh", "-c", _SCRIPT]
Body = dict[str, Any]


@dataclass(frozen=True)
class Site:
    supervisor: TestedSupervisor
    engine: OwnEngine
    gate: EngineGate
    instance: str

    def leave(self, way: str) -> None:
        if way == "hangs":
            self.engine.pause()
        else:
            self.engine.end(signal.SIGTERM)

    def come_back(self) -> None:
        self.engine.go_on()
        self.engine.start()

    def run(self, *services: str) -> None:
        """Until exactly these run, each in one container, on networks of which none is there twice."""
        self.supervisor.api.wait_until(lambda status: runs(status, *services), 100)
        expect_each_once(self.engine.url, self.instance, services)

    def be_away_for_half_a_minute(self, way: str) -> None:
        """Until the reason was seen again and again; all the time the supervisor must count as healthy."""
        count = itertools.count(1)

        def shown_long_enough(status: dict[str, Any]) -> bool:
            self.supervisor.api.get("/v1/healthy")
            return any("the engine at" in entry["reason"] for entry in status["waiting"]) and next(count) >= _LOOKS[way]

        self.supervisor.api.wait_until(shown_long_enough, 110)


@pytest.fixture(scope="module")
def engine_of_our_own() -> Iterator[OwnEngine]:
    with own_engine() as made:
        yield made


@pytest.fixture
def site(engine_of_our_own: OwnEngine, tmp_path: Path, run_dir: Path) -> Iterator[Site]:
    instance = f"paused-{uuid.uuid4().hex[:12]}"
    gate = EngineGate(engine_of_our_own.url, run_dir / "gate.sock")
    run = run_dir / "run"
    run.mkdir()
    tested = TestedSupervisor(tmp_path / "supervisor", run, engine_url=gate.url, instance=instance, port=free_port())
    made = Site(tested, engine_of_our_own, gate, instance)
    made.come_back()
    tested.start()
    yield made
    made.come_back()
    leave_nothing(engine_of_our_own, tested)
    gate.close()
    labelled.remove_lock_folders(instance)
    lines = tested.program.tail(8000).splitlines()
    sys.stdout.write("\n".join([line for line in lines if "GET /v" not in line][-200:]))


def pulling(site: Site, way: str) -> tuple[str, Body]:
    large = site.engine.image(f"large-{way}", size=60_000_000)
    return "POST /images/create", target(_APP, {"one": {"image": large}})


def creating(site: Site, _: str) -> tuple[str, Body]:
    small = site.engine.image("small")
    site.supervisor.post_target(target(_APP, {"one": {"image": small}}))
    site.run("one")
    services = {name: {"image": small, "networks": ["front"]} for name in ("one", "two")}
    return "POST /containers/create", target(_APP, services, networks={"front": {}})


def stopping(site: Site, _: str) -> tuple[str, Body]:
    services: dict[str, Any] = {"one": {"image": site.engine.image("small"), "command": _SLOW_STOP}}
    site.supervisor.post_target(target(_APP, services))
    site.run("one")
    services["one"]["environment"] = {"A": "1"}
    return "POST /containers/*/stop", target(_APP, services)


MOMENTS: dict[str, Callable[[Site, str], tuple[str, Body]]] = {"pull": pulling, "create": creating, "stop": stopping}


@pytest.mark.parametrize("way", ["hangs", "ends"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_an_engine_that_is_away_for_half_a_minute_is_waited_for(site: Site, moment: str, way: str) -> None:
    kind, body = MOMENTS[moment](site, way)
    stops = Path(lock_folder(site.instance)) / str(_APP) / "one/stopping"
    stops.unlink(missing_ok=True)
    site.gate.forget()

    def leave(_: Call) -> None:
        if moment == "stop":
            wait_until(stops.exists, "the service is being stopped")
        site.leave(way)

    hook = site.gate.hook(kind, 1, "during", leave)
    site.supervisor.post_target(body)
    hook.wait()
    site.be_away_for_half_a_minute(way)
    site.come_back()
    site.run(*(service["serviceName"] for service in body["local"]["apps"][str(_APP)]["services"].values()))
