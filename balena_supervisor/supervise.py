"""``balena-supervisor run``: puts settings, start list and runtime together. Imports nothing that only people need."""

from __future__ import annotations

from pathlib import Path

from balena_supervisor.actors.root import RootSupervisor
from balena_supervisor.actors.start_list import start_list
from balena_supervisor.errors import DatabaseRefused
from balena_supervisor.migrations.replace import prepare
from balena_supervisor.runtime.nursery import run_nursery
from balena_supervisor.runtime.output import log
from balena_supervisor.runtime.supervision import Limits
from balena_supervisor.runtime.table import RuntimeConfig
from balena_supervisor.settings import Settings, listen_port


def run(settings: Settings) -> int:
    """Run the supervisor until it is told to end; returns the exit code.

    Raises ``DatabaseRefused`` when the folder of the database is not there and cannot be made.
    """
    make_folder(settings.database_path.parent)
    return run_nursery(
        RuntimeConfig(
            rows=start_list(settings),
            start_root=RootSupervisor.start,
            run_dir=settings.run_dir,
            database_dir=settings.database_path.parent,
            listen=(settings.listen_address, listen_port(settings)),
            limits=Limits(hang_s=settings.hang_limit_s),
            before_start=lambda: prepare_database(settings),
        )
    )


def prepare_database(settings: Settings) -> None:
    """Have a good database before any actor starts, and say what was lost. In a process of its own."""
    for note in prepare(settings.database_path, settings.config_json_path):
        log("warn", "database", note)


def make_folder(folder: Path) -> None:
    """Make the folder of the database, so that it can be locked before anything else happens."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatabaseRefused(f"cannot make the folder of the database {folder}: {error.strerror}") from error
