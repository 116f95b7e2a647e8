"""A local API for tests: snapshots that the test sets, a post that answers, a falcon client without sockets."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from falcon import testing

from balena_supervisor.errors import ErrorRecord, RemoteError
from balena_supervisor.http.api import Api
from balena_supervisor.http.app import create_app
from balena_supervisor.http.snapshots import Snapshots
from balena_supervisor.messages import ConfigChanged, DeviceStateChanged, KeysChanged, TargetChanged
from balena_supervisor.model.device import Configuration
from balena_supervisor.model.state import (
    AppSummary,
    ContainerSummary,
    DeviceState,
    ImageSummary,
    ServiceSummary,
    Waiting,
)
from balena_supervisor.model.target import TargetState
from balena_supervisor.runtime import output
from balena_supervisor.runtime.message import Request
from tests.fakes.ports import FakeClock, FakePost

R = TypeVar("R")

ENDPOINT = "https://api.example.test"
GLOBAL_KEY = "a0" * 16
APP_KEY = "b1" * 16
KEYS = KeysChanged(
    global_key=GLOBAL_KEY,
    scopes={GLOBAL_KEY: [{"type": "global"}], APP_KEY: [{"type": "app", "appId": 1}]},
    services=(),
)


class AnsweringPost(FakePost):
    """Answers each type of question with a value, an error, or what a function of the question gives."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: dict[type, Any] = {}

    def ask(self, recipient: str, message: Request[R], timeout_s: float) -> Future[R]:
        future = super().ask(recipient, message, timeout_s)
        if type(message) not in self.answers:
            return future
        answer = self.answers[type(message)]
        if isinstance(answer, Exception):
            future.set_exception(answer)
        elif isinstance(answer, Callable):  # type: ignore[arg-type]  # mypy wants a class
            future.set_result(answer(message))
        else:
            future.set_result(answer)
        return future


class Device:
    """The API of one device, with everything around it in the test's hands."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.post = AnsweringPost()
        self.snapshots = Snapshots(self.clock)
        self.lines: list[str] = []
        api = Api(
            snapshots=self.snapshots,
            post=self.post,
            clock=self.clock,
            version="1.2.3",
            log=self._log,
            ask_timeout_s=0.01,
            settle_timeout_s=0.001,
        )
        self.client = testing.TestClient(create_app(api))

    def _log(self, level: output.Level, subject: str, fact: str, **fields: Any) -> None:
        self.lines.append(output.line(level, subject, fact, **fields))

    def configure(self, **values: Any) -> None:
        self.snapshots.keep(ConfigChanged(configuration=Configuration(**values)))

    def manage(self) -> None:
        """A device with an endpoint, outside local mode, whose keys are known."""
        self.configure(api_endpoint=ENDPOINT, uuid="abc")
        self.snapshots.keep(KEYS)

    def show(self, state: DeviceState) -> None:
        self.snapshots.keep(DeviceStateChanged(state=state))

    def target(self, target: TargetState) -> None:
        self.snapshots.keep(TargetChanged(target=target))


def remote(code: str, message: str = "cannot do it: told so") -> RemoteError:
    return RemoteError(ErrorRecord(code, message))


def container(service_name: str = "web", **changes: Any) -> ContainerSummary:
    values: dict[str, Any] = {
        "status": "Running",
        "service_name": service_name,
        "app_id": 1,
        "app_uuid": "u1",
        "image_id": 10,
        "service_id": 20,
        "release_id": 30,
        "commit": "c1",
        "container_id": f"id-{service_name}",
        "created_at": "2026-01-02T03:04:05.123456789Z",
        "image_name": "repo/web:latest",
    }
    return ContainerSummary(**{**values, **changes})


def image(service_name: str = "web", **changes: Any) -> ImageSummary:
    values: dict[str, Any] = {
        "name": "repo/web:latest",
        "app_id": 1,
        "app_uuid": "u1",
        "service_name": service_name,
        "image_id": 10,
        "service_id": 20,
        "release_id": 30,
        "commit": "c1",
        "docker_image_id": "sha256:aa",
        "status": "Downloaded",
        "progress": None,
    }
    return ImageSummary(**{**values, **changes})


#: of the apps 1 and 2 the first waits for an image, and the second has ended
TWO_APPS = DeviceState(
    target_version=2,
    apps=tuple(
        AppSummary(
            app_id=app_id, app_uuid=f"u{app_id}", name=name, commit="c2", current_commit="c1", release_id=30,
            services=(ServiceSummary(service_name=name, image_name=f"repo/{name}:2", running=True),),
        )
        for app_id, name in ((1, "web"), (2, "db"))
    ),
    containers=(container("web", commit="c1"), container("db", app_id=2, status="exited", exit_code=3)),
    waiting=(Waiting(subject="image:repo/web:2", app_id=1, service_name="web", reason="no route", retry_at=1005.0),),
    last_error=ErrorRecord("engine-error", "cannot pull repo/web:2: no route"),
)  # fmt: skip
