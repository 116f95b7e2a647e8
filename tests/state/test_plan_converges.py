"""From any current state to any target, the plan ends, and on the way breaks none of its promises."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import event, given, settings

from balena_supervisor.state.plan import Plan
from balena_supervisor.steps import KillService
from tests.state.any_world import Case, cases
from tests.state.outcome import bound, check_outcome, is_right
from tests.state.simulation import Simulation

#: a failure is made smaller before it is shown
pytestmark = pytest.mark.timeout(900)


@settings(max_examples=150)
@given(cases())
def test_the_plan_converges_from_any_state_to_any_target(case: Case) -> None:
    device, random = Simulation(case.start, case.target, case.rules), Random(case.seed)  # noqa: S311  # no secret
    device.take(device.plan(), random)
    device.end_of_what_was_under_way()
    begun = device.world
    plans = converge(device, random)
    event(f"{len(plans)} rounds")
    check_outcome(begun, device, plans[-1] if plans else device.plan())
    assert {subject for subject, number in device.made.items() if number > 1} == set()


def converge(device: Simulation, random: Random) -> list[Plan]:
    """Rounds until nothing can be done any more; the last plan has no step."""
    most = bound(device.world, device.target)
    plans: list[Plan] = []
    while True:
        planned = device.plan()
        assert planned == device.plan()
        subjects = [step.subject for step in planned.steps]
        assert len(subjects) == len(set(subjects))
        killed = [step.container for step in planned.steps if isinstance(step, KillService)]
        assert not [c for c in killed if is_right(c, device.world, device.composed())]
        plans.append(planned)
        if not planned.steps and not planned.commits:
            return plans
        assert len(plans) <= most, f"more than {most} rounds: {[p.steps for p in plans[-3:]]}"
        device.take(planned, random)
