"""The target-state actor: takes targets, checks and stores them, and tells everyone what is in force."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from balena_supervisor.actors.damage import restarting_root
from balena_supervisor.adapters.host_files import write_json
from balena_supervisor.db.ballast import Ballast
from balena_supervisor.db.connection import BUSY_TIMEOUT_S, open_database, writing
from balena_supervisor.db.key_store import GLOBAL_SCOPES, KeyStore, random_key
from balena_supervisor.db.rebuild import KEYS, Rebuild
from balena_supervisor.db.target_store import TargetStore
from balena_supervisor.errors import DatabaseRefused, NotInLocalMode, NotReady
from balena_supervisor.messages import (
    ConfigChanged,
    ForgetLocalApps,
    KeysChanged,
    KeysFound,
    SetCloudTarget,
    SetLocalTarget,
    TargetAccepted,
    TargetApplied,
    TargetChanged,
)
from balena_supervisor.model.device import Configuration
from balena_supervisor.model.target import ServiceKey, TargetApp, TargetState
from balena_supervisor.runtime.actor import Actor, Ports, Timer, handles
from balena_supervisor.runtime.output import Level, log
from balena_supervisor.state.acceptance import Accepted, accept, accept_local, explained
from balena_supervisor.state.api_users import api_users
from balena_supervisor.state.contracts import device_facts
from balena_supervisor.state.target_format import ParsedTarget, decode_local, decode_v3

RETRY_S = 5.0
#: how often it is tried to put the ballast back
BALLAST_S = 600.0
#: the source of apps of a local target
LOCAL = "local"


@dataclass(frozen=True, kw_only=True)
class TargetPorts(Ports):
    """``busy_timeout_s`` is how long a write waits for another process that writes. ``target_config_path`` is where
    host services find the configuration of the target, in a folder that does not outlive a boot."""

    database_path: Path
    target_config_path: Path
    busy_timeout_s: float = BUSY_TIMEOUT_S


class Targets(Actor):
    """Validates and stores targets with their version, and keeps the keys of the local API.

    Its database writes are short and happen in the handler. When one fails, the asker gets ``database-refused`` and
    the previous target stays in force.
    """

    def __init__(self, ports: TargetPorts) -> None:
        super().__init__(ports)
        self._open_database = partial(
            open_database,
            ports.database_path,
            busy_timeout_s=ports.busy_timeout_s,
            on_damage=restarting_root(ports.post),
        )
        self._target_config_path = ports.target_config_path
        self._ballast = Ballast(ports.database_path)
        #: stands in for the global key while a full disk keeps one from being stored
        self._stand_in = random_key()
        self._configuration: Configuration | None = None
        #: the source whose target was published last
        self._source: str | None = None
        self._target = TargetState()
        self._keys: KeysChanged | None = None
        self._key_timer: Timer | None = None
        #: what is to be taken back and could not be written yet
        self._keys_found: KeysFound | None = None

    def on_start(self) -> None:
        self._database = self._open_database()
        self._target_store = TargetStore(self._database)
        self._key_store = KeyStore(self._database)
        self._rebuild = Rebuild(self._database, KEYS)
        self._keys_incomplete = self._rebuild.is_wanted()
        self._publish_keys()
        if not self._ballast.is_there():
            self.after(BALLAST_S, self._put_ballast_back)

    def on_stop(self) -> None:
        self._database.close()

    # --- what it is told --------------------------------------------------------------------------------------------

    @handles(ConfigChanged)
    def config_changed(self, event: ConfigChanged) -> None:
        self._configuration = event.configuration
        if event.configuration.source != self._source:
            self._load(event.configuration)

    @handles(SetLocalTarget)
    def set_local_target(self, command: SetLocalTarget) -> TargetAccepted:
        configuration = self._configuration
        if configuration is None:
            raise NotReady("cannot take a target: the configuration of the device is not known yet")
        if not configuration.local_mode:
            raise NotInLocalMode("cannot take a local target: the device is not in local mode")
        parsed = decode_local(command.body, uuid=configuration.uuid, current_name=self._target_name(configuration))
        return self._store(accept_local(parsed, device_facts(configuration)), configuration.source, configuration)

    @handles(SetCloudTarget)
    def set_cloud_target(self, command: SetCloudTarget) -> TargetAccepted:
        """In local mode it is stored too, and in force when local mode is left; locks of local apps are not broken
        for it."""
        configuration = self._configuration
        if configuration is None or not configuration.managed:
            raise NotReady("cannot take a target of the cloud: the device is not known to belong to one")
        source = configuration.api_endpoint
        parsed = decode_v3(command.body, uuid=configuration.uuid, source=source)
        force = command.force if source == configuration.source else self._target.force
        parsed = msgspec.structs.replace(parsed, force=force)
        return self._store(accept(parsed, device_facts(configuration)), source, configuration)

    def _store(self, accepted: Accepted, source: str, configuration: Configuration) -> TargetAccepted:
        parsed = accepted.target
        try:
            version, target = self._save(parsed, source, configuration)
        except DatabaseRefused as error:
            if not self._ballast.give_up_if_full():
                raise
            log("warn", "target", "is stored in the room that was kept for a full disk", reason=error.message)
            self.after(BALLAST_S, self._put_ballast_back)
            version, target = self._save(parsed, source, configuration)
        log("info", "target", "was accepted", version=version, apps=len(parsed.apps), force=parsed.force)
        _tell(accepted)
        self._publish(target, configuration)
        self._show_config(target)
        return TargetAccepted(version)

    def _save(self, parsed: ParsedTarget, source: str, configuration: Configuration) -> tuple[int, TargetState]:
        """Store a target; returns its version, and the target that is in force by then."""
        with writing(self._database):
            self._make_keys(parsed.apps)
            version = self._target_store.save(parsed, source)
            return version, self._target_store.load(configuration.source)

    @handles(TargetApplied)
    def target_applied(self, event: TargetApplied) -> None:
        """A target that may break locks may do so until it is applied, not after the next start again."""
        if self._target.force and event.version == self._target.version:
            self._target = msgspec.structs.replace(self._target, force=False)
            self.post.publish(TargetChanged(target=self._target))  # also to a planner that is started later
            self._forget_force(event.version)

    def _forget_force(self, version: int) -> None:
        """With a full disk it is tried until it works, or a newer target has come."""
        if version != self._target.version:
            return
        try:
            self._target_store.forget_force()
        except DatabaseRefused as error:
            log("warn", "target", "may break locks again after a restart", reason=error.message, retry_in_s=RETRY_S)
            self.after(RETRY_S, lambda: self._forget_force(version))

    @handles(ForgetLocalApps)
    def forget_local_apps(self, _: ForgetLocalApps) -> None:
        self._target_store.forget_apps(LOCAL)

    def _put_ballast_back(self) -> None:
        if not self._ballast.put_back():
            self.after(BALLAST_S, self._put_ballast_back)

    # --- the target in force ----------------------------------------------------------------------------------------

    def _load(self, configuration: Configuration) -> None:
        """Publish the stored target of a source. Apps are never left out of it: then they would be removed."""
        try:
            target = self._target_store.load(configuration.source)
            self._make_keys(target.apps)
        except DatabaseRefused as error:
            log("error", "target", "cannot be loaded", reason=error.message, retry_in_s=RETRY_S)
            self.after(RETRY_S, self._load_again)
            return
        self._publish(target, configuration)

    def _load_again(self) -> None:
        if self._configuration is not None and self._configuration.source != self._source:
            self._load(self._configuration)

    def _publish(self, target: TargetState, configuration: Configuration) -> None:
        facts = device_facts(configuration)
        apps = tuple(explained(app, facts) for app in target.apps)
        self._target, self._source = msgspec.structs.replace(target, apps=apps), configuration.source
        self._publish_keys()
        self.post.publish(TargetChanged(target=self._target))

    def _show_config(self, target: TargetState) -> None:
        """For services of the host (spec target-state 6.1); the supervisor never reads it."""
        try:
            write_json(self._target_config_path, target.config)
        except OSError as error:
            log("warn", "target", "its configuration cannot be shown to the host", reason=error)

    def _target_name(self, configuration: Configuration) -> str:
        return self._target.name if self._source is not None else configuration.name

    # --- keys -------------------------------------------------------------------------------------------------------

    @handles(KeysFound)
    def keys_found(self, event: KeysFound) -> None:
        """The database is new. A service whose container has a key keeps it, or it would be started again."""
        waits = self._keys_found is not None
        if self._keys_incomplete:
            self._keys_found = event
            if not waits:
                self._take_keys_back()

    def _take_keys_back(self) -> None:
        services = self._keys_found.services if self._keys_found is not None else ()
        try:
            with self._rebuild.doing():
                for service in services:
                    self._key_store.take_back(service.app_id, service.service_name, service.key)
                self._make_missing_keys(self._target.apps)
        except DatabaseRefused as error:
            log("error", "keys", "cannot be taken back", reason=error.message, retry_in_s=RETRY_S)
            self.after(RETRY_S, self._take_keys_back)
            return
        self._keys_incomplete, self._keys_found = False, None
        if services:
            log("info", "keys", "were taken back from the containers", services=len(services))
        self._publish_keys()

    def _make_keys(self, apps: tuple[TargetApp, ...]) -> None:
        """While some are to be taken back none is made: it would be another one than the container has."""
        if not self._keys_incomplete:
            self._make_missing_keys(apps)

    def _make_missing_keys(self, apps: tuple[TargetApp, ...]) -> None:
        for app_id, service_name in api_users(apps):
            self._key_store.service_key(app_id, service_name)

    def _global_key(self) -> str:
        try:
            return self._key_store.global_key()
        except DatabaseRefused as error:
            log("error", "keys", "a new key cannot be stored", reason=error.message, retry_in_s=RETRY_S)
            if self._key_timer is not None:
                self._key_timer.cancel()
            self._key_timer = self.after(RETRY_S, self._publish_keys)
            return self._stand_in

    def _publish_keys(self) -> None:
        global_key = self._global_key()
        stored = self._key_store.all()
        keys = KeysChanged(
            global_key=global_key,
            scopes={row.key: row.scopes for row in stored} | {global_key: GLOBAL_SCOPES},
            services=tuple(
                ServiceKey(row.app_id, row.service_name, row.key) for row in stored if row.service_name is not None
            ),
            incomplete=self._keys_incomplete,
        )
        if keys != self._keys:
            self._keys = keys
            self.post.publish(keys)


def _tell(accepted: Accepted) -> None:
    """In the words in which the reference says it."""
    if accepted.left_out:
        _log_one("warn", "Not running containers because of contract violations", ". ".join(accepted.left_out))
    if accepted.unmet:
        what = "Some releases were rejected due to having unmet requirements"
        _log_one("error", what, "; ".join(accepted.unmet))
    if accepted.cyclic:
        _log_one("error", "Some releases were rejected", "; ".join(accepted.cyclic))


def _log_one(level: Level, what: str, which: str) -> None:
    """One line, whatever the name of an app holds."""
    log(level, "target", f"{what}: {which}".replace("\n", "\\n"))
