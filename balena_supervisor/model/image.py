"""Images: what the engine has, what the rows say, what is being pulled."""

from __future__ import annotations

from typing import Any

import msgspec


class ImageRef(msgspec.Struct, frozen=True, kw_only=True):
    """The image of one service of one release: a row of table ``image`` without ``id`` and ``dockerImageId``.

    Two rows are the same when all these fields are equal (spec apply-loop 3.4, "metadata").
    """

    name: str
    app_id: int
    app_uuid: str
    service_id: int
    service_name: str
    image_id: int
    release_id: int
    commit: str


class ImageRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row of table ``image``."""

    id: int
    ref: ImageRef
    docker_image_id: str | None = None


class ImageDetails(msgspec.Struct, frozen=True, kw_only=True):
    """What a service takes over from its image (engine inspect, part ``Config``). Empty means the image has none."""

    id: str
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    environment: dict[str, str] = {}
    labels: dict[str, str] = {}
    volumes: tuple[str, ...] = ()
    user: str = ""
    working_dir: str = ""
    stop_signal: str = ""
    #: engine form: Test, Interval, Timeout, StartPeriod, Retries; None when the image has no healthcheck
    healthcheck: dict[str, Any] | None = None


class ImageTask(msgspec.Struct, frozen=True, kw_only=True):
    """A running download or removal. ``progress`` is a whole percent that never goes down within one pull."""

    ref: ImageRef
    status: str  # Downloading | Deleting
    progress: int | None = None


class ImageState(msgspec.Struct, frozen=True, kw_only=True):
    """The picture of the images actor.

    ``available`` are the rows whose image the engine has now. ``details`` maps each *normalised name* that the
    target of ``target_version`` or a row uses, and that the engine has, to what the engine says of it.
    ``cleanup`` are engine ids that nothing needs (spec apply-loop 4.8).
    """

    target_version: int = 0
    rows: tuple[ImageRow, ...] = ()
    available: tuple[ImageRow, ...] = ()
    details: dict[str, ImageDetails] = {}
    tasks: tuple[ImageTask, ...] = ()
    cleanup: tuple[str, ...] = ()


class Platform(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine runs on, in the words of image indexes: ``linux``, ``arm``, ``v7``."""

    os: str = "linux"
    architecture: str = ""
    variant: str = ""


class RemoteLayer(msgspec.Struct, frozen=True, kw_only=True):
    """A layer as a registry has it. ``diff_id`` is the digest of its content, ``size_bytes`` what is transferred."""

    diff_id: str
    size_bytes: int


class RemoteImage(msgspec.Struct, frozen=True, kw_only=True):
    """What a pull would bring, from the lowest layer to the top."""

    layers: tuple[RemoteLayer, ...]

    @property
    def size_bytes(self) -> int:
        return sum(layer.size_bytes for layer in self.layers)


class DiskSpace(msgspec.Struct, frozen=True, kw_only=True):
    """A file system: its size, and what may still be written."""

    total_bytes: int
    free_bytes: int
