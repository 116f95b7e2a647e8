"""The hand-over from an old container of a service to its new one (spec apply-loop 3.11). Runs in a pool of its own.

It may be repeated after a death at any point: it finds the old container set aside, and the new one that is as wanted.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from contextlib import suppress

from balena_supervisor.actors.container_jobs import ContainerJobs, ContainerReport
from balena_supervisor.actors.worker import act_and_look
from balena_supervisor.adapters.engine import Engine
from balena_supervisor.adapters.lock_files import LockFiles
from balena_supervisor.clock import Clock
from balena_supervisor.errors import EngineError, EngineUnavailable, NotFound, SupervisorError, Withdrawn
from balena_supervisor.model.service import Container
from balena_supervisor.runtime import output
from balena_supervisor.steps import HandOver, StartService

#: how often it is looked for the files, and after how many times at the new container
LOOK_S = 0.1
_LOOKS = 10
_ASIDE = "old_"
_UP = {"Running", "paused", "restarting"}
#: with these, a program that ends well has done what it was there for
_ENDS_WELL = {"no", "on-failure"}


class HandOvers:
    """Carries out :class:`HandOver`. Each takes a thread for as long as it waits."""

    def __init__(self, engine: Engine, jobs: ContainerJobs, locks: LockFiles, clock: Clock) -> None:
        self._engine = engine
        self._jobs = jobs
        self._locks = locks
        self._clock = clock

    def hand_over(
        self, step: HandOver, present: Sequence[Container], report: ContainerReport, ended: threading.Event
    ) -> None:
        """Start the new container beside the old one, wait until it takes over, then stop and remove the old one.

        ``ended`` gives up the wait: ``Withdrawn``, and both stay. When the new container cannot be started or ends
        without taking over, it is removed, and the old one gets its name and restart policy back.
        """
        old, new_id = step.container, ""
        report.doing("Handing over", old.container_id)
        quiet = ContainerReport(report.tick, report.shown, lambda _status, _id: None, report.unreadable)
        try:
            is_up = self._set_aside(old, report)
            others = [container for container in present if container.container_id != old.container_id]
            start = StartService(service=step.service, device_name=step.device_name)
            new_id = self._jobs.install(start, others, quiet)
            self._start(step, new_id, quiet)
            if is_up:
                self._wait(step, new_id, quiet, ended)
        except Withdrawn:
            raise
        except SupervisorError:
            self._put_back(step, new_id, report)
            raise
        self._jobs.kill(old, report)
        with suppress(SupervisorError):
            # not before: a repeat after a death between the file and here need not wait for another one
            self._locks.take_signal(step.service.app_id, step.service.service_name)

    def _set_aside(self, old: Container, report: ContainerReport) -> bool:
        """Free the name for the new container. False: it does not run any more, so nothing has to be waited for."""
        try:
            # else the engine would start it again between its end and its removal
            self._engine.set_restart_policy(old.container_id, "no")
            self._jobs.rename_to(old.container_id, _name_aside(old))
        except NotFound:
            return False
        there = self._jobs.look(old.container_id, report)
        return there is not None and there.status in _UP

    def _start(self, step: HandOver, new_id: str, report: ContainerReport) -> None:
        new = self._jobs.look(new_id, report)
        if new is None or new.status not in _UP:
            # a file from before would end the wait; one that comes from now on is of the new container
            self._locks.take_signal(step.service.app_id, step.service.service_name)
        act_and_look(lambda: self._jobs.run(step.service, new_id), lambda: self._jobs.look(new_id, report))

    def _wait(self, step: HandOver, new_id: str, report: ContainerReport, ended: threading.Event) -> None:
        service, end = step.service, self._clock.monotonic() + step.timeout_s
        for count in itertools.count():
            if self._locks.take_signal(service.app_id, service.service_name, keep=True):
                return
            if count % _LOOKS == 0 and self._has_taken_over(step, new_id, report):
                return
            if self._clock.monotonic() >= end:
                fields = {"service": service.service_name, "timeout_s": step.timeout_s}
                output.log("info", "containers", "the new container did not say that it took over", **fields)
                return
            if ended.wait(LOOK_S):
                raise Withdrawn(f"a newer target came while service {service.service_name} was handed over")

    def _has_taken_over(self, step: HandOver, new_id: str, report: ContainerReport) -> bool:
        """Whether the new container is healthy, or has done its work. Raises when it ended otherwise."""
        service = step.service
        try:
            new = self._jobs.look(new_id, report)
            self._jobs.look(step.container.container_id, report)
        except (EngineError, EngineUnavailable):
            return False  # it may come back in time
        if new is not None and new.status in _UP:
            return new.health == "healthy"
        if new is not None and new.exit_code == 0 and service.config.restart in _ENDS_WELL:
            return True
        end = "is gone" if new is None else f"ended with exit code {new.exit_code}"
        raise SupervisorError(f"cannot hand over service {service.service_name}: the new container {end}")

    def _put_back(self, step: HandOver, new_id: str, report: ContainerReport) -> None:
        """As it was before, as far as the engine lets us. A new container that runs is kept."""
        old, aside = step.container, _name_aside(step.container)
        name, policy = old.name.removeprefix("/"), old.config.restart
        if name == aside:
            # an interrupted hand-over has set it aside already; what its policy was is not known any more
            name = aside.removeprefix(_ASIDE)
            policy = step.service.config.restart if policy == "no" else policy
        with suppress(SupervisorError):
            if new_id:
                self._engine.remove_container(new_id)
        with suppress(SupervisorError):
            self._jobs.rename_to(old.container_id, name)
        with suppress(SupervisorError):
            self._engine.set_restart_policy(old.container_id, policy)
            if old.status in _UP:
                self._engine.start_container(old.container_id)  # in case that it ended meanwhile
        for container_id in filter(None, (new_id, old.container_id)):
            with suppress(SupervisorError):
                self._jobs.look(container_id, report)


def _name_aside(old: Container) -> str:
    parts = (old.service_name, str(old.image_id), str(old.release_id), old.commit)
    return _ASIDE + "_".join(part for part in parts if part)
