"""What happens to the database before anybody opens it: it is checked, migrated, and replaced when it is damaged.

A damaged file is moved aside with its log. The new one stands complete beside it before the first rename, so a death
at any moment ends the same: see :func:`_finish`.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from datetime import UTC
from pathlib import Path

from balena_supervisor.clock import Clock, SystemClock
from balena_supervisor.db.ballast import Ballast
from balena_supervisor.db.connection import refusing
from balena_supervisor.db.rebuild import MARKS, TARGET_LOST
from balena_supervisor.errors import DatabaseDamaged, DatabaseRefused
from balena_supervisor.migrations.runner import migrate, problem_of_place
from balena_supervisor.migrations.salvage import insert_rows, readable_rows

#: how many damaged files are kept
KEPT = 2
_LOGS = ("-wal", "-shm", "-journal")
_LONGEST_REASON = 160


def prepare(path: Path, config_json_path: Path, clock: Clock | None = None) -> list[str]:
    """Leave a healthy database with the present tables at ``path``; returns what a person should know.

    A new one is marked, so that keys, images and releases are taken back from the containers that there may be.
    Raises ``DatabaseRefused`` when there can be none: read-only, no room, or used by a newer supervisor.
    """
    clock = clock or SystemClock()
    problem = problem_of_place(path)
    if problem:
        raise DatabaseRefused(f"cannot open the database {path}: {problem}", path=str(path))
    ballast = Ballast(path)
    notes: list[str] = []
    try:
        if ballast.give_up_if_full():
            notes.append(
                "the disk is full; the room kept for a start is used, and no target is taken until there is more"
            )
        _finish(path)
        try:
            notes += migrate(path, config_json_path, clock, when_new=_mark)
        except DatabaseDamaged as damage:
            notes += _replace(path, config_json_path, clock, damage)
        if not notes:
            ballast.put_back()
    except OSError as error:
        raise DatabaseRefused(
            f"cannot prepare the database {path}: {error.strerror or error}", path=str(path)
        ) from error
    return notes


def _replace(path: Path, config_json_path: Path, clock: Clock, damage: DatabaseDamaged) -> list[str]:
    """Also when only an index is wrong: it may be the table that has lost a page, and nobody can tell."""
    aside, new = _name_aside(path, clock), _new(path)
    found = readable_rows(path)
    cause = damage.message.partition(f"{path}: ")[2][:_LONGEST_REASON]
    reason = f"the database was damaged and moved to {aside.name} ({cause})"

    def fill(database: sqlite3.Connection) -> None:
        insert_rows(database, found)
        _mark(database)
        database.execute("INSERT INTO `config` VALUES (?, ?)", (TARGET_LOST, reason))

    _prune(path, KEPT - 1)
    migrate(new, config_json_path, clock, when_new=fill)
    _close_log(new)
    path.rename(aside)
    _finish(path)
    _set_journal(path, "wal")  # here, since several processes open it at the same time
    counts = ", ".join(f"{table} {len(rows)}" for table, rows in found.items())
    return [
        f"{damage.message}; the file is kept as {aside.name}",
        f"a new one was made; rows that could be read: {counts}; containers stay until a target comes",
    ]


def _finish(path: Path) -> None:
    """The second half of replacing, also when the process died in the middle of it.

    While the old file is in its place nothing has happened yet, and a new one beside it may be half made. Without it
    the new one is complete, and what is left of the old one's log must not be taken for its own.
    """
    new = _new(path)
    if path.exists():
        _remove(new)
        return
    aside = max(_asides(path), default=None)
    for log in _LOGS:
        leftover = Path(f"{path}{log}")
        if leftover.exists() and aside is not None:
            leftover.rename(f"{aside}{log}")
        leftover.unlink(missing_ok=True)
    if new.exists():
        new.rename(path)
        _sync_folder(path.parent)


def _mark(database: sqlite3.Connection) -> None:
    database.executemany("INSERT INTO `config` VALUES (?, 'true')", [(mark,) for mark in MARKS])


def _close_log(new: Path) -> None:
    """Bring everything into the one file, synced, so that it can be renamed."""
    _set_journal(new, "delete")
    with new.open("rb") as file:
        os.fsync(file.fileno())
    _sync_folder(new.parent)


def _set_journal(path: Path, mode: str) -> None:
    with refusing("write", path), closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute(f"PRAGMA journal_mode = {mode}")


def _new(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")


def _name_aside(path: Path, clock: Clock) -> Path:
    """With the time, and behind all others in the order of names, whatever the clock says."""
    name = f"{path.name}.damaged-{clock.now().astimezone(UTC):%Y%m%dT%H%M%SZ}"
    newest = max((aside.name for aside in _asides(path)), default="")
    return path.with_name(name if name > newest else f"{newest}+")


def _asides(path: Path) -> list[Path]:
    found = path.parent.glob(f"{path.name}.damaged-*")
    return [aside for aside in found if not aside.name.endswith(_LOGS)]


def _prune(path: Path, kept: int) -> None:
    for aside in sorted(_asides(path))[:-kept]:
        _remove(aside)


def _remove(database: Path) -> None:
    for part in ("", *_LOGS):
        Path(f"{database}{part}").unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
