"""Images that are kept, images that have lost a part, and apps that are frozen: no plan breaks what they mean."""

from __future__ import annotations

from random import Random

import msgspec
import pytest
from hypothesis import given, settings

from balena_supervisor.model.resource import Network, Volume
from balena_supervisor.model.service import Container
from balena_supervisor.state.features import SUPERVISOR_API
from balena_supervisor.state.plan import Plan
from balena_supervisor.state.words import app_and_service_of
from balena_supervisor.state.world import World
from balena_supervisor.steps import ImageStep, KillService
from tests.state.any_world import APPS, Case, cases
from tests.state.test_plan_faults import ROUNDS, Troubled, settled

pytestmark = pytest.mark.timeout(900)


def some_of(values: list[str], random: Random) -> frozenset[str]:
    return frozenset(value for value in values if random.randint(0, 1))


@settings(max_examples=80)
@given(cases())
def test_kept_images_stay_and_broken_ones_are_pulled_anew_before_anything_starts_from_them(case: Case) -> None:
    device = Troubled(case)
    device.end_of_what_was_under_way()
    device.ends = ("done", "done", "half", "failed")
    kept = frozenset(row.ref for row in device.world.images.rows if device.random.randint(0, 1))
    device.rules = msgspec.structs.replace(case.rules, kept=kept)
    device.broken = some_of(sorted(device.engine), device.random)
    rows = {row.ref for row in device.world.images.available if row.ref in kept}
    for _ in range(ROUNDS):
        device.round()
    device.end_all()
    assert rows <= {row.ref for row in device.world.images.rows}
    device.rules = case.rules
    settled(device)
    wanted = {s.image_name for app in device.target if not app.rejected for s in app.services}
    assert not device.broken & wanted


class Frozen(Troubled):
    """A device on which some apps are frozen for a while."""

    def plan(self) -> Plan:
        planned = super().plan()
        for step in planned.steps:
            app_id, _ = app_and_service_of(step)
            for_network = isinstance(step, KillService) and "supervisor0" in step.reason
            assert isinstance(step, ImageStep) or for_network or app_id not in self.rules.frozen, step
        return planned


@settings(max_examples=80)
@given(cases())
def test_a_frozen_app_stays_as_it_is_until_it_thaws(case: Case) -> None:
    device = Frozen(case)
    device.end_of_what_was_under_way()
    frozen = frozenset(app_id for app_id in APPS if device.random.randint(0, 1))
    device.rules = msgspec.structs.replace(case.rules, frozen=frozen)
    before = of_apps(device.world, frozen)
    for _ in range(ROUNDS):
        device.round()
    assert of_apps(device.world, frozen) == before
    device.rules = case.rules
    settled(device)


def of_apps(world: World, app_ids: frozenset[int]) -> list[object]:
    """All of these apps but the containers that a wrong ``supervisor0`` takes with it."""
    containers = [c for c in world.containers if SUPERVISOR_API not in c.config.labels]
    things: tuple[Container | Network | Volume, ...] = (*containers, *world.networks, *world.volumes)
    return [*(thing for thing in things if thing.app_id in app_ids), {i: world.locks.get(i) for i in app_ids}]
