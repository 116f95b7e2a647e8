"""Target documents with one thing changed."""

from __future__ import annotations

import copy
from typing import Any


def with_value(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with the value at a path of keys joined by dots, or without what stands there when it is ``...``."""
    result = copy.deepcopy(document)
    *parents, last = path.split(".")
    place = result
    for key in parents:
        place = place[key]
    if value is ...:
        del place[last]
    else:
        place[last] = copy.deepcopy(value)
    return result
