"""Table ``image``: one row for each image, service and release that was made available. Only images writes it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import and_

import msgspec
import peewee

from balena_supervisor.db.connection import dicts, reading, tuples, writing
from balena_supervisor.db.models import Image
from balena_supervisor.model.image import ImageRef, ImageRow


class ImageStore:
    def __init__(self, database: peewee.SqliteDatabase) -> None:
        self._database = database

    def rows(self) -> tuple[ImageRow, ...]:
        """All rows in the order in which they came. A NULL of an old row reads as ``""`` or 0."""
        with reading(self._database):
            rows = dicts(Image.select().order_by(Image.id), self._database)
            return tuple(_image_row(row) for row in rows)

    def save(self, images: Iterable[tuple[ImageRef, str | None]]) -> None:
        """Keep images with their engine ids, in one transaction.

        A row that has exactly these values stays and only gets the engine id, if one is given; else one is inserted.
        """
        with writing(self._database):
            for ref, docker_image_id in images:
                self._save(ref, docker_image_id)

    def set_docker_id(self, row_id: int, docker_image_id: str | None) -> None:
        """Write the engine id of a row; None when the engine no longer has the image."""
        with writing(self._database):
            Image.update(docker_image_id=docker_image_id).where(Image.id == row_id).execute(self._database)

    def delete(self, row_ids: Iterable[int]) -> None:
        """Remove rows; unknown ids are fine."""
        with writing(self._database):
            Image.delete().where(Image.id.in_(list(row_ids))).execute(self._database)

    def _save(self, ref: ImageRef, docker_image_id: str | None) -> None:
        values = msgspec.structs.asdict(ref)
        same = reduce(and_, (getattr(Image, name) == value for name, value in values.items()))
        found = tuples(Image.select(Image.id, Image.docker_image_id).where(same), self._database)
        if not found:
            Image.insert(**values, docker_image_id=docker_image_id).execute(self._database)
        for row_id, before in found:
            if docker_image_id is not None and docker_image_id != before:
                self.set_docker_id(row_id, docker_image_id)


def _image_row(row: dict[str, object]) -> ImageRow:
    def text(name: str) -> str:
        return str(row[name] or "")

    def number(name: str) -> int:
        value = row[name]
        return value if isinstance(value, int) else 0

    return ImageRow(
        id=number("id"),
        docker_image_id=text("docker_image_id") or None,
        ref=ImageRef(
            name=text("name"),
            app_id=number("app_id"),
            app_uuid=text("app_uuid"),
            service_id=number("service_id"),
            service_name=text("service_name"),
            image_id=number("image_id"),
            release_id=number("release_id"),
            commit=text("commit"),
        ),
    )
