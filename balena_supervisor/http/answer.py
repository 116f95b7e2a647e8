"""What a request is answered with: an immutable body with its type and tag, ready to be sent many times."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import falcon
import msgspec

from balena_supervisor.errors import RemoteError, SupervisorError

HTML = "text/html; charset=utf-8"
PLAIN = "text/plain; charset=utf-8"
JSON = "application/json; charset=utf-8"

#: Errors of other actors that are the client's fault; every other one is 503.
_STATUS_OF_CODE = {"invalid-target": 400, "invalid-composition": 400, "invalid-value": 400, "locked": 423}


def tag_of(body: bytes) -> str:
    """The ETag of a body (spec device-api 1): its length and the start of its SHA-1."""
    digest = base64.b64encode(hashlib.sha1(body, usedforsecurity=False).digest()).decode()
    return f'W/"{len(body):x}-{digest[:27]}"'


@dataclass(frozen=True)
class Answer:
    """A whole answer. ``tag`` is its ETag; the page for unknown paths has none."""

    status: int
    body: bytes
    content_type: str
    tag: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def send(self, resp: falcon.Response) -> None:
        """Write it into falcon's response."""
        resp.status = self.status
        resp.data = self.body
        resp.content_type = self.content_type
        if self.tag:
            resp.set_header("ETag", self.tag)
        for name, value in self.headers.items():
            resp.set_header(name, value)


class Refused(Exception):
    """Ends a request with an answer; raised anywhere below a route."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"refused with {answer.status}")
        self.answer = answer


def json_answer(value: Any, status: int = 200) -> Answer:
    """``value`` is builtins or a msgspec struct."""
    body = msgspec.json.encode(value)
    return Answer(status, body, JSON, tag_of(body))


def text(body: str, status: int = 200) -> Answer:
    """A plain string, which the reference sends as HTML."""
    encoded = body.encode()
    return Answer(status, encoded, HTML, tag_of(encoded))


def bare_status(status: int) -> Answer:
    """A status whose body is its reason phrase."""
    phrase = HTTPStatus(status).phrase.encode()
    return Answer(status, phrase, PLAIN, tag_of(phrase))


def failed(status: int, message: str) -> Answer:
    """``{"status":"failed","message":…}``."""
    return json_answer({"status": "failed", "message": message}, status)


def failure_of(error: SupervisorError) -> Answer:
    """The answer to an error of this process or of another actor (spec device-api 1.3)."""
    if isinstance(error, RemoteError) and error.code == "internal-error":
        return failed(503, "cannot answer: an internal error, see the log of the supervisor")
    return failed(_STATUS_OF_CODE.get(error.code, 503), error.message)


_PAGE = b"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Not found</title></head>
<body><pre>There is nothing here.</pre></body>
</html>
"""

NOT_FOUND = Answer(
    404, _PAGE, HTML, headers={"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'"}
)
UNAUTHORIZED = bare_status(401)
