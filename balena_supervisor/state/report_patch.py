"""The smallest report that tells what has changed (spec target-state 7, cloud-and-host 5.3).

``last`` is what the cloud has been told so far: ``{}`` at first, then what :func:`merged` gives for each report that
arrived.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]

#: metric -> step: a change within one step is none (spec cloud-and-host 5.2)
STEPS = {"cpu_usage": 20, "memory_usage": 10, "cpu_temp": 5}


def v3_patch(last: Mapping[str, Any], new: Mapping[str, Any]) -> Json:
    """Field by field of the device; ``{}`` when nothing is to be sent. ``apps`` is sent whole.

    Empty objects are left out, except that ``apps: {}`` is sent once after apps were reported: otherwise the cloud
    would show the last ones for ever.
    """
    patch: Json = {}
    for uuid, fields in new.items():
        known = last.get(uuid, {})
        changed = {name: value for name, value in _changed(known, pruned(fields)).items() if name != "apps"}
        if "apps" in fields and (apps := pruned(fields["apps"])) != known.get("apps", {}):
            changed["apps"] = apps
        if changed:
            patch[uuid] = changed
    return patch


def v2_patch(last: Mapping[str, Any], new: Mapping[str, Any]) -> Json:
    """Field by field of ``local`` and ``dependent``; ``{}`` when nothing of ``local`` changed."""
    parts = {part: _changed(last.get(part, {}), fields) for part, fields in new.items()}
    return {part: fields for part, fields in parts.items() if fields} if parts.get("local") else {}


def merged(last: Mapping[str, Any], patch: Mapping[str, Any]) -> Json:
    """What the cloud knows after a patch."""
    return {**last, **{part: {**last.get(part, {}), **fields} for part, fields in patch.items()}}


def pruned(value: Any) -> Any:
    """A value without the empty objects in it, on any level."""
    if not isinstance(value, dict):
        return value
    kept = {name: pruned(entry) for name, entry in value.items()}
    return {name: entry for name, entry in kept.items() if entry != {}}


def _changed(last: Mapping[str, Any], fields: Mapping[str, Any]) -> Json:
    return {name: value for name, value in fields.items() if name not in last or _differs(name, last[name], value)}


def _differs(name: str, last: Any, new: Any) -> bool:
    step = STEPS.get(name)
    if step is not None and isinstance(last, int | float) and isinstance(new, int | float):
        return last // step != new // step
    return bool(last != new)
