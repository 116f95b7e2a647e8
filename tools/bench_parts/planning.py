"""How long the planner thinks: composing, comparing and planning of targets of several sizes, without any engine.

Run as a program, for which :func:`planning_ms` starts a fresh interpreter: it prints one JSON object.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from statistics import median

import msgspec

from balena_supervisor.model.app import ComposedApp
from balena_supervisor.model.device import Configuration, HostFacts
from balena_supervisor.model.target import TargetApp, TargetService
from balena_supervisor.state.compose import compose_app
from balena_supervisor.state.effects import commit_effect, effect
from balena_supervisor.state.plan import Plan, plan
from balena_supervisor.state.world import World
from tools.dev_parts.paths import PYTHON, ROOT

SIZES = (10, 100, 500)
_APP_ID = 1001
_UUID = "5b0c7de4000040008000aabbccddeeff"
#: so often at least, and so long at least
_REPEATS, _REPEAT_S = 7, 0.5
_LIMIT_S = 300


class PlanningFailed(Exception):
    """It did not plan what it should have planned, so the time says nothing."""


def plan_name(services: int) -> str:
    return f"plan_{services}_ms"


def planning_ms(sizes: Iterable[int]) -> dict[str, float]:
    """Milliseconds by name, from an interpreter of its own. Raises ``PlanningFailed``."""
    command = [str(PYTHON), "-m", "tools.bench_parts.planning", *map(str, sizes)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=_LIMIT_S)
    if done.returncode:
        raise PlanningFailed(done.stderr.strip())
    found: dict[str, float] = json.loads(done.stdout)
    return found


def times_of(services: int) -> dict[str, float]:
    """One round of the planner when all is as it should be, and when every service is to be updated; the longer one.

    Raises ``PlanningFailed``.
    """
    old, new = _target(services, "1"), _target(services, "2")
    world = _reached(old)
    if not _round(world, old).empty:
        raise PlanningFailed("something is planned where nothing is to be done")
    # with the update locks taken already: without them there is but one step, to take them
    locked = msgspec.structs.replace(world, locks={_APP_ID: frozenset(s.service_name for s in new.services)})
    steps = _round(locked, new).steps
    if len(steps) != services:
        raise PlanningFailed(f"{len(steps)} steps are planned for {services} services that are to be updated")
    equal_ms = _median_ms(lambda: _round(world, old))
    update_ms = _median_ms(lambda: _round(locked, new))
    return {
        plan_name(services): max(equal_ms, update_ms),
        f"plan_{services}_equal_ms": equal_ms,
        f"plan_{services}_update_ms": update_ms,
    }


def _round(world: World, target: TargetApp) -> Plan:
    return plan(world, [_composed(world, target)])


def _composed(world: World, target: TargetApp) -> ComposedApp:
    keys = {(_APP_ID, service.service_name): "0" * 32 for service in target.services}
    return compose_app(target, Configuration(), HostFacts(), world.images.details, keys)


def _reached(target: TargetApp) -> World:
    """The world in which all of it runs."""
    world = World()
    while not (planned := _round(world, target)).empty:
        if not planned.steps and not planned.commits:
            raise PlanningFailed(f"it does not go on: {planned.waiting}")
        for step in planned.steps:
            world = effect(step, world)
        for update in planned.commits:
            world = commit_effect(update, world)
    return world


def _target(services: int, version: str) -> TargetApp:
    """Every service with an image of its own and a little of everything."""
    return TargetApp(
        app_id=_APP_ID,
        app_uuid=_UUID,
        name="bench",
        commit="bench",
        release_id=1,
        services=tuple(_service(number, version) for number in range(1, services + 1)),
        networks={"inside": {}},
        volumes={"data": {}},
    )


def _service(number: int, version: str) -> TargetService:
    return TargetService(
        service_name=f"service{number}",
        service_id=number,
        image_id=number,
        image=f"registry.example/v2/{number:032x}@sha256:{number:064x}",
        app_id=_APP_ID,
        app_uuid=_UUID,
        release_id=1,
        commit="bench",
        environment={**{f"VARIABLE_{index}": str(index) for index in range(10)}, "VERSION": version},
        labels={"io.balena.features.balena-api": "1"},
        composition={
            "command": ["run", "--number", str(number)],
            "networks": ["inside"],
            "ports": [f"{10_000 + number}:80"],
            "restart": "always",
            "volumes": ["data:/data"],
        },
    )


def _median_ms(do: Callable[[], object]) -> float:
    """Of the processor's time: what else the machine does is left out."""
    times: list[float] = []
    end = time.process_time() + _REPEAT_S
    while len(times) < _REPEATS or time.process_time() < end:
        began = time.process_time()
        do()
        times.append((time.process_time() - began) * 1000)
    return median(times)


if __name__ == "__main__":
    result: dict[str, float] = {}
    for size in sys.argv[1:]:
        result |= times_of(int(size))
    sys.stdout.write(json.dumps(result) + "\n")
