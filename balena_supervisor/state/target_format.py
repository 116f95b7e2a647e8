"""Every form in which a target state reaches this device, read into one type (spec target-state 2 to 5).

:func:`decode_v3` reads what the cloud sends, :func:`decode_local` what a local client posts and
:func:`decode_apps_json` what was preloaded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from balena_supervisor.errors import InvalidTarget
from balena_supervisor.state import coerce
from balena_supervisor.state.target_v1 import v1_to_v3
from balena_supervisor.state.target_v2 import V2Conversion
from balena_supervisor.state.target_v3 import ParsedTarget, decode_devices, decode_v3
from balena_supervisor.state.violations import MISSING, Violations

LOCAL = "local"


class PreloadedTarget(msgspec.Struct, frozen=True, kw_only=True):
    """The content of an apps.json; ``pin_device`` says that the device shall stay on its release."""

    target: ParsedTarget
    pin_device: bool = False


def decode_local(body: object, *, uuid: str, current_name: str) -> ParsedTarget:
    """Read the body of ``POST /v2/local/target-state`` (spec device-api 7.2).

    ``current_name`` is the device name that stays when the body has none. The app uuid is the app id as text, so that
    a local app never takes over the row of a cloud app. Raises ``InvalidTarget``; its lines show the paths of the
    posted body, such as ``local.apps.1.services.1.environment.A``.
    """
    if not uuid:
        raise InvalidTarget("cannot take a target state: the device has no uuid yet")
    fields = body if isinstance(body, dict) else {}
    conversion = V2Conversion(uuid=uuid, top=("local",), app_uuid=str)
    device = conversion.violations.mapping(("local",), fields.get("local", MISSING))
    conversion.violations.settle()
    target = _converted(conversion, device, uuid=uuid, source=LOCAL, name=current_name)
    return msgspec.structs.replace(target, force=coerce.is_truthy(fields.get("force")))


def decode_apps_json(content: object, *, uuid: str, source: str, app_uuid: Callable[[int], str]) -> PreloadedTarget:
    """Read a decoded apps.json of any of its three versions (spec target-state 4.1). The device name is ``""``.

    ``app_uuid`` gives the uuid of an app id and is called for version 2 only; its errors pass through. Raises
    ``InvalidTarget``.
    """
    if isinstance(content, list):
        document = v1_to_v3(content, uuid=uuid)
        return PreloadedTarget(target=decode_v3(document, uuid=uuid, source=source))
    violations = Violations()
    fields = violations.mapping(("apps.json",), content)
    pin = fields.get("pinDevice")
    if pin is not None:
        violations.boolean(("pinDevice",), pin)
    violations.settle()
    apps = fields.get("apps")
    if isinstance(apps, dict) and any(coerce.to_numeric_id(key) is not None for key in apps):
        conversion = V2Conversion(uuid=uuid, top=(), app_uuid=app_uuid)
        target = _converted(conversion, {**fields, "name": ""}, uuid=uuid, source=source, name="")
    else:
        target = _preloaded_v3(fields, uuid=uuid, source=source)
    return PreloadedTarget(target=target, pin_device=pin is True)


def _converted(conversion: V2Conversion, device: dict[str, Any], *, uuid: str, source: str, name: str) -> ParsedTarget:
    document = conversion.document(device, name=name)
    violations = Violations(conversion.given_path)
    violations.lines.extend(conversion.violations.lines)
    return decode_devices(document, uuid=uuid, source=source, violations=violations)


def _preloaded_v3(fields: dict[str, Any], *, uuid: str, source: str) -> ParsedTarget:
    device = {"name": ""}
    device.update({name: {} if fields.get(name) is None else fields[name] for name in ("config", "apps")})
    violations = Violations(lambda path: path[1:] or path)
    if isinstance(device["apps"], dict):
        for key, app in device["apps"].items():
            if isinstance(app, dict) and not app.get("releases"):
                violations.add((uuid, "apps", key, "releases"), "at least one release", app.get("releases", MISSING))
    return decode_devices({uuid: device}, uuid=uuid, source=source, violations=violations)


__all__ = ["ParsedTarget", "PreloadedTarget", "decode_apps_json", "decode_local", "decode_v3"]
