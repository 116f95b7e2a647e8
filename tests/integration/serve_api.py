"""The local API under gunicorn in a process of its own, without actors: ``python -m … LISTENER_FD LIMITS_JSON``."""

from __future__ import annotations

import itertools
import json
import os
import sys
import threading
from collections.abc import Iterator
from wsgiref.types import WSGIApplication

import falcon

from balena_supervisor.clock import SystemClock
from balena_supervisor.http.api import Api
from balena_supervisor.http.app import create_app
from balena_supervisor.http.patience import Limits
from balena_supervisor.http.server import serve
from balena_supervisor.http.snapshots import Snapshots
from balena_supervisor.messages import ConfigChanged, DeviceStateChanged, SetLocalTarget, TargetAccepted
from balena_supervisor.model.device import Configuration
from balena_supervisor.model.state import DeviceState
from balena_supervisor.runtime.process import die_with_parent
from tests.http.support import AnsweringPost


class Stream:
    """Sends one line and then nothing, for ever."""

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        resp.content_type = "text/plain"
        resp.stream = self._lines()

    @staticmethod
    def _lines() -> Iterator[bytes]:
        yield b"first\n"
        threading.Event().wait()


class Flood:
    """Sends without an end."""

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        resp.stream = itertools.repeat(b" " * 65536)


class Pid:
    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        resp.text = f"{os.getpid()} {os.getppid()}"


def make_application() -> WSGIApplication:
    clock = SystemClock()
    snapshots = Snapshots(clock)
    snapshots.keep(ConfigChanged(configuration=Configuration()))
    snapshots.keep(DeviceStateChanged(state=DeviceState()))
    post = AnsweringPost()
    post.answers[SetLocalTarget] = TargetAccepted(version=1)
    app = create_app(
        Api(snapshots=snapshots, post=post, clock=clock, version="1", ask_timeout_s=1, settle_timeout_s=0.01)
    )
    app.add_route("/stream", Stream())
    app.add_route("/flood", Flood())
    app.add_route("/pid", Pid())
    return app


def crash() -> WSGIApplication:
    os._exit(1)


if __name__ == "__main__":
    serve(
        listener_fd=int(sys.argv[1]),
        make_application=crash if "crash" in sys.argv else make_application,
        in_worker=die_with_parent,
        limits=Limits(**json.loads(sys.argv[2])),
    )
