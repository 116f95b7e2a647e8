"""The containers actor's picture: the newest look at each container, by the number of the look."""

from __future__ import annotations

from collections.abc import Iterable

from balena_supervisor.model.service import Container


class ContainerPicture:
    """Containers by id. A look with a lower number than the one that is shown changes nothing.

    A container that is gone leaves its number behind until a later listing, so that an old answer does not bring it
    back.
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, Container | None]] = {}

    def __contains__(self, container_id: object) -> bool:
        return container_id in self._seen and self._seen[str(container_id)][1] is not None

    def containers(self) -> tuple[Container, ...]:
        """In a stable order: by app, service and age."""
        present = [container for _, container in self._seen.values() if container is not None]
        return tuple(sorted(present, key=lambda one: (one.app_id, one.service_name, one.created_at, one.container_id)))

    def by_id(self) -> dict[str, Container]:
        """All that are there. From any thread."""
        return {container_id: one for container_id, (_, one) in self._seen.copy().items() if one is not None}

    def of_app(self, app_id: int) -> tuple[Container, ...]:
        return tuple(container for container in self.containers() if container.app_id == app_id)

    def show(self, tick: int, container_id: str, container: Container | None) -> bool:
        """Take one look; None means that it is gone. True when the picture has changed."""
        last_tick, last = self._seen.get(container_id, (0, None))
        if tick < last_tick:
            return False
        self._seen[container_id] = (tick, container)
        return container != last

    def show_all(self, tick: int, containers: Iterable[Container]) -> bool:
        """Take a whole listing. True when the picture has changed."""
        listed = {container.container_id: container for container in containers}
        changed = False
        for container_id, (last_tick, last) in list(self._seen.items()):
            if container_id not in listed and last_tick < tick:
                del self._seen[container_id]
                changed = changed or last is not None
        for container_id, container in listed.items():
            changed = self.show(tick, container_id, container) or changed
        return changed
