"""Which rows of table ``image`` stand for the image of a service or container, each found without a search."""

from __future__ import annotations

from collections import defaultdict

from balena_supervisor.model.image import ImageRow, ImageState
from balena_supervisor.model.service import Container, Service
from balena_supervisor.state.image_name import digest_of


class ImageRows:
    """The available rows of one picture of the images."""

    def __init__(self, images: ImageState) -> None:
        self._by_id: defaultdict[str | None, list[ImageRow]] = defaultdict(list)
        self._by_name: defaultdict[str, list[ImageRow]] = defaultdict(list)
        for row in images.available:
            self._by_id[row.docker_image_id].append(row)
            self._by_name[row.ref.name].append(row)
        self._digests = {digest_of(name) for name in self._by_name} - {""}
        self._names_of_id: defaultdict[str, list[str]] = defaultdict(list)
        for name, details in images.details.items():
            self._names_of_id[details.id].append(name)

    def has(self, service: Service) -> bool:
        """Whether an available row makes the image of a target service present: by engine id, name or digest."""
        by_id = service.docker_image_id is not None and service.docker_image_id in self._by_id
        return by_id or service.image_name in self._by_name or digest_of(service.image_name) in self._digests

    def of_container(self, container: Container) -> list[ImageRow]:
        """The row that a current container stands for; all rows of its engine image when none fits exactly.

        The engine id of an old row may be missing or outdated; then its name says which image is meant.
        """
        image = container.docker_image_id or container.config.image
        named = [row for name in self._names_of_id.get(image, ()) for row in self._by_name.get(name, ())]
        exact = [
            row
            for row in named
            if row.ref.commit == container.commit and row.ref.service_name == container.service_name
        ]
        return exact or [*self._by_id.get(image, ()), *named]
