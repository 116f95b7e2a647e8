"""Releases on trial, and those that were given up: the planner's book of them."""

from __future__ import annotations

from collections.abc import Iterable

from balena_supervisor.actors.apply import Apply
from balena_supervisor.db.trial_store import BadRelease, TrialStore
from balena_supervisor.errors import DatabaseRefused
from balena_supervisor.model.app import ComposedApp
from balena_supervisor.model.image import ImageRef
from balena_supervisor.model.state import Waiting
from balena_supervisor.model.target import TargetApp, TargetState
from balena_supervisor.runtime.output import log
from balena_supervisor.state.plan import Plan
from balena_supervisor.state.rollback import Open, Trial, begin, begun, definition, images_of, judge, rollback_s
from balena_supervisor.state.subjects import DEVICE, is_of_app
from balena_supervisor.state.words import app_and_service_of, words_of
from balena_supervisor.state.world import World
from balena_supervisor.steps import CreateNetwork, CreateVolume, HandOver, StartService

#: what a release brings with it: when it fails, that speaks against the release
_BROUGHT = (CreateNetwork, CreateVolume, HandOver, StartService)


class Trials:
    """What takes the place of a bad release, which images it needs, and which releases are not settled yet."""

    def __init__(self, store: TrialStore) -> None:
        self._store = store
        self._bad = store.bad()
        self._trials: dict[int, Trial] = {}
        #: apps that are to be on a release which has not proved itself
        self._unproven: set[int] = set()
        self._target = TargetState()
        self._previous: dict[int, TargetApp] = {}
        #: app id -> how long a release of it has to prove itself
        self._seconds: dict[int, float] = {}

    def new_target(self, target: TargetState) -> None:
        """Marks and trials of releases that the target does not have any more are forgotten."""
        before = {app.app_id: app for app in self._target.apps}
        same = {app.app_id for app in target.apps if app == before.get(app.app_id)}
        self._trials = {app_id: trial for app_id, trial in self._trials.items() if app_id in same}
        self._target = target
        self._seconds = {app.app_id: rollback_s(app, target.config) for app in target.apps}
        self._previous = {app.app_id: app for app in target.previous}
        wanted = {app.app_id: definition(app) for app in target.apps} if self._bad else {}
        kept = {app_id: bad for app_id, bad in self._bad.items() if wanted.get(app_id) == bad.definition}
        self._keep(kept)

    def apps(self) -> tuple[TargetApp, ...]:
        """The target apps, with the release before it in place of each bad one."""
        bad = self._bad
        return tuple(self._previous.get(app.app_id, app) if app.app_id in bad else app for app in self._target.apps)

    def kept(self) -> frozenset[ImageRef]:
        """The images of the releases that may have to come back."""
        refs: frozenset[ImageRef] = frozenset()
        for app_id in self._unproven:
            refs |= images_of(self._previous[app_id])
        return refs

    def bad(self) -> dict[int, str]:
        """App id -> why its release was given up."""
        return {app_id: f"release {bad.commit} was given up: {bad.reason}" for app_id, bad in self._bad.items()}

    def trials(self) -> dict[int, str]:
        """App id -> what is being tried."""
        return {app_id: _words_of(trial) for app_id, trial in self._trials.items()}

    def before(self, target: Iterable[ComposedApp], world: World, now: float) -> None:
        """Before a look: let trials begin, so that no image goes that may be needed again."""
        self._unproven.clear()
        for app in target:
            previous = self._previous.get(app.app_id)
            settled = world.commits.get(app.app_id)
            if app.app_id in self._bad or previous is None or previous.commit != settled or app.commit == settled:
                continue
            if self._seconds.get(app.app_id):
                self._unproven.add(app.app_id)
                if app.app_id in self._trials:
                    continue
                mine = [c for c in world.containers if c.app_id == app.app_id]
                trial = begin(app, mine, now, locked=app.app_id in world.locks)
                if trial is not None:
                    self._trials[app.app_id] = trial

    def looked(  # noqa: PLR0917  # all that a look has found
        self,
        target: Iterable[ComposedApp],
        world: World,
        planned: Plan,
        disturbed: frozenset[int],
        busy: frozenset[str],
        apply: Apply,
        *,
        now: float,
        at: str,
    ) -> tuple[list[Waiting], bool]:
        """After a look: what waits for the end of its trial, and whether a release was given up just now. ``disturbed``
        are apps that a user or the supervisor itself stops and starts, or that wait for a reboot; their trials begin
        anew. ``busy`` are the subjects that are worked on."""
        waiting: list[Waiting] = []
        gave_up = False
        for app in target:
            trial = self._trials.get(app.app_id)
            if trial is None:
                continue
            if app.app_id in disturbed or DEVICE in disturbed:
                self._trials[app.app_id] = begun(trial.commit, now)
                continue
            mine = [c for c in world.containers if c.app_id == app.app_id]
            still = _still_open(app.app_id, planned, busy, apply, now)
            verdict = judge(trial, app, mine, self._seconds[app.app_id], now, still)
            self._trials[app.app_id] = verdict.trial
            if verdict.failed:
                self._give_up(app, verdict.failed, at)
                gave_up = True
            elif verdict.passed:
                log("success", "app", "has proved itself", app=app.app_id, release=app.commit)
                del self._trials[app.app_id]
            else:
                reason, subject = f"{_words_of(trial)}: {verdict.waiting}", f"app:{app.app_id}"
                waiting.append(Waiting(subject=subject, app_id=app.app_id, reason=reason, retry_at=verdict.until))
        return waiting, gave_up

    def begin_anew(self, now: float) -> None:
        """Nothing can be seen of the services: what they did meanwhile says nothing about their release."""
        for app_id, trial in self._trials.items():
            self._trials[app_id] = begun(trial.commit, now)

    def may_settle(self, app_id: int, commit: str | None) -> bool:
        """Whether an app that has all it should have is settled: not on trial, nor on a release given up just now."""
        bad = self._bad.get(app_id)
        return app_id not in self._trials and (bad is None or bad.commit != commit)

    def _give_up(self, app: ComposedApp, reason: str, at: str) -> None:
        del self._trials[app.app_id]
        log("error", "app", "goes back to the release before", app=app.app_id, release=app.commit, reason=reason)
        wanted = next(one for one in self._target.apps if one.app_id == app.app_id)
        mark = BadRelease(
            app_id=app.app_id, commit=app.commit or "", definition=definition(wanted), reason=reason, at=at
        )
        self._keep({**self._bad, app.app_id: mark})

    def _keep(self, bad: dict[int, BadRelease]) -> None:
        if bad == self._bad:
            return
        self._bad = bad
        try:
            self._store.set_bad(bad)
        except DatabaseRefused as error:
            log("warn", "app", "a bad release may be tried again after a restart", reason=error.message)


def _words_of(trial: Trial) -> str:
    return f"release {trial.commit} is on trial"


def _still_open(app_id: int, planned: Plan, busy: frozenset[str], apply: Apply, now: float) -> Open | None:
    """What there is still to do for an app; None when nothing is. It speaks against the release when nothing goes on,
    and what has failed belongs to the release, or a service waits for another."""
    steps = [step for step in planned.steps if app_and_service_of(step)[0] == app_id]
    waits = [wait for wait in planned.waiting if wait.app_id == app_id and not wait.settled]
    held_back = [step for step in steps if apply.hindrance(step, now) is not None]
    failures = apply.back_off.failures
    failed = [(step, failures[step.subject]) for step in held_back if step.subject in failures]
    blamed = [(step, failure) for step, failure in failed if isinstance(step, _BROUGHT)]
    counts = len(held_back) == len(steps) and not any(is_of_app(subject, app_id) for subject in busy)
    for step, failure in blamed or failed:
        return Open(f"cannot {words_of(step)}: {failure.message}", counts and bool(blamed))
    for step in steps:
        return Open(step.reason, counts)
    for wait in waits:
        return Open(f"{wait.service_name or wait.subject}: {wait.reason}", counts)
    return None
