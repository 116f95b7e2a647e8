"""The host-config actor: what this device is and how it is set up."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import uuid4

import msgspec

from balena_supervisor.actors.damage import restarting_root
from balena_supervisor.adapters.config_json import ConfigJson, FileState
from balena_supervisor.adapters.host_files import read_device_type, read_host_name, read_kernel, read_os_release
from balena_supervisor.adapters.login import go_down
from balena_supervisor.db.config_store import ConfigStore
from balena_supervisor.db.connection import open_database
from balena_supervisor.errors import DatabaseRefused
from balena_supervisor.messages import ConfigChanged, GoDown, TargetChanged
from balena_supervisor.model.device import Configuration, Kernel
from balena_supervisor.runtime.actor import Actor, Pending, Ports, handles
from balena_supervisor.runtime.output import log
from balena_supervisor.state.configuration import Sources, build_configuration

#: Row of table ``config`` with the last content of config.json that could be read.
LAST_CONFIG_JSON = "lastConfigJson"
GO_DOWN_DELAY_S = 1.0


def random_uuid() -> str:
    """32 hex digits."""
    return uuid4().hex


@dataclass(frozen=True, kw_only=True)
class HostConfigPorts(Ports):
    """Where things are; ``new_uuid`` makes the uuid of a device that has none. ``version`` is the supervisor's.
    ``go_down`` has the host reboot or shut down, and raises ``Unavailable``."""

    database_path: Path
    config_json_path: Path
    device_type_path: Path
    os_release_path: Path
    host_name_path: Path
    version: str
    new_uuid: Callable[[], str] = random_uuid
    go_down: Callable[[str], None] = go_down
    kernel: Callable[[], Kernel] = read_kernel


class HostConfig(Actor):
    """Reads the configuration once, as the host restarts the supervisor after a change, and publishes it.

    Without config.json the device is unmanaged. A file that was good once and is damaged now, or gone from a managed
    device, is stood in for by what it said then: otherwise a managed device would open its API and remove its apps.
    """

    def __init__(self, ports: HostConfigPorts) -> None:
        super().__init__(ports)
        self._paths = ports
        self._sources = Sources()
        self._configuration = Configuration()

    def on_start(self) -> None:
        self._database = open_database(self._paths.database_path, on_damage=restarting_root(self.post))
        self._store = ConfigStore(self._database)
        stored = self._store.all()
        self._sources = Sources(
            config_json=self._read_config_json(_object(stored.pop(LAST_CONFIG_JSON, "{}"))),
            stored=stored,
            device_type=read_device_type(self._paths.device_type_path),
            os_release=read_os_release(self._paths.os_release_path),
            host_name=read_host_name(self._paths.host_name_path),
            kernel=self._paths.kernel(),
            supervisor_version=self._paths.version,
        )
        if not self._sources.os_release:
            log("warn", "host", "says nothing of its OS", path=self._paths.os_release_path)
        if self._sources.device_type.problem:
            log("warn", "host", "says nothing of its device type", reason=self._sources.device_type.problem)
        configuration, problems = build_configuration(self._sources)
        for problem in problems:
            log("warn", "configuration", "is not as it should be", reason=problem)
        self._publish(configuration)

    def on_stop(self) -> None:
        self._database.close()

    @handles(TargetChanged)
    def target_changed(self, event: TargetChanged) -> None:
        """Name and first target are written by target-state; the snapshot follows."""
        target = event.target
        stored = {**self._sources.stored, "name": target.name, "targetStateSet": str(target.is_set).lower()}
        device_type = self._sources.device_type
        if device_type.problem:
            device_type = read_device_type(self._paths.device_type_path)
        self._sources = msgspec.structs.replace(self._sources, stored=stored, device_type=device_type)
        configuration, _ = build_configuration(self._sources)
        if msgspec.structs.replace(configuration, version=self._configuration.version) != self._configuration:
            self._publish(configuration)

    @handles(GoDown)
    def go_down(self, order: GoDown) -> Pending[None]:
        """In a second, so that the answer to whoever asked leaves the device. The host may take its time."""
        answer: Future[None] = Future()

        def call() -> None:
            try:
                self._paths.go_down(order.verb)
            except Exception as error:  # noqa: BLE001  # goes to the planner
                answer.set_exception(error)
            else:
                answer.set_result(None)

        self.after(GO_DOWN_DELAY_S, lambda: Thread(target=call, name="go-down", daemon=True).start())
        return Pending(answer)

    def _publish(self, configuration: Configuration) -> None:
        self._configuration = msgspec.structs.replace(configuration, version=self._configuration.version + 1)
        self.post.publish(ConfigChanged(configuration=self._configuration))

    def _read_config_json(self, last: dict[str, Any]) -> dict[str, Any]:
        """The values of the file with a uuid among them, which is made once and then kept wherever it can be."""
        config_json = ConfigJson(self._paths.config_json_path)
        file = config_json.read()
        gone = file.state is FileState.MISSING and bool(last.get("apiEndpoint"))
        if file.state is FileState.DAMAGED or gone:
            problem = file.problem or f"{self._paths.config_json_path} is gone, though the device was managed"
            log("error", "config.json", "is not used, what it said before is", reason=problem, known=bool(last))
        values = dict(file.values if file.state is FileState.READABLE else last)
        if not isinstance(values.get("uuid"), str) or not values["uuid"]:
            values["uuid"] = last.get("uuid") or self._paths.new_uuid()
        usable = file.state is not FileState.DAMAGED and not gone
        if usable and values != file.values:
            try:
                config_json.write(values)
            except OSError as error:
                log("warn", "config.json", "cannot be written, the uuid is kept in the database", reason=error)
        if values != last:
            try:
                self._store.set({LAST_CONFIG_JSON: json.dumps(values, ensure_ascii=False)})
            except DatabaseRefused as error:  # a full disk; the next start tries again
                log("warn", "config.json", "cannot be remembered", reason=error.message)
        return values


def _object(text: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}
