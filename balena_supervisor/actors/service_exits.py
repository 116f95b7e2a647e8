"""The last ends of the processes of each service, for whoever asks why something was restarted."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from balena_supervisor.adapters.engine_events import EngineEvent
from balena_supervisor.model.service import Container, ServiceExit
from balena_supervisor.state import coerce
from balena_supervisor.state.labels import APP_ID, SERVICE_NAME, rewritten

KEPT = 5
#: the event of an end comes after the time that inspect gives for it, on a slow device by this much at most
_LATEST = timedelta(seconds=10)


class ServiceExits:
    """Takes events, and looks for what was not heard. In memory only.

    An event knows the exit code, which inspect forgets when the container is started again.
    """

    def __init__(self) -> None:
        self._ends: dict[tuple[int, str], list[ServiceExit]] = {}
        #: those that only a look has shown: container and time
        self._looked: set[tuple[str, str]] = set()
        self._asked: set[str] = set()
        self._out_of_memory: set[str] = set()
        self._absent: set[tuple[int, str]] = set()

    def shown(self) -> tuple[ServiceExit, ...]:
        """By app and service, the oldest first."""
        return tuple(end for key in sorted(self._ends) for end in self._ends[key])

    def asked(self, container_id: str) -> None:
        """The supervisor is about to stop it. Holds until it is started again."""
        self._asked.add(container_id)

    def not_asked(self, container_id: str) -> None:
        self._asked.discard(container_id)

    def heard(self, event: EngineEvent) -> bool:
        """An event of a container. True when there is another end."""
        if event.action == "oom":
            self._out_of_memory.add(event.id)
        elif event.action == "start":
            self._forget(event.id)
        elif event.action == "die":
            return self._died(event)
        elif event.action == "destroy":
            self._forget(event.id)
        return False

    def seen(self, containers: Iterable[Container]) -> bool:
        """A listing of all containers. True when it changed something.

        What no listing has shown twice in a row is gone for good; between the old and the new container of a service
        there may be none for a moment.
        """
        there = {(container.app_id, container.service_name) for container in containers}
        gone = {key for key in self._ends.keys() - there if key in self._absent}
        self._absent = self._ends.keys() - there - gone
        for key in gone:
            self._drop(key)
        added = [self._looked_at(container) for container in containers if container.finished_at]
        return bool(gone) or any(added)

    def _died(self, event: EngineEvent) -> bool:
        labels = rewritten(event.attributes)
        app_id, service_name = coerce.to_numeric_id(labels.get(APP_ID)), labels.get(SERVICE_NAME)
        if not app_id or not service_name or not event.at:
            return False
        end = ServiceExit(
            app_id=app_id,
            service_name=service_name,
            container_id=event.id,
            at=event.at,
            exit_code=coerce.to_numeric_id(event.attributes.get("exitCode")),
            out_of_memory=event.id in self._out_of_memory,
            asked=event.id in self._asked,
        )
        self._out_of_memory.discard(event.id)
        known = self._ends.get((app_id, service_name), [])
        if any((other.container_id, other.at) == (end.container_id, end.at) for other in known):
            return False  # a stream that is opened again begins a little earlier
        for place, other in enumerate(known):
            if self._is_same(end, other):
                known[place] = end
                self._looked.discard((other.container_id, other.at))
                return True
        self._add(end)
        return True

    def _is_same(self, end: ServiceExit, other: ServiceExit) -> bool:
        """Whether a look has shown this end before its event came."""
        if other.container_id != end.container_id or (other.container_id, other.at) not in self._looked:
            return False
        return timedelta() <= _moment(end.at) - _moment(other.at) <= _LATEST

    def _looked_at(self, container: Container) -> bool:
        moment = _moment(container.finished_at)
        known = self._ends.get((container.app_id, container.service_name), [])
        if any(end.container_id == container.container_id and _moment(end.at) >= moment for end in known):
            return False
        self._looked.add((container.container_id, container.finished_at))
        self._add(
            ServiceExit(
                app_id=container.app_id,
                service_name=container.service_name,
                container_id=container.container_id,
                at=container.finished_at,
                exit_code=container.exit_code,
                asked=container.container_id in self._asked,
            )
        )
        return True

    def _add(self, end: ServiceExit) -> None:
        ends = self._ends.setdefault((end.app_id, end.service_name), [])
        ends.append(end)
        for old in ends[:-KEPT]:
            self._looked.discard((old.container_id, old.at))
        del ends[:-KEPT]

    def _drop(self, key: tuple[int, str]) -> None:
        for end in self._ends.pop(key):
            self._looked.discard((end.container_id, end.at))

    def _forget(self, container_id: str) -> None:
        self._asked.discard(container_id)
        self._out_of_memory.discard(container_id)


def _moment(text: str) -> datetime:
    """What cannot be read counts as long ago."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
