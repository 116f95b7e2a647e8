"""Steps are slow, fail or are done by half, the target changes meanwhile, and others work on the engine: the plan takes
no step that cannot be taken, and converges when the trouble is over."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import msgspec
import pytest
from hypothesis import given, settings

from balena_supervisor.model.image import ImageTask
from balena_supervisor.model.service import Container
from balena_supervisor.state.features import SUPERVISOR_API
from balena_supervisor.steps import PullImage, RemoveImage, StartService, Step
from tests.state.any_world import Case, cases
from tests.state.outcome import check_outcome
from tests.state.simulation import Simulation
from tests.state.test_plan_converges import converge

pytestmark = pytest.mark.timeout(900)

ROUNDS = 6


class Troubled(Simulation):
    """A device on which a step may take longer than a round. ``ends`` are the ways in which it may end."""

    def __init__(self, case: Case) -> None:
        super().__init__(case.start, case.target, case.rules)
        self.case = case
        self.random = Random(case.seed)  # noqa: S311  # no secret
        self.ends: tuple[str, ...] = ("done",)
        self._under_way: list[Step] = []

    def round(self) -> None:
        """Plan, send, and let some of what is under way end, in any order."""
        planned = self.plan()
        assert planned == self.plan()
        self.sent(planned.steps)
        subjects = [step.subject for step in self._under_way]
        assert len(subjects) == len(set(subjects))
        self.random.shuffle(self._under_way)
        for _ in range(self.random.randint(0, len(self._under_way))):
            self._end_one()
        self._show()

    def sent(self, steps: Sequence[Step]) -> None:
        self._under_way += steps

    def end_all(self) -> None:
        while self._under_way:
            self._end_one()
        self._show()

    def _end_one(self) -> None:
        step, end = self._under_way.pop(), self.random.choice(self.ends)
        if end == "done":
            self.carry_out(step)
        elif end == "half":
            self.half(step)
        self.ended(step, end)

    def ended(self, step: Step, end: str) -> None:
        """What those learn who wait for the end of a step."""

    def _show(self) -> None:
        """What the workers say of the engine, and what they are at."""
        tasks = [ImageTask(ref=s.ref, status="Downloading") for s in self._under_way if isinstance(s, PullImage)]
        tasks += [ImageTask(ref=s.row.ref, status="Deleting") for s in self._under_way if isinstance(s, RemoveImage)]
        images = msgspec.structs.replace(self.world.images, tasks=tuple(tasks))
        self.world = msgspec.structs.replace(self.world, images=images)
        self.look()
        self.busy = frozenset(step.subject for step in self._under_way)


def settled(device: Troubled) -> None:
    """The trouble is over, and the rest goes as always."""
    device.end_all()
    device.made.clear()
    begun = device.world
    plans = converge(device, device.random)
    check_outcome(begun, device, plans[-1])


@settings(max_examples=80)
@given(cases())
def test_slow_and_failing_steps_never_stand_in_the_way_of_others(case: Case) -> None:
    device = Troubled(case)
    device.end_of_what_was_under_way()
    device.ends = device.random.choice((("done",), ("done", "failed"), ("done", "done", "half", "failed")))
    locked = device.user_locks = {app.app_id for app in case.target if device.random.randint(0, 3) == 0}
    held = {app_id for app_id in locked if device.world.locks.get(app_id)}
    stood = {c for c in ids(device) if c[0] in locked - held}
    for _ in range(ROUNDS):
        device.round()
    assert stood <= ids(device), "a container went although a user held the lock of its app"
    device.user_locks = set()
    settled(device)


def ids(device: Troubled) -> set[tuple[int, str]]:
    """All containers but the dead and those that use a wrong ``supervisor0``."""
    ready = device.world.supervisor_network_ready
    return {
        (c.app_id, c.container_id)
        for c in device.world.containers
        if c.status != "Dead" and (ready or SUPERVISOR_API not in c.config.labels)
    }


class Redirected(Troubled):
    """A device that gets another target. What is under way for the old one may meet a service that the new one starts:
    either fails then, and is planned again. What the new one removes never meets anything."""

    _old: tuple[Step, ...] = ()
    _meeting: tuple[Step, ...] = ()

    def redirect(self) -> None:
        self.target = self.case.later
        self._old = tuple(self._under_way)
        self.look()

    def sent(self, steps: Sequence[Step]) -> None:
        if any(step in self._old or step in self._meeting for step in self._under_way):
            self._meeting += tuple(step for step in steps if isinstance(step, StartService))
        super().sent(steps)

    def check_promises(self, step: Step) -> None:
        """What was begun for the old target keeps the promises to that one."""
        if step not in self._old:
            super().check_promises(step)

    def carry_out(self, step: Step) -> None:
        if step not in (*self._old, *self._meeting) or not self.refusal(step):
            super().carry_out(step)


@settings(max_examples=80)
@given(cases())
def test_a_target_that_changes_while_steps_are_under_way_is_reached(case: Case) -> None:
    device = Redirected(case)
    device.end_of_what_was_under_way()
    for _ in range(ROUNDS // 2):
        device.round()
    device.redirect()
    for _ in range(ROUNDS // 2):
        device.round()
    settled(device)


class Crowded(Troubled):
    """A device on whose engine others work too. They may take away what a step needs, so that it fails."""

    _twins = 0

    def carry_out(self, step: Step) -> None:
        if not self.refusal(step):
            super().carry_out(step)

    def somebody_else(self) -> None:
        """Somebody removes or stops a container, or does what a killed worker had begun."""
        containers = list(self.world.containers)
        if containers:
            chosen = self.random.choice(containers)
            match self.random.randint(0, 4):
                case 0:
                    containers.remove(chosen)
                case 1:
                    containers[containers.index(chosen)] = msgspec.structs.replace(chosen, status="exited")
                case 2:
                    self._twins += 1
                    containers.append(_twin(chosen, self._twins))
        networks = list(self.world.networks)
        if networks and self.random.randint(0, 3) == 0:
            networks.append(msgspec.structs.replace(self.random.choice(networks), engine_id="twin"))
        used = {name for container in containers for name in container.config.networks}
        networks = [n for n in networks if n.engine_name in used or self.random.randint(0, 5)]
        ready = self.world.supervisor_network_ready and self.random.randint(0, 9) > 0
        self.world = msgspec.structs.replace(
            self.world, containers=tuple(containers), networks=tuple(networks), supervisor_network_ready=ready
        )


@settings(max_examples=80)
@given(cases())
def test_what_others_do_on_the_engine_is_put_right(case: Case) -> None:
    device = Crowded(case)
    device.ends = ("done", "done", "half", "failed")
    for _ in range(ROUNDS):
        device.round()
        device.somebody_else()
    device.end_all()
    device.end_of_what_was_under_way()
    settled(device)


def _twin(container: Container, number: int) -> Container:
    """What a create that was repeated leaves behind."""
    return msgspec.structs.replace(container, container_id=f"twin{number}".ljust(64, "0"), status="Installed")
