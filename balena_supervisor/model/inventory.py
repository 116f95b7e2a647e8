"""All that the engine has, by id or name: what is noted when local mode begins (spec apply-loop 7)."""

from __future__ import annotations

import msgspec


class Inventory(msgspec.Struct, frozen=True, kw_only=True):
    """Ids of containers, ids of images, names of volumes, ids of networks; in the form of table ``engineSnapshot``.

    Containers that do not run are among them, unlike in a row that the reference has written: those that were there
    before stay.
    """

    containers: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
