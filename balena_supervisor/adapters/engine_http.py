"""Answers and failures of the engine's API as types and errors of the supervisor."""

from __future__ import annotations

from typing import Any

import requests

from balena_supervisor.errors import EngineError, EngineUnavailable, NotFound, SupervisorError


class EngineReply:
    """One answer; ``json`` raises ``EngineUnavailable`` when its body is cut or no JSON."""

    def __init__(self, response: requests.Response, doing: str) -> None:
        self.response = response
        self._doing = doing

    def json(self) -> Any:
        try:
            return self.response.json()
        except (requests.RequestException, ValueError) as error:
            raise EngineUnavailable(f"cannot {self._doing}: the answer of the engine is no JSON ({error})") from error


def cause_of(response: requests.Response) -> str:
    """The engine's own words for a refusal."""
    try:
        message = response.json().get("message")
    except (ValueError, AttributeError):
        message = response.text
    return str(message or response.reason or f"status {response.status_code}").strip()


def refused(doing: str, status: int, cause: str) -> SupervisorError:
    """The error for a status of 400 and above."""
    message = f"cannot {doing}: {cause}"
    if status == 404:
        return NotFound(message, status=status, cause=cause)
    return EngineError(message, status=status, cause=cause)


def unreachable(doing: str, host: str, error: Exception, timeout_s: float) -> EngineUnavailable:
    """The error for a call without an answer."""
    if isinstance(error, requests.ConnectTimeout | requests.ReadTimeout):
        cause = f"the engine at {host} gave no answer within {timeout_s:g} s"
    else:
        cause = f"the engine at {host} cannot be reached ({_root_of(error)})"
    return EngineUnavailable(f"cannot {doing}: {cause}", cause=cause)


def _root_of(error: BaseException) -> str:
    """The innermost exception says most: requests and urllib3 wrap one another in long texts."""
    while True:
        inner = error.__cause__ or error.__context__ or next((a for a in error.args if isinstance(a, Exception)), None)
        if inner is None:
            return getattr(error, "strerror", None) or str(error) or type(error).__name__
        error = inner
