"""The local API as one WSGI application, made from its ports (spec device-api)."""

from __future__ import annotations

import logging
from typing import Any

import falcon

from balena_supervisor.errors import SupervisorError
from balena_supervisor.http import debug, v1, v2
from balena_supervisor.http.answer import Refused, failed, failure_of
from balena_supervisor.http.api import Api
from balena_supervisor.http.middleware import Gate, HttpDetails, RequestLog, not_found, refused

LOG = logging.getLogger("balena_supervisor.http")


def create_app(api: Api) -> falcon.App[falcon.Request, falcon.Response]:
    """The application. Needs no socket, no process and no actor, only what ``api`` holds."""
    app: falcon.App[falcon.Request, falcon.Response] = falcon.App(
        middleware=[RequestLog(api.clock), HttpDetails(), Gate(api.snapshots)]
    )
    app.add_error_handler(Exception, _unexpected)
    app.add_error_handler(SupervisorError, _failed)
    app.add_error_handler(falcon.HTTPError, not_found)
    app.add_error_handler(Refused, refused)
    for add_routes in (v1.add_routes, v2.add_routes, debug.add_routes):
        add_routes(app, api)
    return app


def _failed(req: falcon.Request, resp: falcon.Response, error: SupervisorError, _params: dict[str, Any]) -> None:
    answer = failure_of(error)
    if answer.status >= 500:
        LOG.error("%s failed: %s code=%s", req.context.said, error.message, error.code)
    answer.send(resp)


def _unexpected(req: falcon.Request, resp: falcon.Response, error: Exception, _params: dict[str, Any]) -> None:
    LOG.error("%s failed unexpectedly", req.context.said, exc_info=error)
    failed(503, "cannot answer: an internal error, see the log of the supervisor").send(resp)
