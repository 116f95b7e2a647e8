"""``balena-supervisor run``: puts settings, start list and runtime together. Imports nothing that only people need."""

from __future__ import annotations

import json

from balena_supervisor.actors.root import RootSupervisor
from balena_supervisor.actors.start_list import start_list
from balena_supervisor.migrations.runner import migrate
from balena_supervisor.runtime.nursery import run_nursery
from balena_supervisor.runtime.supervision import Limits
from balena_supervisor.runtime.table import RuntimeConfig
from balena_supervisor.settings import Settings

DEFAULT_PORT = 48484


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


def listen_port(settings: Settings) -> int:
    """The port of the environment, of config.json, or the default. A config.json that cannot be read is not fatal."""
    if settings.listen_port is not None:
        return settings.listen_port
    try:
        port = json.loads(settings.config_json_path.read_text()).get("listenPort", DEFAULT_PORT)
    except (OSError, ValueError, AttributeError):
        return DEFAULT_PORT
    return port if isinstance(port, int) and 0 < port < 65536 else DEFAULT_PORT


def warm_up() -> None:
    """Import what children use, so that all share its pages. Opens nothing."""
