"""The configuration of the device out of its sources: config.json, table ``config`` and files of the host
(spec cloud-and-host 2.2 to 2.5)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from balena_supervisor.model.device import Configuration, DeviceType, Kernel
from balena_supervisor.state.coerce import is_falsey, is_truthy

T = TypeVar("T")

_LEADING_INTEGER = re.compile(r"\s*([+-]?[0-9]{1,18})")


class Sources(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was read: ``stored`` is table ``config``, ``host_name`` the host's own."""

    config_json: dict[str, Any] = {}
    stored: dict[str, str] = {}
    device_type: DeviceType = DeviceType()
    os_release: dict[str, str] = {}
    host_name: str = ""
    kernel: Kernel = Kernel()
    supervisor_version: str = ""


def build_configuration(sources: Sources) -> tuple[Configuration, list[str]]:
    """The configuration, and a line for each value that cannot be read and so has its default."""
    file = _Reader("config.json", sources.config_json)
    rows = _Reader("table config", sources.stored)
    os_release = sources.os_release
    uuid, api_endpoint = file.text("uuid"), file.text("apiEndpoint")
    registered = bool(file.number("registered_at", 0) and file.number("deviceId", 0))
    development = file.boolean("developmentMode", default=False)
    configuration = Configuration(
        uuid=uuid,
        name=rows.text("name", "local"),
        api_endpoint=api_endpoint,
        device_api_key=file.text("deviceApiKey"),
        listen_port=file.number("listenPort", 48484),
        local_mode=rows.boolean("localMode", default=False) or not api_endpoint,
        provisioned=bool(uuid and api_endpoint and registered),
        target_state_set=rows.boolean("targetStateSet", default=False),
        lock_override=rows.boolean("lockOverride", default=False),
        delta=rows.boolean("delta", default=False),
        poll_interval_ms=file.number("appUpdatePollInterval", 900_000),
        device_type=sources.device_type.slug,
        device_arch=sources.device_type.arch,
        device_type_problem=sources.device_type.problem,
        os_version=os_release.get("PRETTY_NAME", ""),
        os_variant=os_release.get("VARIANT_ID") or ("dev" if development else "prod"),
        os_slug=os_release.get("ID", ""),
        os_release=os_release.get("VERSION", ""),
        kernel_name=sources.kernel.name,
        kernel_release=sources.kernel.release,
        supervisor_version=sources.supervisor_version,
        board_rev=os_release.get("BALENA_BOARD_REV") or os_release.get("RESIN_BOARD_REV", ""),
        host_name=file.text("hostname") or sources.host_name,
    )
    return configuration, file.problems + rows.problems


class _Reader:
    """Reads typed values of one source; what is missing or null has its default, and so has what is unreadable."""

    def __init__(self, source: str, values: Mapping[str, Any]) -> None:
        self.problems: list[str] = []
        self._source = source
        self._values = values

    def text(self, key: str, default: str = "") -> str:
        value = self._values.get(key)
        return value if isinstance(value, str) else self._default(key, value, "a text", default)

    def number(self, key: str, default: int) -> int:
        value = self._values.get(key)
        if isinstance(value, str) and (match := _LEADING_INTEGER.match(value)):
            return int(match[1])
        if isinstance(value, int | float) and not isinstance(value, bool) and value == value // 1:
            return int(value)
        return self._default(key, value, "a whole number", default)

    def boolean(self, key: str, *, default: bool) -> bool:
        value = self._values.get(key)
        if is_truthy(value) or is_falsey(value):
            return is_truthy(value)
        return self._default(key, value, "true or false", default)

    def _default(self, key: str, value: object, expected: str, default: T) -> T:
        if value is not None:
            # the value itself may be a secret in the wrong place
            self.problems.append(f"cannot read {key} of {self._source}: it is not {expected}; {default!r} is used")
        return default
