"""Who calls, and which apps the caller's key covers (spec device-api 2)."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass

from balena_supervisor.errors import NotReady
from balena_supervisor.http.answer import UNAUTHORIZED, Refused, failed
from balena_supervisor.http.snapshots import Picture
from balena_supervisor.messages import KeysChanged

_AUTHORIZATION = re.compile(r"(?:bearer|apikey) ([a-z0-9_]+)", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True)
class Caller:
    """``apps`` are the app ids that the key covers; None means everything."""

    apps: frozenset[int] | None = None

    def covers(self, app_id: int) -> bool:
        """Whether the key covers the app; 0 is the device as a whole."""
        return self.apps is None or app_id in self.apps

    def need_global(self) -> None:
        """Raises ``Refused`` (401) unless the key covers everything."""
        if self.apps is not None:
            raise Refused(failed(401, "cannot answer: this needs a key for the whole device"))


EVERYTHING = Caller()


def key_of(parameters: Mapping[str, str | list[str]], authorization: str) -> str:
    """The key of a request, or ``""``.

    Query parameter ``apikey`` alone counts when it is one non-empty text; else the header with scheme ``Bearer`` or
    ``ApiKey``.
    """
    value = parameters.get("apikey")
    if isinstance(value, str) and value:
        return value
    match = _AUTHORIZATION.fullmatch(authorization)
    return match[1] if match else ""


def identify(picture: Picture, key: str) -> Caller:
    """The caller of a request. Raises ``Refused`` (401), or ``NotReady`` before configuration and keys are known."""
    configuration = picture.need_configuration()
    if configuration.local_mode or not configuration.managed:
        return EVERYTHING
    if not key:
        raise Refused(UNAUTHORIZED)
    keys = picture.keys
    if keys is None:
        raise NotReady("cannot check the key: the keys have not been read yet")
    caller = _find(picture.derived("callers", lambda: _callers(keys)), key)
    if caller is None:
        raise Refused(UNAUTHORIZED)
    return caller


def _find(callers: tuple[tuple[bytes, Caller], ...], key: str) -> Caller | None:
    """Compares with every key, each in constant time, so that an answer's time tells nothing of any key."""
    given = key.encode("utf-8", "surrogateescape")
    found = None
    for known, caller in callers:
        if hmac.compare_digest(known, given):
            found = caller
    return found


def _callers(keys: KeysChanged) -> tuple[tuple[bytes, Caller], ...]:
    callers = []
    for key, scopes in keys.scopes.items():
        everything = any(scope.get("type") == "global" for scope in scopes)
        apps = frozenset(int(s["appId"]) for s in scopes if s.get("type") == "app" and "appId" in s)
        callers.append((key.encode(), EVERYTHING if everything else Caller(apps)))
    if keys.global_key:
        callers.append((keys.global_key.encode(), EVERYTHING))
    return tuple(callers)
