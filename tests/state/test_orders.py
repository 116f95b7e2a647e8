"""What orders of users mean for the plan, as tables."""

from __future__ import annotations

import msgspec
import pytest

from balena_supervisor.messages import AppOrder, DeviceOrder, Order, ServiceOrder
from balena_supervisor.state.orders import (
    DOWN,
    UP,
    Stage,
    complaint,
    first_stage,
    overlaps,
    to_start,
    wanted_now,
    words_of_order,
)
from tests.state.worlds import APP, app, container, service, world

WEB, DB = service("web"), service("db", depends_on=("web",))
REBOOT = DeviceOrder(verb="reboot")
RESTART, PURGE = AppOrder(verb="restart", app_id=APP), AppOrder(verb="purge", app_id=APP)
OTHER = AppOrder(verb="restart", app_id=8)


def on(name: str, verb: str = "restart") -> ServiceOrder:
    return msgspec.convert({"verb": verb, "app_id": APP, "service_name": name}, ServiceOrder)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (RESTART, on("web"), True),
        (on("web"), on("db"), True),
        (RESTART, OTHER, False),
        (REBOOT, OTHER, True),
        (OTHER, REBOOT, True),
        (REBOOT, DeviceOrder(verb="shutdown"), True),
    ],
)
def test_which_orders_wait_for_each_other(one: Order, other: Order, *, expected: bool) -> None:
    assert overlaps(one, other) is expected


@pytest.mark.parametrize(
    ("order", "text"),
    [
        (RESTART, f"restart app {APP}"),
        (on("web", "stop"), f"stop service web of app {APP}"),
        (REBOOT, "reboot the device"),
    ],
)
def test_orders_in_words(order: Order, text: str) -> None:
    assert words_of_order(order) == text


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (REBOOT, ""),
        (RESTART, ""),
        (OTHER, "there is no app 8 on the device"),
        (on("web", "stop"), ""),
        (on("db", "stop"), f"service db of app {APP} has no container"),
        (on("db", "start"), ""),
        (on("lost", "start"), "the image of service lost is not on the device yet"),
        (on("lost", "restart"), "the image of service lost is not on the device yet"),
        (on("nobody", "start"), f"app {APP} has no service nobody"),
    ],
)
def test_which_orders_mean_nothing(order: Order, reason: str) -> None:
    lost = service("lost", image="lost", present=False)
    assert complaint(order, world(container(WEB), of=[WEB, DB]), [app(WEB, DB, lost)]) == reason


@pytest.mark.parametrize(
    ("order", "stage", "running"),
    [
        (RESTART, DOWN, {"web": True, "db": False, "own": True}),
        (PURGE, DOWN, {"web": True, "db": False, "own": True}),
        (on("web", "restart"), DOWN, {"web": True, "db": False, "own": False}),
        (on("web", "stop"), UP, {"web": False, "db": False, "own": False}),
        (on("own", "start"), UP, {"web": True, "db": False, "own": True}),
    ],
)
def test_with_what_an_order_begins(order: Order, stage: str, running: dict[str, bool]) -> None:
    """``db`` shall not run by the target, ``own`` was stopped by a user."""
    db = msgspec.structs.replace(DB, running=False)
    own = msgspec.structs.replace(service("own"), running=False, stopped_by_user=True)
    here = world(container(WEB), container(db, status="exited"), container(own, status="exited"), of=[WEB])
    begun = first_stage(order, here, [app(WEB, db, own)])
    assert begun.name == stage
    assert begun.former is not None
    assert {s.service_name: s.running for s in begun.former.services} == running
    assert {s.service_name: s.depends_on for s in begun.former.services}["db"] == {"web": "service_started"}


@pytest.mark.parametrize(
    ("order", "stage", "names"),
    [
        (RESTART, DOWN, set()),
        (PURGE, DOWN, None),
        (on("web"), DOWN, {"db"}),
        (RESTART, UP, {"web", "db"}),
        (PURGE, UP, {"web", "db"}),
        (on("web"), UP, {"web", "db"}),
    ],
)
def test_what_an_app_shall_be_in_a_stage(order: Order, stage: str, names: set[str] | None) -> None:
    wanted = wanted_now(order, Stage(name=stage, former=app(WEB, DB)))
    assert (None if wanted is None else {s.service_name for s in wanted.services}) == names


@pytest.mark.parametrize(
    ("order", "stage", "status", "starts"),
    [
        (on("web", "start"), UP, "exited", True),
        (on("web", "start"), UP, "Running", False),
        (on("web", "start"), UP, "Dead", False),
        (on("web", "start"), DOWN, "exited", False),
        (on("web", "restart"), UP, "exited", False),
        (on("db", "start"), UP, "exited", False),
        (RESTART, UP, "exited", False),
    ],
)
def test_what_an_order_lets_start_that_stands_still(order: Order, stage: str, status: str, *, starts: bool) -> None:
    one = container(WEB, status=status)
    found = to_start(order, Stage(name=stage), world(one, of=[WEB]))
    assert found == (frozenset({one.container_id}) if starts else frozenset())
