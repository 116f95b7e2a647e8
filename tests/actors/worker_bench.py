"""A bench for one worker: the real actor on a simulated engine, with a post that records."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pykka
from msgspec import structs

from balena_supervisor.actors.containers import ContainerPorts, Containers
from balena_supervisor.actors.images import ImagePorts, Images
from balena_supervisor.actors.resources import ResourcePorts, Resources
from balena_supervisor.actors.worker import Worker, WorkerPorts
from balena_supervisor.adapters.engine import Engine
from balena_supervisor.adapters.lock_files import LockFiles
from balena_supervisor.messages import ContainersChanged, ImagesChanged, ResourcesChanged
from balena_supervisor.migrations.runner import migrate
from balena_supervisor.model.resource import Network, NetworkConfig
from balena_supervisor.model.service import Endpoint, Service, ServiceConfig
from balena_supervisor.model.state import StepId
from balena_supervisor.runtime.actor import Deliver
from balena_supervisor.runtime.message import Message
from balena_supervisor.state import labels
from balena_supervisor.steps import Step, StepDone, StepFailed
from tests.fakes.engine.simulated import SimulatedEngine
from tests.fakes.ports import FakeClock, FakePost
from tests.fakes.timers import EndingTimers

APP_ID = 77
APP_UUID = "aa" * 16
Picture = ContainersChanged | ImagesChanged | ResourcesChanged


class WorkerBench:
    """The worker with what it says. The engine is looked at again after 0.05 s instead of a second."""

    def __init__(self, engine: SimulatedEngine, folder: Path) -> None:
        self.engine = engine
        self.lock_folder = folder / "services"
        self.locks = LockFiles(self.lock_folder, "/host/services")
        #: for what other people do on the engine
        self.by_hand = Engine(engine.url)
        self.post = FakePost()
        self.clock = FakeClock()
        self.timers = EndingTimers()
        self._worker: pykka.ActorRef[Any] | None = None
        self._steps = 0

    def ports(self, name: str, generation: int = 1) -> dict[str, Any]:
        return {
            "name": name,
            "generation": generation,
            "post": self.post,
            "clock": self.clock,
            "timers": self.timers,
            "engine": lambda: Engine(self.engine.url),
            "retry_s": 0.05,
        }

    def start(self, worker: type[Worker[Any]], ports: WorkerPorts) -> None:
        self._worker = worker.start(ports)

    def containers(self, generation: int = 1) -> None:
        self.start(Containers, ContainerPorts(**self.ports("containers", generation), locks=self.locks))
        self.post.wait_for(ContainersChanged, lambda event: event.engine.up and event.seq.generation == generation)

    def resources(self) -> None:
        self.start(Resources, ResourcePorts(**self.ports("resources")))
        self.post.wait_for(ResourcesChanged, lambda event: event.engine.up)

    def images(self, folder: Path, **more: Any) -> None:
        database = folder / "database.sqlite"
        if not database.exists():
            migrate(database, folder / "config.json")
        self.start(Images, ImagePorts(**self.ports("images"), database_path=database, **more))
        self.post.wait_for(ImagesChanged, lambda event: event.engine.up)

    def deliver(self, message: Message) -> Any:
        assert self._worker is not None
        return self._worker.ask(Deliver(message), timeout=10)

    def begin(self, step: Step) -> StepId:
        """Send a step, without waiting for its end."""
        self._steps += 1
        number = StepId(1, self._steps)
        self.deliver(_numbered(step, number))
        return number

    def outcome(self, number: StepId) -> StepDone | StepFailed:
        def mine(message: StepDone | StepFailed) -> bool:
            return message.step == number

        return self.post.wait_for(StepDone | StepFailed, mine)  # type: ignore[arg-type]  # isinstance takes a union

    def carry_out(self, step: Step) -> StepDone | StepFailed:
        return self.outcome(self.begin(step))

    def done(self, step: Step) -> None:
        """Carry out a step that must work."""
        outcome = self.carry_out(step)
        assert isinstance(outcome, StepDone), outcome

    def failed(self, step: Step) -> StepFailed:
        """Carry out a step that must fail."""
        outcome = self.carry_out(step)
        assert isinstance(outcome, StepFailed), outcome
        return outcome

    def pictures(self) -> list[Picture]:
        events: list[Picture] = []
        for kind in (ContainersChanged, ImagesChanged, ResourcesChanged):
            events += self.post.of(kind)
        return events

    def stop(self) -> None:
        if self._worker is not None:
            self._worker.stop(timeout=10)
            self._worker = None


@contextmanager
def bench(folder: Path) -> Iterator[WorkerBench]:
    with SimulatedEngine(folder) as engine:
        made = WorkerBench(engine, folder)
        try:
            yield made
        finally:
            engine.faults.clear()
            made.stop()
            made.timers.close()
            made.by_hand.close()


def service(image_id: str, name: str = "main", *, running: bool = True, **config: Any) -> Service:
    """A composed service without a network, unless ``network_mode`` is given."""
    own = {
        labels.SUPERVISED: "true",
        labels.APP_ID: str(APP_ID),
        labels.APP_UUID: APP_UUID,
        labels.SERVICE_ID: "7",
        labels.SERVICE_NAME: name,
    }
    network = config.setdefault("network_mode", "none")
    config.setdefault("networks", {} if network == "none" else {network: Endpoint(aliases=(name,))})
    settings = {"image": image_id, "command": ("/bin/sh",), "labels": own, "environment": {"PATH": "/bin"}, **config}
    return Service(
        app_id=APP_ID,
        app_uuid=APP_UUID,
        app_name="test",
        service_id=7,
        service_name=name,
        image_id=10,
        release_id=20,
        commit="abc",
        image_name="a.io/x:1",
        docker_image_id=image_id,
        running=running,
        depends_on={},
        config=ServiceConfig(**settings),
    )


def network(name: str = "default", **config: Any) -> Network:
    own = NetworkConfig(labels={labels.APP_ID: str(APP_ID)}, **config)
    return Network(app_id=APP_ID, app_uuid=APP_UUID, name=name, engine_name=f"{APP_UUID}_{name}", config=own)


def _numbered(step: Step, number: StepId) -> Step:
    return structs.replace(step, step=number)
