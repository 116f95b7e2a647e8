"""Update locks as files: who makes one says "do not stop my app now" (spec device-api 10).

Each service has a folder on the host that its containers can write to. They may put anything there, links included, so
all work in it is relative to its descriptor, and no link is followed. What stands above, no container can change.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from balena_supervisor.clock import iso
from balena_supervisor.errors import Locked, SupervisorError
from balena_supervisor.model.lock import AppLock, ForeignLock
from balena_supervisor.runtime import output

#: both are taken; existence means locked, whatever is in it
NAMES = ("updates.lock", "resin-updates.lock")
#: any of them says that the new container has taken over
HAND_OVER_NAMES = ("handover-complete", "resin-kill-me")
#: the owner by whom own locks are known, also those of an earlier process (``nobody``)
OWNER = 65534
#: a lock is made here, beside the folders of services, so that no container sees it half done
_DRAFT = ".new-lock"
#: the last second of the year 9999
_LAST_S = 253402300799.0
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class LockFiles:
    """The locks below ``folder``, which is ``shown_as`` on the host. Opens nothing before the first call.

    Errors of the disk are raised as ``SupervisorError``. For one thread at a time in each app.
    """

    def __init__(self, folder: Path, shown_as: str) -> None:
        self._folder = folder
        self._shown_as = shown_as

    def adopt_old_layout(self) -> None:
        """Where only the folder of an old supervisor is there, the new one becomes a link to it."""
        new = self._folder.parent
        with _in_words("link the folder of update locks"):
            if new.name == "balena-supervisor" and (new.parent / "resin-supervisor").is_dir():
                with suppress(FileExistsError):
                    new.symlink_to("resin-supervisor")

    def take(
        self, app_id: int, services: Collection[str], running: Callable[[], Collection[str]], *, force: bool = False
    ) -> None:
        """Take the locks of all these services of the app, or none. What was held before stays held.

        A lock of somebody else raises ``Locked``; with ``force`` it is removed. It is also removed when its service
        is not among those that ``running`` names: nobody is left to end it. ``running`` is only asked when there is
        such a lock, and after it was seen.
        """
        held: set[tuple[str, str]] = set()
        with _in_words(f"lock app {app_id}"), self._app(app_id, create=True) as app:
            for service in sorted(services):
                with _service(app, service, create=True) as folder:
                    _make_public(folder)
                    self._make_way(app_id, service, folder, running, force=force)
                    held |= {(service, name) for name in NAMES if _is_own(folder, name)}
            self._refuse(app_id, app, services)
            try:
                for service in sorted(services):
                    with _service(app, service) as folder:
                        for name in NAMES:
                            _take(app, folder, name)
                self._refuse(app_id, app, services)  # one that came in between
            except BaseException:
                for service in services:
                    with suppress(OSError), _service(app, service) as folder:
                        for name in NAMES:
                            if (service, name) not in held:
                                _remove_own(folder, name)
                raise

    def release(self, app_id: int) -> None:
        """Remove the own locks of the app, in whatever folder they are. Those of others stay."""
        with _in_words(f"release the locks of app {app_id}"), suppress(FileNotFoundError), self._app(app_id) as app:
            for service in _folders(app):
                with suppress(FileNotFoundError), _service(app, service) as folder:
                    for name in NAMES:
                        _remove_own(folder, name)

    def held(self) -> tuple[AppLock, ...]:
        """All own locks, by app: the services of which both files are own."""
        found: list[AppLock] = []
        with _in_words("list the update locks"), suppress(FileNotFoundError), _opened(self._folder) as root:
            for name in sorted(filter(str.isdecimal, _folders(root))):
                lock = self._held_in(root, int(name))
                if lock is not None:
                    found.append(lock)
        return tuple(found)

    def held_by(self, app_id: int) -> AppLock | None:
        """The services of one app of which both files are own; None without any."""
        with _in_words(f"list the locks of app {app_id}"), suppress(FileNotFoundError), _opened(self._folder) as root:
            return self._held_in(root, app_id)
        return None

    def drop_halves(self) -> None:
        """Remove what a process that died while it took locks left: services with only one file of its own."""
        with _in_words("tidy the update locks"), suppress(FileNotFoundError), _opened(self._folder) as root:
            for name in filter(str.isdecimal, _folders(root)):
                with _opened(name, root) as app:
                    with suppress(FileNotFoundError):
                        os.unlink(_DRAFT, dir_fd=app)
                    for service in _folders(app):
                        with _service(app, service) as folder:
                            own = [lock for lock in NAMES if _is_own(folder, lock)]
                            if len(own) == 1:
                                _remove_own(folder, own[0])

    def take_signal(self, app_id: int, service: str, *, keep: bool = False) -> bool:
        """Whether the service has said that its new container took over. What says so is removed, unless it is to be
        kept."""
        seen = False
        with (
            _in_words(f"look for the hand-over file of service {service}"),
            suppress(FileNotFoundError),
            self._app(app_id) as app,
            _service(app, service) as folder,
        ):
            for name in HAND_OVER_NAMES:
                status = _status(folder, name)
                if status is not None and not stat.S_ISDIR(status.st_mode):
                    seen = True
                    if not keep:
                        os.unlink(name, dir_fd=folder)
        return seen

    # --- parts ------------------------------------------------------------------------------------------------

    @contextmanager
    def _app(self, app_id: int, *, create: bool = False) -> Iterator[int]:
        if create:
            # in development a link leads to the place, which may not be there yet
            self._folder.resolve().mkdir(parents=True, exist_ok=True)
        with _opened(self._folder) as root:
            if create:
                with suppress(FileExistsError):
                    os.mkdir(str(app_id), dir_fd=root)
            with _opened(str(app_id), root) as app:
                yield app

    def _held_in(self, root: int, app_id: int) -> AppLock | None:
        held: dict[str, float] = {}
        with _opened(str(app_id), root) as app:
            for name in sorted(_folders(app)):
                with _service(app, name) as folder:
                    found = [_status(folder, file) for file in NAMES]
                own = [status.st_mtime for status in found if status is not None and _is_ours(status)]
                if len(own) == len(NAMES):
                    held[name] = min(own)
        if not held:
            return None
        path = f"{self._shown_as}/{app_id}"
        return AppLock(app_id=app_id, services=tuple(held), path=path, since=_iso(min(held.values())))

    def _make_way(
        self, app_id: int, service: str, folder: int, running: Callable[[], Collection[str]], *, force: bool
    ) -> None:
        """Remove the locks of others that do not count."""
        for name in NAMES:
            if not _is_foreign(folder, name):
                continue
            if force:
                _remove(folder, name)
            elif service not in running():
                _remove(folder, name)
                path = self._path(app_id, service, name)
                output.log("warn", "containers", "removed the lock of a service that does not run", path=path)

    def _refuse(self, app_id: int, app: int, services: Collection[str]) -> None:
        """Raise ``Locked`` when somebody else has a lock."""
        found: list[ForeignLock] = []
        for service in sorted(services):
            with _service(app, service) as folder:
                found += self._foreign(app_id, service, folder)
        if found:
            words = ", ".join(f"{lock.service_name} ({lock.path} since {lock.since})" for lock in found)
            raise Locked(
                f"cannot lock app {app_id}: it is locked by {words}",
                locks=[msgspec.to_builtins(lock) for lock in found],
            )

    def _foreign(self, app_id: int, service: str, folder: int) -> Iterator[ForeignLock]:
        for name in NAMES:
            status = _status(folder, name)
            if status is not None and not _is_ours(status):
                path = self._path(app_id, service, name)
                yield ForeignLock(app_id=app_id, service_name=service, path=path, since=_iso(status.st_mtime))

    def _path(self, app_id: int, service: str, name: str) -> str:
        return f"{self._shown_as}/{app_id}/{service}/{name}"


# --- in one folder -------------------------------------------------------------------------------------------------


@contextmanager
def _in_words(doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise SupervisorError(f"cannot {doing}: {error.strerror or error}{where}") from error


@contextmanager
def _opened(path: Path | str, within: int | None = None) -> Iterator[int]:
    """A folder. The first one may be a link; inside of it none is followed."""
    descriptor = os.open(path, _FOLDER if within is not None else _FOLDER & ~os.O_NOFOLLOW, dir_fd=within)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _service(app: int, name: str, *, create: bool = False) -> Iterator[int]:
    if "/" in name or name in {"", ".", ".."}:
        raise SupervisorError(f"cannot lock service {name!r}: its name cannot be that of a folder")
    if create:
        with suppress(FileExistsError):
            os.mkdir(name, dir_fd=app)
    with _opened(name, app) as folder:
        yield folder


def _folders(descriptor: int) -> list[str]:
    with os.scandir(descriptor) as entries:
        return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]


def _make_public(folder: int) -> None:
    """Services need not be root to lock. Only what they made themselves can they remove."""
    if stat.S_IMODE(os.fstat(folder).st_mode) != 0o1777:
        os.fchmod(folder, 0o1777)


def _status(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _iso(mtime: float) -> str:
    """A container may give its file any time, also one that has no date."""
    return iso(datetime.fromtimestamp(min(max(mtime, 0.0), _LAST_S), UTC))


def _is_ours(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) and status.st_uid == OWNER


def _is_own(folder: int, name: str) -> bool:
    status = _status(folder, name)
    return status is not None and _is_ours(status)


def _is_foreign(folder: int, name: str) -> bool:
    status = _status(folder, name)
    return status is not None and not _is_ours(status)


def _take(app: int, folder: int, name: str) -> None:
    """Make one lock in one moment, with its owner, unless there is one."""
    with suppress(FileNotFoundError):
        os.unlink(_DRAFT, dir_fd=app)  # of a process that died here
    descriptor = os.open(_DRAFT, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=app)
    try:
        os.fchown(descriptor, OWNER, -1)
        with suppress(FileExistsError):
            os.link(_DRAFT, name, src_dir_fd=app, dst_dir_fd=folder, follow_symlinks=False)
    finally:
        os.close(descriptor)
        os.unlink(_DRAFT, dir_fd=app)


def _remove(folder: int, name: str) -> None:
    """Remove a file or an empty directory. What cannot be removed stays, and is found to be a lock."""
    with suppress(OSError):
        try:
            os.unlink(name, dir_fd=folder)
        except IsADirectoryError:
            os.rmdir(name, dir_fd=folder)


def _remove_own(folder: int, name: str) -> None:
    if _is_own(folder, name):
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)
