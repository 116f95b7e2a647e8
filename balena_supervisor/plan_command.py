"""``balena-supervisor plan FILE``: what a target would cause, round by round, without changing anything.

It reads the engine and the database itself, so that it also answers while no supervisor runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from balena_supervisor.actors.engine_listing import read_containers, read_images, read_networks, read_volumes
from balena_supervisor.adapters.config_json import ConfigJson
from balena_supervisor.adapters.engine import Engine
from balena_supervisor.adapters.host_facts import read_host_facts
from balena_supervisor.adapters.host_files import read_device_type, read_host_name, read_kernel, read_os_release
from balena_supervisor.db.stored import Stored, read_stored
from balena_supervisor.errors import InvalidTarget, InvalidValue
from balena_supervisor.model.app import ComposedApp
from balena_supervisor.model.device import Configuration
from balena_supervisor.model.image import ImageState
from balena_supervisor.model.target import TargetState
from balena_supervisor.settings import Settings
from balena_supervisor.state.acceptance import accept_local
from balena_supervisor.state.compose import compose_app
from balena_supervisor.state.configuration import Sources, build_configuration
from balena_supervisor.state.contracts import device_facts
from balena_supervisor.state.effects import Round, preview
from balena_supervisor.state.target_format import ParsedTarget, decode_local
from balena_supervisor.state.words import words_of
from balena_supervisor.state.world import Rules, World


def plan(file: Path, settings: Settings) -> Iterator[str]:
    """The lines to print. ``file`` holds a target in the form of ``POST /v2/local/target-state``.

    Raises ``InvalidValue`` (no JSON, or no target that would be accepted), ``EngineUnavailable`` and
    ``DatabaseRefused``.
    """
    stored = read_stored(settings.database_path)
    configuration = _configuration(settings, stored)
    parsed = _parsed(file, configuration)
    target = TargetState(version=1, is_set=True, name=parsed.name, config=parsed.config, apps=parsed.apps)
    host = read_host_facts(settings.root_mountpoint, docker_socket=settings.docker_socket, instance=settings.instance)
    # A service that never had a key gets one with its target; which one does not matter here.
    unknown = {(app.app_id, service.service_name): "" for app in parsed.apps for service in app.services}
    keys = {**unknown, **stored.keys}

    def compose(images: ImageState) -> tuple[ComposedApp, ...]:
        return tuple(compose_app(app, configuration, host, images.details, keys) for app in parsed.apps)

    world, unreadable = _world(settings, stored, target)
    yield from (f"left out: {line}" for line in unreadable)
    rules = Rules(keep_images=configuration.local_mode, keep_volumes=configuration.local_mode)
    yield from _lines(preview(world, compose, rules))


def _parsed(file: Path, configuration: Configuration) -> ParsedTarget:
    try:
        parsed = decode_local(_json(file), uuid=configuration.uuid or "unknown", current_name=configuration.name)
        return accept_local(parsed, device_facts(configuration)).target
    except InvalidTarget as error:
        raise _not_taken(file, error.fields["violations"]) from error


def _not_taken(file: Path, violations: Sequence[str]) -> InvalidValue:
    return InvalidValue(f"cannot take the target in {file}: {'; '.join(violations)}", field="FILE")


def _json(file: Path) -> Any:
    try:
        return msgspec.json.decode(file.read_bytes())
    except OSError as error:
        raise InvalidValue(f"cannot read {file}: {error.strerror}", field="FILE") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidValue(f"cannot read {file}: it is no JSON ({error})", field="FILE") from error
    except RecursionError as error:
        raise InvalidValue(f"cannot read {file}: it is nested too deeply", field="FILE") from error


def _configuration(settings: Settings, stored: Stored) -> Configuration:
    sources = Sources(
        config_json=ConfigJson(settings.config_json_path).read().values,
        stored=stored.config,
        device_type=read_device_type(settings.boot_mountpoint / "device-type.json"),
        os_release=read_os_release(settings.host_os_version_path),
        host_name=read_host_name(settings.root_mountpoint / "etc/hostname"),
        kernel=read_kernel(),
        supervisor_version=settings.version,
    )
    return build_configuration(sources)[0]


def _world(settings: Settings, stored: Stored, target: TargetState) -> tuple[World, list[str]]:
    unreadable: list[str] = []

    def note(what: str, error: Exception) -> None:
        unreadable.append(f"{what}: {error}")

    engine = Engine(settings.docker_host)
    try:
        networks, ready = read_networks(engine, settings.instance, note)
        world = World(
            containers=read_containers(engine, settings.instance, note),
            networks=networks,
            volumes=read_volumes(engine, settings.instance, note),
            images=read_images(
                engine, stored.images, target, note, own_image=settings.own_image, instance=settings.instance
            ),
            commits=stored.commits,
            supervisor_network_ready=ready,
        )
    finally:
        engine.close()
    return world, unreadable


def _lines(rounds: list[Round]) -> Iterator[str]:
    if not rounds:
        yield "nothing to do: the device is on target"
    for number, entry in enumerate(rounds, 1):
        yield f"round {number}"
        yield from (f"  {words_of(step)}: {step.reason}" for step in entry.steps)
        yield from (f"  note release {update.commit} of app {update.app_id}" for update in entry.commits)
        yield from (f"  waits: {wait.service_name or wait.subject}: {wait.reason}" for wait in entry.waiting)
