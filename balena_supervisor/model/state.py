"""What the planner tells the world: the state of the device as the API shows it."""

from __future__ import annotations

import msgspec

from balena_supervisor.errors import ErrorRecord
from balena_supervisor.model.service import ServiceExit


class Seq(msgspec.Struct, frozen=True, order=True):
    """A place in the life of a worker's picture: process generation, then a counter. Comparable as a tuple."""

    generation: int = 0
    number: int = 0


class StepId(msgspec.Struct, frozen=True, order=True):
    """The planner's generation and a counter. A step of another generation is not ours: just look again."""

    generation: int = 0
    number: int = 0


class EngineLink(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a worker reaches the engine; ``reason`` says why not."""

    up: bool = False
    reason: str = "not connected yet"


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the decision log: a step with its reason and how it ended.

    ``outcome`` is ``running``, ``done``, ``failed`` or ``withdrawn`` (a newer target came first); ``at``
    is ISO wall time.
    """

    number: int
    at: str
    step: str
    subject: str
    reason: str
    app_id: int = 0
    service_name: str = ""
    outcome: str = "running"
    error: str = ""


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """Something that cannot go on yet, and what it waits for. ``retry_at`` is monotonic seconds, if it is known.

    ``settled`` marks what only a new target can change (a release that cannot be built): it does not keep the apply
    open.
    """

    subject: str
    reason: str
    app_id: int = 0
    service_name: str = ""
    retry_at: float | None = None
    settled: bool = False


class ContainerSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A container, or one in the making (``container_id`` empty), with its transient status applied."""

    status: str
    service_name: str
    app_id: int
    app_uuid: str
    image_id: int
    service_id: int
    release_id: int
    commit: str
    container_id: str
    created_at: str
    image_name: str
    exit_code: int | None = None
    started_at: str = ""
    #: healthy, unhealthy or starting; ``""`` without a health check
    health: str = ""


class ImageSummary(msgspec.Struct, frozen=True, kw_only=True):
    """An image task or an available row: status Downloading, Deleting or Downloaded."""

    name: str
    app_id: int
    app_uuid: str
    service_name: str
    image_id: int
    service_id: int
    release_id: int
    commit: str
    docker_image_id: str | None
    status: str
    progress: int | None = None


class ServiceSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A target service. ``stopped_by_user``: the target wants it to run, but it was stopped through the API.
    ``differs`` are the fields in which its container is not as the target wants it."""

    service_name: str
    image_name: str
    running: bool
    strategy: str = ""
    depends_on: dict[str, str] = {}
    stopped_by_user: bool = False
    differs: tuple[str, ...] = ()


class AppSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A target app. ``commit`` is the target's; ``current_commit`` the one stored when the app last settled.

    ``problem`` says in words why a rejected app, or one that cannot be built, is left alone. ``bad_release`` says why
    the previous release was put back, which is ``put_back``, and ``trial`` how the new one is doing that may still be
    given up.
    """

    app_id: int
    app_uuid: str
    name: str
    commit: str | None
    current_commit: str | None
    release_id: int | None
    rejected: bool = False
    problem: str = ""
    bad_release: str = ""
    trial: str = ""
    services: tuple[ServiceSummary, ...] = ()
    put_back: AppSummary | None = None


class LockSummary(msgspec.Struct, frozen=True, kw_only=True):
    """An update lock. ``holder`` is ``supervisor``, or ``user`` for one that keeps the supervisor from taking its own.
    ``path`` on the host is the file of the user, or the folder of the supervisor's files; ``since`` is ISO text."""

    app_id: int
    service_name: str
    holder: str
    path: str = ""
    since: str = ""


class ActionSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a user asked for. ``verb`` is restart, stop, start, purge, reboot or shutdown; ``service_name`` is
    empty for a whole app, ``app_id`` 0 for the device.

    ``outcome`` is ``queued``, ``running``, ``done``, ``failed``, ``cancelled`` or ``interrupted`` (by the end of the
    planner); ``at`` is ISO wall time.
    """

    number: int
    at: str
    verb: str
    app_id: int = 0
    service_name: str = ""
    outcome: str = "queued"
    error: str = ""


class DeviceState(msgspec.Struct, frozen=True, kw_only=True):
    """The snapshot from which all state GETs are answered. ``target_version`` is the target that it judges."""

    target_version: int = 0
    applying: bool = False
    update_pending: bool = False
    update_failed: bool = False
    update_downloaded: bool = False
    #: monotonic second at which the present attempt began; None when nothing is under way
    attempt_started_at: float | None = None
    failures: int = 0
    last_error: ErrorRecord | None = None
    engine: EngineLink = EngineLink()
    apps: tuple[AppSummary, ...] = ()
    #: stored commit of each app that has one, also of apps that left the target
    commits: dict[str, str] = {}
    containers: tuple[ContainerSummary, ...] = ()
    images: tuple[ImageSummary, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    decisions: tuple[Decision, ...] = ()
    locks: tuple[LockSummary, ...] = ()
    #: the last ends of the processes of each service, oldest first
    exits: tuple[ServiceExit, ...] = ()
    #: the last ones, oldest first
    actions: tuple[ActionSummary, ...] = ()
