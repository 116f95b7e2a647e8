"""The planner: what to do next to bring the world to the target. Pure.

:func:`plan` is level-triggered. It looks at the whole world and the whole target and says which steps can be taken
*now*, each with a reason, and what has to wait for what. Steps already under way are given as busy subjects; nothing
is planned for those. Taking the steps and planning again leads to an empty plan, which means: applied.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from balena_supervisor.model.app import ComposedApp
from balena_supervisor.model.state import Waiting
from balena_supervisor.state.coerce import is_truthy
from balena_supervisor.state.image_rows import ImageRows
from balena_supervisor.state.plan_app import Look, plan_app, plan_removed_app
from balena_supervisor.state.plan_images import plan_images
from balena_supervisor.state.subjects import is_of_app
from balena_supervisor.state.world import Memory, Rules, World
from balena_supervisor.steps import EnsureSupervisorNetwork, KillService, ReleaseLocks, Step

SUPERVISOR_API = "io.balena.features.supervisor-api"
SUPERVISOR_NETWORK = "network:supervisor0"


class CommitUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """An app has settled on a release; the planner itself stores that."""

    app_id: int
    commit: str

    @property
    def subject(self) -> str:
        return f"commit:{self.app_id}"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """``steps`` may be taken at once and in any order. ``waiting`` is what cannot go on yet, and why.

    ``gated``: nothing was planned for the apps themselves, as something of the device comes first.
    """

    steps: tuple[Step, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    commits: tuple[CommitUpdate, ...] = ()
    gated: bool = False

    @property
    def empty(self) -> bool:
        return not self.steps and not self.commits and not any(not entry.settled for entry in self.waiting)


def plan(
    world: World,
    target: Sequence[ComposedApp],
    *,
    rules: Rules = Rules(),  # noqa: B008  # frozen
    busy: frozenset[str] = frozenset(),
    memory: Memory = Memory(),  # noqa: B008  # frozen
) -> Plan:
    """The steps that can be taken now. ``busy`` are the subjects of steps under way."""
    rows = ImageRows(world.images)
    steps = plan_images(world, rows, target, rules, busy, memory.broken)
    waiting: list[Waiting] = []
    commits: list[CommitUpdate] = []
    gate = _supervisor_network(world, busy)
    if gate is not None:
        return Plan(steps=_free([*steps, *gate[0]], busy), waiting=(*waiting, *gate[1]), gated=True)
    look = Look(world=world, rows=rows, rules=rules, busy=busy, memory=memory)
    wanted: dict[int, ComposedApp | None] = {app.app_id: app for app in target}
    for app_id in sorted(wanted.keys() | _current_apps(world) | rules.instead.keys() | world.locks.keys()):
        app = rules.instead.get(app_id, wanted.get(app_id))
        if app_id in rules.frozen:
            continue
        app_steps, app_waiting = _plan_one(look, app_id, app)
        steps.extend(app_steps)
        waiting.extend(app_waiting)
        is_busy = any(is_of_app(subject, app_id) for subject in busy)
        if app_steps or is_busy or not all(wait.settled for wait in app_waiting):
            continue
        if app_id in world.locks and app_id not in rules.held:
            steps.append(ReleaseLocks(app_id=app_id, reason="nothing is left to do for the app"))
        if app is None or app_id in rules.instead or app_waiting:
            continue
        if app.commit is not None and world.commits.get(app_id) != app.commit:
            commits.append(CommitUpdate(app_id=app_id, commit=app.commit))
    return Plan(steps=_free(steps, busy), waiting=tuple(waiting), commits=tuple(commits))


def _plan_one(look: Look, app_id: int, app: ComposedApp | None) -> tuple[list[Step], list[Waiting]]:
    if app is None:
        return plan_removed_app(look, app_id)
    if app.problem or app.rejected:
        return [], [_left_alone(app)]
    return plan_app(look, app)


def _free(steps: Sequence[Step], busy: frozenset[str]) -> tuple[Step, ...]:
    """One step for a subject, and none for a busy one."""
    free: dict[str, Step] = {}
    for step in steps:
        if step.subject not in busy:
            free.setdefault(step.subject, step)
    return tuple(free.values())


def _left_alone(app: ComposedApp) -> Waiting:
    reason = app.problem or "the release is rejected"
    return Waiting(subject=f"app:{app.app_id}", app_id=app.app_id, reason=reason, settled=True)


def _current_apps(world: World) -> set[int]:
    return {thing.app_id for things in (world.containers, world.networks, world.volumes) for thing in things}


def _supervisor_network(world: World, busy: frozenset[str]) -> tuple[list[Step], list[Waiting]] | None:
    """While ``supervisor0`` is missing or wrong: its users go first, then it is made. None when it is right."""
    if SUPERVISOR_NETWORK in busy:
        return [], [Waiting(subject=SUPERVISOR_NETWORK, reason="network supervisor0 is being made")]
    if world.supervisor_network_ready:
        return None
    users = [c for c in world.containers if is_truthy(c.config.labels.get(SUPERVISOR_API))]
    if not users:
        return [EnsureSupervisorNetwork(reason="supervisor0 is missing or has other settings")], []
    kills: list[Step] = [
        KillService(container=user, reason="it uses supervisor0, which is missing or has other settings")
        for user in users
    ]
    waiting = Waiting(
        subject=SUPERVISOR_NETWORK, reason="network supervisor0 is made again when no service uses the wrong one"
    )
    return kills, [waiting]
