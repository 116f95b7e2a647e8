"""Hides secrets in what people are shown."""

from __future__ import annotations

import re
from typing import Any

HIDDEN = "***"
_SECRET_NAME = re.compile(r"key|secret|token|password", re.IGNORECASE)
_ASSIGNMENT = re.compile(r"\A([A-Za-z_][A-Za-z0-9_.-]*)=(.*)\Z", re.DOTALL)
_URL_PARAMETER = re.compile(r"([\w.-]*(?:key|secret|token|password)[\w.-]*)=[^&\s]+", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"(://[^/\s:@]*):[^/\s@]+@")
#: fields whose mapping is keyed by the secrets themselves
_KEYED_BY_SECRETS = frozenset({"scopes"})


def is_secret_name(name: str) -> bool:
    """Whether a field or environment variable of this name holds a secret."""
    return bool(_SECRET_NAME.search(name))


def masked(value: Any) -> Any:
    """A copy of decoded builtins with the values of secret names replaced by ``***``.

    Covers mapping values, ``NAME=value`` strings as in a container's environment, and parameters and passwords in URLs.
    """
    if isinstance(value, dict):
        return {name: _masked_field(name, item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked(item) for item in value]
    if isinstance(value, str):
        return _masked_text(value)
    return value


def _masked_field(name: object, value: Any) -> Any:
    text = str(name)
    if text in _KEYED_BY_SECRETS and isinstance(value, dict):
        return {f"{HIDDEN}{number}": masked(item) for number, item in enumerate(value.values(), 1)}
    if is_secret_name(text) and value not in (None, "", False, True):
        return HIDDEN
    return masked(value)


def _masked_text(text: str) -> str:
    assignment = _ASSIGNMENT.match(text)
    if assignment and is_secret_name(assignment[1]):
        return f"{assignment[1]}={HIDDEN}"
    if "://" in text:
        text = _URL_PASSWORD.sub(rf"\1:{HIDDEN}@", text)
    return _URL_PARAMETER.sub(rf"\1={HIDDEN}", text) if "=" in text else text
