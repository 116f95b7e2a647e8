"""Hand-over, locks and ends of services on a real engine, with containers that write the files themselves."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Any

import msgspec
import pykka
import pytest
from msgspec import structs

from balena_supervisor.actors.containers import Containers
from balena_supervisor.adapters.lock_files import HAND_OVER_NAMES
from balena_supervisor.messages import ContainersChanged
from balena_supervisor.model.service import Container, Healthcheck, PortBinding, Service
from balena_supervisor.state.compose_volumes import lock_volumes
from balena_supervisor.steps import HandOver, ReleaseLocks, StartService, StepDone, StepFailed, StopService, TakeLocks
from tests.fakes.ports import FakeClock
from tests.integration.workers import Workers
from tools.dev_parts.paths import ROOT
from tools.dev_parts.registry import free_port

pytestmark = [pytest.mark.engine, pytest.mark.root]

WAIT = 'trap "exit 0" TERM; while :; do sleep 1000 & wait; done'


class Stage:
    """A service with its old container, which runs, and ways to a new one."""

    def __init__(self, workers: Workers, **config: Any) -> None:
        self.workers = workers
        self.shop = workers.workshop
        self.image = self.shop.image()
        self.volumes = lock_volumes(self.shop.app_id, "main", self.shop.instance)
        self.actor: pykka.ActorRef[Any] = workers.start(Containers, ContainersChanged)
        self.first = self.service(WAIT, **config)
        workers.done(self.actor, StartService(service=self.first))
        workers.done(self.actor, TakeLocks(app_id=self.shop.app_id, services=("main",)))
        (self.old,) = workers.containers()

    def service(self, script: str, **config: Any) -> Service:
        command = ("/bin/sh", "-c", script)
        return self.shop.service(self.image, command=command, volumes=self.volumes, **config)

    def newer(self, script: str = WAIT, **config: Any) -> Service:
        made = self.service(script, **{"environment": {"PATH": "/bin", "NEW": "1"}, **config})
        return structs.replace(made, image_id=11, release_id=21, commit=f"{made.commit}1")

    def step(self, new: Service, timeout_s: float = 3600) -> HandOver:
        return HandOver(container=self.old, service=new, timeout_s=timeout_s)

    def both_run(self, event: ContainersChanged) -> bool:
        names = {container.name for container in event.containers if container.status == "Running"}
        return len(names) == 2 and f"old_{self.first.container_name}" in names

    def check(self, service: Service) -> None:
        """Exactly this service's container is there, runs, and has its restart policy."""
        (container,) = self.workers.containers()
        assert (container.name, container.status) == (service.container_name, "Running")
        inspected = self.shop.client.inspect_container(container.container_id)
        assert inspected["HostConfig"]["RestartPolicy"]["Name"] == "always"
        label = {"label": f"io.balena.supervisor.instance={self.shop.instance}"}
        assert len(self.shop.client.containers(all=True, filters=label)) == 1

    def files(self) -> set[str]:
        folder = self.workers.lock_folder / str(self.shop.app_id) / "main"
        return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("name", HAND_OVER_NAMES)
@pytest.mark.parametrize("user", ["", "1234:1234"])
def test_the_new_container_takes_over_by_a_file_that_it_writes(workers: Workers, name: str, user: str) -> None:
    stage = Stage(workers)
    new = stage.newer(f"echo yes > /tmp/balena/{name} || exit 9; {WAIT}", user=user)
    workers.done(stage.actor, stage.step(new))
    stage.check(new)
    assert stage.files() == {"updates.lock", "resin-updates.lock"}
    workers.done(stage.actor, ReleaseLocks(app_id=stage.shop.app_id))
    assert stage.files() == set()
    assert [(end.container_id, end.asked) for end in exits(workers, 1)] == [(stage.old.container_id, True)]


def exits(workers: Workers, count: int) -> tuple[Any, ...]:
    return workers.post.wait_for(ContainersChanged, lambda event: len(event.exits) == count).exits


def test_a_healthy_new_container_takes_over(workers: Workers) -> None:
    stage = Stage(workers)
    check = Healthcheck(test=("CMD", "/bin/sh", "-c", "test -e /ready"), interval_ns=200_000_000)
    new = stage.newer(f"read line < /tmp/balena/go; : > /ready; {WAIT}", healthcheck=check)
    folder = workers.lock_folder / str(stage.shop.app_id) / "main"
    make_pipe(folder / "go")
    number = workers.begin(stage.actor, stage.step(new))
    workers.post.wait_for(ContainersChanged, stage.both_run, timeout_s=30)
    (folder / "go").write_text("go\n")
    assert isinstance(workers.outcome(number), StepDone)
    stage.check(new)


def make_pipe(path: Any) -> None:
    subprocess.run(["mkfifo", "-m", "666", str(path)], check=True)


def test_the_time_limit_counts_as_a_take_over(workers: Workers) -> None:
    workers.clock = clock = FakeClock()
    stage = Stage(workers)
    new = stage.newer()
    number = workers.begin(stage.actor, stage.step(new))
    workers.post.wait_for(ContainersChanged, stage.both_run, timeout_s=30)
    clock.jump_wall(-366 * 86400)
    clock.advance(3600)
    assert isinstance(workers.outcome(number), StepDone)
    stage.check(new)


@pytest.mark.parametrize(
    ("script", "cause"), [("exit 3", "the new container ended with exit code 3"), (WAIT, "port is already allocated")]
)
def test_the_old_container_stays_when_the_new_one_cannot_take_over(workers: Workers, script: str, cause: str) -> None:
    port_80 = (PortBinding(80, "tcp", "127.0.0.1", free_port()),)
    published: dict[str, Any] = {"network": "bridge", "networks": {}, "ports": port_80}
    stage = Stage(workers, **(published if script == WAIT else {}))
    config = published if script == WAIT else {"restart": "no"}
    (failed,) = workers.carry_out(stage.actor, stage.step(stage.newer(script, **config)))
    assert isinstance(failed, StepFailed)
    assert cause in failed.error.message
    stage.check(stage.first)


#: set the policy, rename, create, start, stop, remove
@pytest.mark.parametrize("calls", range(1, 7))
def test_a_process_that_was_killed_after_any_call_is_made_up_for(workers: Workers, calls: int) -> None:
    stage = Stage(workers)
    new = stage.newer()
    step = stage.step(new, timeout_s=0)
    stage.actor.stop(timeout=10)
    killed = subprocess.run(
        [sys.executable, "-m", "tests.integration.cut_hand_over", stage.shop.host, stage.shop.instance, str(calls)],
        input=msgspec.json.encode(step),
        cwd=ROOT,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    again = workers.start(Containers, ContainersChanged)
    workers.done(again, step)
    stage.check(new)


def test_a_container_locks_its_app_for_as_long_as_it_runs(workers: Workers) -> None:
    shop = workers.workshop
    actor = workers.start(Containers, ContainersChanged)
    workers.done(actor, TakeLocks(app_id=shop.app_id, services=("main",)), ReleaseLocks(app_id=shop.app_id))
    volumes = lock_volumes(shop.app_id, "main", shop.instance)
    command = ("/bin/sh", "-c", f": > /tmp/balena/updates.lock; echo > /tmp/balena/ready; {WAIT}")
    workers.done(actor, StartService(service=shop.service(shop.image(), command=command, volumes=volumes)))
    (container,) = workers.containers()
    wait_for_lock(workers, container)
    take = TakeLocks(app_id=shop.app_id, services=("main", "side"))
    (failed,) = workers.carry_out(actor, take)
    assert isinstance(failed, StepFailed)
    path = f"/tmp/balena-supervisor-{shop.instance}/services/{shop.app_id}/main/updates.lock"
    assert (failed.error.code, failed.error.fields["locks"][0]["path"]) == ("locked", path)
    workers.done(actor, StopService(container=container))
    workers.done(actor, take)
    (held,) = workers.post.of(ContainersChanged)[-1].locks
    assert (held.app_id, held.services) == (shop.app_id, ("main", "side"))


def wait_for_lock(workers: Workers, container: Container) -> None:
    """Until the lock is there, seen from inside."""
    client = workers.workshop.client
    script = "until [ -e /tmp/balena/ready ]; do :; done"
    made = client.exec_create(container.container_id, ["/bin/sh", "-c", script])
    client.exec_start(made["Id"])
