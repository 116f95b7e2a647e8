"""``balena-supervisor run``: puts settings, start list and runtime together. Imports nothing that only people need."""

from __future__ import annotations

from balena_supervisor.actors.root import RootSupervisor, start_list
from balena_supervisor.migrations.runner import migrate
from balena_supervisor.runtime.nursery import run_nursery
from balena_supervisor.runtime.supervision import Limits
from balena_supervisor.runtime.table import RuntimeConfig
from balena_supervisor.settings import Settings, listen_port


def run(settings: Settings) -> int:
    """Run the supervisor until it is told to end; returns the exit code."""
    settings.database_path.parent.mkdir(parents=True, exist_ok=True)
    return run_nursery(
        RuntimeConfig(
            rows=start_list(settings),
            start_root=RootSupervisor.start,
            run_dir=settings.run_dir,
            database_dir=settings.database_path.parent,
            listen=(settings.listen_address, listen_port(settings)),
            limits=Limits(hang_s=settings.hang_limit_s),
            before_start=lambda: migrate(settings.database_path, settings.config_json_path),
            warm_up=warm_up,
        )
    )


def warm_up() -> None:
    """Import what children use, so that all share its pages. Opens nothing."""
