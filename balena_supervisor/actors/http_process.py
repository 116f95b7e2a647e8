"""The row of the local API in the start list: gunicorn, and in its worker the actor ``http`` with the application."""

from __future__ import annotations

from typing import Any, NoReturn
from wsgiref.types import WSGIApplication

import pykka

from balena_supervisor.actors.http_api import SUBSCRIPTIONS, HttpApi, HttpPorts
from balena_supervisor.clock import SystemClock
from balena_supervisor.http.api import Api
from balena_supervisor.http.app import create_app
from balena_supervisor.http.server import serve
from balena_supervisor.http.snapshots import Snapshots
from balena_supervisor.runtime.actor import Ports, Post
from balena_supervisor.runtime.child_host import connect_in_thread
from balena_supervisor.runtime.process import die_with_parent
from balena_supervisor.runtime.table import ActorRow, ChildContext

NAME = "http"


def http_row(version: str) -> ActorRow:
    """``version`` is that of the supervisor, without a leading v."""

    def serve_context(context: ChildContext) -> NoReturn:
        if context.listener_fd is None:
            raise ValueError("http needs a listening socket")
        serve(
            listener_fd=context.listener_fd,
            in_worker=die_with_parent,
            make_application=lambda: _connected_application(context, version),
        )

    return ActorRow(name=NAME, serve=serve_context, subscriptions=SUBSCRIPTIONS, critical=True)


def _connected_application(context: ChildContext, version: str) -> WSGIApplication:
    """In the worker: start the actor, wait until it has the retained snapshots, and build the routes on them."""
    clock = SystemClock()
    snapshots = Snapshots(clock)
    posts: list[Post] = []

    def start(ports: Ports) -> pykka.ActorRef[Any]:
        posts.append(ports.post)
        return HttpApi.start(
            HttpPorts(
                name=ports.name,
                generation=ports.generation,
                post=ports.post,
                clock=ports.clock,
                timers=ports.timers,
                keep=snapshots.keep,
            )
        )

    connect_in_thread(context, ActorRow(name=NAME, start=start))
    return create_app(Api(snapshots=snapshots, post=posts[0], clock=clock, version=version))
