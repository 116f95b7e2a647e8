"""The three workers as one model: they take steps by their pure effects and publish what the real ones would."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import msgspec
import pykka

from balena_supervisor.actors.picture import worker_of
from balena_supervisor.errors import ErrorRecord, Withdrawn
from balena_supervisor.messages import (
    ContainersChanged,
    ForgetLocalApps,
    GetInventory,
    GetSeq,
    ImagesChanged,
    RemoveBeside,
    ResourcesChanged,
)
from balena_supervisor.model.image import ImageDetails
from balena_supervisor.model.inventory import Inventory
from balena_supervisor.model.lock import AppLock
from balena_supervisor.model.state import EngineLink, Seq
from balena_supervisor.runtime.actor import Deliver
from balena_supervisor.runtime.message import Message, Request
from balena_supervisor.state.effects import effect
from balena_supervisor.state.world import World
from balena_supervisor.steps import Step, StepDone, StepFailed
from tests.fakes.ports import FakePost

UP = EngineLink(up=True, reason="")


class WorkersPost(FakePost):
    """Answers at once what the switch of local mode asks: the engine has nothing of others. ``refusal`` is what the
    others answer instead."""

    refusal: Exception | None = None

    def ask(self, recipient: str, message: Request[Any], timeout_s: float) -> Future[Any]:
        future: Future[Any] = super().ask(recipient, message, timeout_s)
        if self.refusal is not None and isinstance(message, GetInventory | RemoveBeside | ForgetLocalApps):
            future.set_exception(self.refusal)
        elif isinstance(message, GetInventory):
            future.set_result(Inventory())
        elif isinstance(message, RemoveBeside | ForgetLocalApps):
            future.set_result(None)
        return future


class FakeWorkers:
    """A post whose workers carry out steps at once, unless the test holds or fails them.

    Connect it with :meth:`attach`; steps that are ``held`` stay under way until :meth:`release`. ``alters`` makes the
    engine do something else than it was told.
    """

    def __init__(self, world: World | None = None) -> None:
        self.post = WorkersPost()
        self.world = world or World()
        self.target_version = 0
        self.link = UP
        self.held: Callable[[Step], bool] = lambda _step: False
        self.fails: Callable[[Step], str | ErrorRecord] = lambda _step: ""
        self.alters: Callable[[Step], Step] = lambda step: step
        self._number = 0
        self._taken = 0
        self._waiting: list[Step] = []
        self._planner: pykka.ActorRef[Any] | None = None

    def attach(self, planner: pykka.ActorRef[Any]) -> None:
        self._planner = planner

    def deliver(self, message: Message) -> Any:
        assert self._planner is not None
        return self._planner.ask(Deliver(message), timeout=5)

    def publish(self) -> None:
        """All three pictures, as they are now."""
        self._number += 1
        images = msgspec.structs.replace(self.world.images, target_version=self.target_version)
        busy: dict[str, tuple[str, ...]] = {
            worker: tuple(step.subject for step in self._waiting if worker_of(step) == worker)
            for worker in ("images", "containers", "resources")
        }
        self.deliver(ImagesChanged(seq=self.seq, images=images, busy=busy["images"], engine=self.link))
        self.deliver(
            ContainersChanged(
                seq=self.seq,
                containers=self.world.containers,
                tasks=self.world.tasks,
                locks=tuple(
                    AppLock(app_id=app_id, services=tuple(sorted(names))) for app_id, names in self.world.locks.items()
                ),
                busy=busy["containers"],
                engine=self.link,
            )
        )
        self.deliver(
            ResourcesChanged(
                seq=self.seq,
                networks=self.world.networks,
                volumes=self.world.volumes,
                supervisor_network_ready=self.world.supervisor_network_ready,
                busy=busy["resources"],
                engine=self.link,
            )
        )

    @property
    def seq(self) -> Seq:
        return Seq(1, self._number)

    def has_image(self, name: str, **details: Any) -> None:
        images = self.world.images
        known = {**images.details, name: ImageDetails(id=f"sha256:{name}", **details)}
        self.world = msgspec.structs.replace(self.world, images=msgspec.structs.replace(images, details=known))

    def answer_seqs(self) -> None:
        for _, message, future in self.post.asked:
            if isinstance(message, GetSeq) and not future.done():
                future.set_result(self.seq)

    def work(self, limit: int = 200) -> list[Step]:
        """Carry out all steps until the planner sends no more; returns those taken."""
        taken: list[Step] = []
        for _ in range(limit):
            self.settle()
            fresh = self.post.of(Step)[self._taken :]
            if not fresh:
                return taken
            self._taken += len(fresh)
            for step in fresh:
                taken.append(step)
                if self.held(step):
                    self._waiting.append(step)
                else:
                    self._carry_out(step)
        raise AssertionError("the planner does not come to an end")

    def release(self) -> None:
        waiting, self._waiting = self._waiting, []
        for step in waiting:
            self._carry_out(step)

    def withdraw(self) -> None:
        """Give back what is held, as a worker does with steps that have not begun."""
        waiting, self._waiting = self._waiting, []
        self.publish()
        for step in waiting:
            error = ErrorRecord(Withdrawn.code, "a newer target came")
            self.deliver(StepFailed(step=step.step, seen=self.seq, error=error))

    def drop(self) -> None:
        """Give up what is held, as after a dead letter."""
        self._waiting = []
        self.publish()

    def take_over(self, other: FakeWorkers) -> None:
        """Go on with what other workers hold: the same workers, seen by another planner."""
        self._waiting = other._waiting

    def settle(self) -> None:
        """Wait until the planner has handled all that was deferred before now."""
        assert self._planner is not None
        for _ in range(3):
            self._planner.proxy().name.get(timeout=5)

    def _carry_out(self, step: Step) -> None:
        reason = self.fails(step)
        if not reason:
            self.world = effect(self.alters(step), self.world)
        self.publish()
        notice: StepDone | StepFailed = StepDone(step=step.step, seen=self.seq)
        if reason:
            error = reason if isinstance(reason, ErrorRecord) else ErrorRecord("engine-error", reason)
            notice = StepFailed(step=step.step, seen=self.seq, error=error)
        self.deliver(notice)
