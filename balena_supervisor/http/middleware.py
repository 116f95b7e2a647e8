"""What happens around every route: paths, methods, tags, the request log, keys and bodies (spec device-api 1)."""

from __future__ import annotations

from typing import Any

import falcon

from balena_supervisor.http.answer import HTML, NOT_FOUND, Answer, Refused, tag_of
from balena_supervisor.http.api import Api
from balena_supervisor.http.auth import identify, key_of
from balena_supervisor.http.body import read_body
from balena_supervisor.http.origin import need_own_origin
from balena_supervisor.http.snapshots import Snapshots

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_WATCHED = "/debug"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_KEYLESS = frozenset({"/ping", "/v1/healthy"})
_BODY_UNREAD = frozenset({"/ping", "/v1/healthy", "/v1/blink", "/v1/regenerate-api-key"})


class RequestLog:
    """One line for each finished request, without its query, which may hold a key. Not for the looks of an open debug
    page, several each second, which would push everything else out of the journal."""

    def __init__(self, api: Api) -> None:
        self._clock = api.clock
        self._log = api.log

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        req.context.began_at = self._clock.monotonic()
        req.context.said = (req.method, _printable(req.path))

    def process_response(self, req: falcon.Request, resp: falcon.Response, _resource: object, _succeeded: bool) -> None:
        method, path = req.context.said
        if method == "GET" and path.startswith(_WATCHED) and resp.status_code < 300:
            return
        took_ms = (self._clock.monotonic() - req.context.began_at) * 1000
        self._log("api", method, f"{path} {resp.status_code} - {took_ms:.3f} ms")


class HttpDetails:
    """Paths without regard to case, HEAD, OPTIONS, ETag and 304."""

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        req.context.method = req.method
        req.path = _matched(req.path)
        if req.method == "HEAD":
            req.method = "GET"

    def process_resource(
        self, req: falcon.Request, resp: falcon.Response, resource: object, _params: dict[str, Any]
    ) -> None:
        if req.method == "OPTIONS":
            options(resource).send(resp)
            resp.complete = True

    def process_response(self, req: falcon.Request, resp: falcon.Response, _resource: object, _succeeded: bool) -> None:
        tag = resp.get_header("ETag")
        if tag and 200 <= resp.status_code < 300 and req.method == "GET" and _matches(req, tag):
            resp.status = 304
            resp.data = None
            resp.delete_header("Content-Type")
        req.method = req.context.method


class Gate:
    """Identifies the caller and reads the body, before the route is looked up: an unknown path is 401 first."""

    def __init__(self, snapshots: Snapshots) -> None:
        self._snapshots = snapshots

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        picture = self._snapshots.picture
        req.context.picture = picture
        if not (req.path in _KEYLESS and req.method in {"GET", "OPTIONS"}):
            key = key_of(req.params, req.get_header("Authorization") or "")
            req.context.caller = identify(picture, key)
            if not key and req.method not in _SAFE:
                need_own_origin(req)
        req.context.body = {} if req.path in _BODY_UNREAD else read_body(req)


def options(resource: object) -> Answer:
    """The answer to OPTIONS: the methods of a route, in ``Allow`` and as text."""
    names = [name for name in _METHODS if hasattr(resource, f"on_{name.lower()}")]
    if names[:1] == ["GET"]:
        names.insert(1, "HEAD")
    body = ",".join(names)
    return Answer(200, body.encode(), HTML, tag_of(body.encode()), {"Allow": body})


def _matched(path: str) -> str:
    """The path as routes know it: lower case, one trailing slash less. A doubled leading slash matches nothing."""
    if path.startswith("//"):
        return "/ "
    if len(path) > 1 and path.endswith("/"):
        path = path[:-1]
    return path.lower()


def _matches(req: falcon.Request, tag: str) -> bool:
    """Whether the client has this body already; weak comparison, ``no-cache`` asks for the body all the same."""
    given = req.get_header("If-None-Match")
    if not given or "no-cache" in (req.get_header("Cache-Control") or ""):
        return False
    known = [one.strip().removeprefix("W/") for one in given.split(",")]
    return given.strip() == "*" or tag.removeprefix("W/") in known


def _printable(path: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in path[:200])


def not_found(_req: falcon.Request, resp: falcon.Response, _error: Exception, _params: dict[str, Any]) -> None:
    NOT_FOUND.send(resp)


def refused(_req: falcon.Request, resp: falcon.Response, error: Refused, _params: dict[str, Any]) -> None:
    error.answer.send(resp)
