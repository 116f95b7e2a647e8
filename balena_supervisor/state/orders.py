"""What an order of a user means for the plan, stage by stage (spec apply-loop 2.7, device-api 9). Pure.

An order is carried out by planning an app towards something else than its target for a while: without the services
that are to be made anew, then with all as it was. So whatever fails on the way is put right by the plan that follows.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from balena_supervisor.messages import AppOrder, DeviceOrder, Order, ServiceOrder
from balena_supervisor.model.app import ComposedApp
from balena_supervisor.state.former import former_app, service_of, with_service, without
from balena_supervisor.state.world import World, newest_first

QUEUED, WAITING, DOWN, UP, LEAVING = "queued", "waiting", "down", "up", "leaving"


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """How far an order has come. ``former`` is the app as it was when its first step was planned.

    ``queued`` waits for other orders, ``waiting`` for steps under way; ``down`` removes what is to be made anew, ``up``
    brings back what there shall be; ``leaving`` holds all locks of the device.
    """

    name: str = QUEUED
    former: ComposedApp | None = None


def app_of(order: Order) -> int:
    """The app that an order is for; 0 for the device."""
    return order.app_id if isinstance(order, AppOrder | ServiceOrder) else 0


def verb_of(order: Order) -> str:
    return order.verb if isinstance(order, AppOrder | ServiceOrder | DeviceOrder) else ""


def service_name_of(order: Order) -> str:
    return order.service_name if isinstance(order, ServiceOrder) else ""


def overlaps(one: Order, other: Order) -> bool:
    """Whether two orders have to be carried out one after the other."""
    return 0 in {app_of(one), app_of(other)} or app_of(one) == app_of(other)


def words_of_order(order: Order) -> str:
    """``restart service web of app 7``."""
    if isinstance(order, ServiceOrder):
        return f"{order.verb} service {order.service_name} of app {order.app_id}"
    return f"{order.verb} app {order.app_id}" if isinstance(order, AppOrder) else f"{verb_of(order)} the device"


def complaint(order: Order, world: World, target: Iterable[ComposedApp]) -> str:
    """Why an order means nothing; ``""`` when it can be carried out."""
    if isinstance(order, DeviceOrder):
        return ""
    app_id = app_of(order)
    app = next((app for app in target if app.app_id == app_id), None)
    if former_app(world, app_id, app) is None:
        return f"there is no app {app_id} on the device"
    if not isinstance(order, ServiceOrder):
        return ""
    name = order.service_name
    there = any((c.app_id, c.service_name) == (app_id, name) for c in world.containers)
    wanted = service_of(app, name)
    if not there and wanted is None:
        return f"app {app_id} has no service {name}"
    if order.verb != "stop" and wanted is not None and not wanted.running and not wanted.stopped_by_user:
        return f"the target says that service {name} of app {app_id} shall not run"
    if order.verb == "stop":
        return "" if there else f"service {name} of app {app_id} has no container"
    if not there and wanted is not None and wanted.docker_image_id is None:
        return f"the image of service {name} is not on the device yet"
    return ""


def first_stage(order: Order, world: World, target: Iterable[ComposedApp]) -> Stage:
    """The stage in which steps begin, once nothing else is under way for the app."""
    if isinstance(order, DeviceOrder):
        return Stage(name=DOWN)
    app = next((app for app in target if app.app_id == app_of(order)), None)
    former = former_app(world, app_of(order), app)
    if former is None:
        return Stage(name=UP)
    if not isinstance(order, ServiceOrder):
        # all that the target wants to run, also what a user had stopped
        services = tuple(msgspec.structs.replace(s, running=_wanted(app, s.service_name)) for s in former.services)
        return Stage(name=DOWN, former=msgspec.structs.replace(former, services=services))
    name = order.service_name
    mine = service_of(former, name) or service_of(app, name)
    if mine is None:
        return Stage(name=UP, former=former)
    why = "a user has stopped it"
    mine = msgspec.structs.replace(mine, running=order.verb != "stop", why_stopped=why)
    return Stage(name=DOWN if order.verb == "restart" else UP, former=with_service(former, mine))


def wanted_now(order: Order, stage: Stage) -> ComposedApp | None:
    """What the app shall be in this stage instead of its target; None: gone."""
    former = stage.former
    if former is None or stage.name == UP:
        return former
    if isinstance(order, ServiceOrder):
        return without(former, [order.service_name])
    return None if verb_of(order) == "purge" else without(former, [s.service_name for s in former.services])


def to_start(order: Order, stage: Stage, world: World) -> frozenset[str]:
    """Ids of containers that stand still and shall run by this order."""
    if not isinstance(order, ServiceOrder) or order.verb != "start" or stage.name != UP:
        return frozenset()
    mine = [c for c in world.containers if (c.app_id, c.service_name) == (order.app_id, order.service_name)]
    return frozenset(c.container_id for c in newest_first(mine)[:1] if c.status == "exited")


def _wanted(app: ComposedApp | None, name: str) -> bool:
    """Whether the target wants it to run, whatever a user has said since."""
    service = service_of(app, name)
    return service is None or service.running or service.stopped_by_user
