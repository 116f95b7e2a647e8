"""A whole supervisor whose only real actor is the local API: ``python -m … FOLDER PORT``."""

from __future__ import annotations

import sys
from pathlib import Path

from balena_supervisor.actors.http_process import http_row
from balena_supervisor.actors.root import RootSupervisor
from balena_supervisor.errors import InvalidTarget
from balena_supervisor.messages import (
    ConfigChanged,
    DeviceStateChanged,
    KeysChanged,
    SetLocalTarget,
    TargetAccepted,
    TargetChanged,
)
from balena_supervisor.model.device import Configuration
from balena_supervisor.model.state import DeviceState
from balena_supervisor.model.target import TargetState
from balena_supervisor.runtime.actor import Actor, handles
from balena_supervisor.runtime.nursery import run_nursery
from balena_supervisor.runtime.table import ActorRow, RuntimeConfig


class Teller(Actor):
    """Publishes a configuration, keys and a state once, as the real actors do at their start."""

    def on_start(self) -> None:
        self.post.publish(ConfigChanged(configuration=Configuration(device_type="toy")))
        self.post.publish(KeysChanged(global_key="k", scopes={}, services=()))
        self.post.publish(DeviceStateChanged(state=DeviceState()))


class Targets(Actor):
    """Stores nothing: each target gets the next version; one without ``apps`` is refused."""

    def on_start(self) -> None:
        self._version = 0

    @handles(SetLocalTarget)
    def set_local_target(self, command: SetLocalTarget) -> TargetAccepted:
        if "apps" not in command.body["local"]:
            raise InvalidTarget("local.apps: is missing")
        self._version += 1
        self.post.publish(TargetChanged(target=TargetState(version=self._version, is_set=True)))
        return TargetAccepted(version=self._version)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    sys.exit(
        run_nursery(
            RuntimeConfig(
                rows=(
                    ActorRow(name="planner", start=Teller.start),
                    ActorRow(name="target-state", start=Targets.start),
                    http_row("1.2.3"),
                ),
                start_root=RootSupervisor.start,
                run_dir=folder / "run",
                database_dir=folder,
                listen=("127.0.0.1", int(sys.argv[2])),
            )
        )
    )
