"""Subjects of steps: the one thing that each changes, as ``kind:app id:name``. Those of locks have no name."""

from __future__ import annotations

from typing import Final

#: kinds that belong to an app, rather than to its images
_KINDS: Final = frozenset({"service", "network", "volume", "lock"})
#: in place of an app id: the whole device
DEVICE: Final = 0


def is_of_app(subject: str, app_id: int) -> bool:
    """Whether a subject is a container, network, volume or lock of the app; for :data:`DEVICE` that of any."""
    kind, _, rest = subject.partition(":")
    return kind in _KINDS and (app_id == DEVICE or rest.partition(":")[0] == str(app_id))


def is_lock(subject: str) -> bool:
    return subject.startswith("lock:")


def is_resource(subject: str) -> bool:
    """Whether it is a network or volume of an app."""
    return subject.partition(":")[0] in {"network", "volume"}
