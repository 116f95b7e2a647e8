"""Update locks: files in the folder of a service that say "do not stop my app now" (spec device-api 10)."""

from __future__ import annotations

import msgspec


class AppLock(msgspec.Struct, frozen=True, kw_only=True):
    """Services of an app whose lock files are the supervisor's own, taken by this process or one before it. ``path`` is
    the folder of the app on the host, ``since`` the time of the oldest file as ISO text."""

    app_id: int
    services: tuple[str, ...]
    path: str = ""
    since: str = ""


class ForeignLock(msgspec.Struct, frozen=True, kw_only=True):
    """A lock of somebody else that stopped the supervisor from taking its own. ``path`` is the file on the host,
    ``since`` its time of modification as ISO text."""

    app_id: int
    service_name: str
    path: str
    since: str


def lock_folder(instance: str) -> str:
    """Where the folders of services are, as a path on the host. An ``instance`` (development and tests only) has a
    place of its own, since several supervisors share the machine then."""
    return f"/tmp/balena-supervisor{f'-{instance}' if instance else ''}/services"  # noqa: S108  # the place is a contract
