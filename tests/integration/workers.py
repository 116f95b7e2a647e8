"""Workers of one workshop on a real engine, as tests drive them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pykka
from msgspec import structs

from balena_supervisor.actors.containers import ContainerPorts, Containers
from balena_supervisor.actors.images import ImagePorts, Images
from balena_supervisor.actors.resources import ResourcePorts
from balena_supervisor.actors.worker import Worker
from balena_supervisor.adapters.engine import Engine
from balena_supervisor.adapters.lock_files import LockFiles
from balena_supervisor.clock import Clock, SystemClock
from balena_supervisor.messages import ContainersChanged
from balena_supervisor.migrations.runner import migrate
from balena_supervisor.model.lock import lock_folder
from balena_supervisor.model.service import Container
from balena_supervisor.model.state import StepId
from balena_supervisor.runtime.actor import Deliver
from balena_supervisor.runtime.message import Event
from balena_supervisor.steps import Step, StepDone, StepFailed
from tests.fakes.ports import FakePost
from tests.fakes.timers import EndingTimers
from tests.integration.workshop import Workshop


class Workers:
    """Workers of one workshop; steps are carried out one by one or together."""

    def __init__(self, workshop: Workshop, folder: Path) -> None:
        self.workshop = workshop
        self.post = FakePost()
        self.clock: Clock = SystemClock()
        place = lock_folder(workshop.instance)
        self.lock_folder = Path(place)
        self.locks = LockFiles(self.lock_folder, place)
        self._timers = EndingTimers()
        self._folder = folder
        self._steps = 0
        self._started: list[pykka.ActorRef[Any]] = []

    def start(self, worker: type[Worker[Any]], picture: type[Event], **more: Any) -> pykka.ActorRef[Any]:
        ports: dict[str, Any] = {
            "name": worker.__name__.lower(),
            "generation": 1,
            "post": self.post,
            "clock": self.clock,
            "timers": self._timers,
            "engine": lambda: Engine(self.workshop.host),
            "instance": self.workshop.instance,
        }
        actor: pykka.ActorRef[Any]
        if worker is Images:
            database = self._folder / "database.sqlite"
            migrate(database, self._folder / "config.json")
            actor = Images.start(ImagePorts(**ports, database_path=database, **more))
        elif worker is Containers:
            actor = Containers.start(ContainerPorts(**ports, locks=self.locks))
        else:
            actor = worker.start(ResourcePorts(**ports))
        self._started.append(actor)
        self.post.wait_for(picture, lambda event: event.engine.up)  # type: ignore[attr-defined]  # all pictures have it
        return actor

    def begin(self, actor: pykka.ActorRef[Any], step: Step) -> StepId:
        """Send a step, without waiting for its end."""
        self._steps += 1
        number = StepId(1, self._steps)
        actor.ask(Deliver(structs.replace(step, step=number)), timeout=10)
        return number

    def carry_out(self, actor: pykka.ActorRef[Any], *steps: Step) -> list[StepDone | StepFailed]:
        numbers = [self.begin(actor, step) for step in steps]
        return [self.outcome(number) for number in numbers]

    def done(self, actor: pykka.ActorRef[Any], *steps: Step) -> None:
        outcomes = self.carry_out(actor, *steps)
        assert [outcome for outcome in outcomes if isinstance(outcome, StepFailed)] == []

    def containers(self) -> tuple[Container, ...]:
        return self.post.of(ContainersChanged)[-1].containers

    def outcome(self, number: StepId) -> StepDone | StepFailed:
        def mine(message: StepDone | StepFailed) -> bool:
            return message.step == number

        return self.post.wait_for(StepDone | StepFailed, mine, timeout_s=60)  # type: ignore[arg-type]  # a union serves

    def stop(self) -> None:
        for actor in self._started:
            actor.stop(timeout=10)
        self._timers.close()
