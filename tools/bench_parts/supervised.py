"""The supervised half: a supervisor in a folder of its own, timed from outside through its API and the engine."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import docker
import requests

from tools.bench_parts.memory import Pss, pss_of_family
from tools.bench_parts.raw import RawApp
from tools.bench_parts.terminal import say
from tools.dev_parts import labelled
from tools.dev_parts.programs import ProgramFailed
from tools.dev_parts.supervisor import Api, Refused, Supervisor

#: seconds until memory is measured; what start or apply leaves behind is freed by then
SETTLE_S = 2.0
#: seconds that anything may take before the measurement is given up
LIMIT_S = 120.0
_POLL_S = 0.005


class BenchFailed(Exception):
    """Something did not come to pass, so there is nothing to measure."""


class TimingApi(Api):
    """Asks often enough to time the first ``/ping``, over a lasting connection: a new one for each question would take
    a good part of two processors away from what is measured."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._session = requests.Session()
        #: monotonic second of the first answer since it was last set to None
        self.first_ping_at: float | None = None

    def is_ready(self) -> bool:
        """As the base class, looking for a second: the wait of the program between two looks would be too coarse."""
        end = time.monotonic() + 1
        while time.monotonic() < end:
            if self._pings() and super().is_ready():
                return True
            time.sleep(_POLL_S)
        return False

    def _pings(self) -> bool:
        if self.first_ping_at is None:
            try:
                answers = self.get("/ping", timeout_s=1) == "OK"
            except OSError:
                return False
            if answers:
                self.first_ping_at = time.monotonic()
        return self.first_ping_at is not None

    def _send(self, request: urllib.request.Request, timeout_s: float) -> Any:
        body: Any = request.data
        answer = self._session.request(
            request.get_method(), request.full_url, data=body, headers=request.headers, timeout=timeout_s
        )
        if not answer.ok:
            raise Refused(answer.status_code, answer.text)
        return answer.json() if "json" in answer.headers.get("Content-Type", "") else answer.text


class Place(NamedTuple):
    """Where a supervisor lives. ``run_dir`` has a short path, since there are sockets in it."""

    data: Path
    run_dir: Path
    engine_url: str
    port: int


class Took(NamedTuple):
    """Seconds of an apply: from the POST until the API says that all services run anew, which the engine confirms; and
    from the start of the last container until the API says ``applied``."""

    running_s: float
    lag_s: float


class Bench:
    """One supervisor with one app, whose services all run the same image."""

    def __init__(self, place: Place, client: docker.APIClient, *, image: str, instance: str) -> None:
        self.instance = instance
        self.folder = place.data
        self._client = client
        self._image = image
        self._app_id = place.port * 1000 + 7
        self._version = 0
        self._labels: dict[str, str] = {}
        self._supervisor = Supervisor(
            place.data, place.run_dir, engine_url=place.engine_url, instance=instance, port=place.port
        )
        self._supervisor.api = self._api = TimingApi(place.port)

    @property
    def url(self) -> str:
        return self._api.url

    def start(self) -> float:
        """Start it; seconds to the first answer to ``/ping``."""
        self._api.first_ping_at = None
        began = time.monotonic()
        self._supervisor.start(timeout_s=LIMIT_S)
        assert self._api.first_ping_at is not None
        took = self._api.first_ping_at - began
        self._wait(lambda: self._applied(0), "the supervisor does not come to rest")
        return took

    def stop(self) -> None:
        self._supervisor.stop()
        labelled.remove_lock_folders(self.instance)

    def output(self) -> str:
        """The last lines that it wrote."""
        return self._supervisor.program.tail(30)

    def settle(self) -> None:
        """Wait until it has come to rest."""
        time.sleep(SETTLE_S)

    def memory(self) -> Pss:
        """Of all its processes once it has come to rest."""
        self.settle()
        return pss_of_family(self.pid())

    def pid(self) -> int:
        pid = self._supervisor.program.pid()
        if pid is None:
            raise BenchFailed("the supervisor has ended")
        return pid

    def apply(self, services: int, strategy: str = "") -> Took:
        """Create the services, or update all with one variable changed in each, by an update strategy."""
        if strategy:
            # nothing here tells of a hand-over; so it is the calls of it that are measured, not a wait
            self._labels = {"io.balena.update.strategy": strategy, "io.balena.update.handover-timeout": "1"}
        self._client.tag(self._image, self._image.partition(":")[0], "used")
        before = set(labelled.containers(self._client, self.instance))
        self._version += 1
        began = time.monotonic()
        self._api.post("/v2/local/target-state", self._target(services), timeout_s=LIMIT_S)
        while True:
            self._wait(lambda: self._all_run(services, before), f"not all of {services} services run")
            running_s = time.monotonic() - began
            rows = self._client.containers(filters={"label": f"{labelled.LABEL}={self.instance}"})
            if len(rows) == services and before.isdisjoint(row["Id"] for row in rows):
                self._wait(lambda: self._applied(services), "the apply does not end")
                applied_at = time.time()
                return Took(running_s, applied_at - self._last_start(row["Id"] for row in rows))

    def apply_again(self, services: int) -> tuple[float, int]:
        """The same target once more: seconds until it is applied, and how often a container was touched."""
        since_ns = time.time_ns()
        began = time.monotonic()
        self._api.post("/v2/local/target-state", self._target(services), timeout_s=LIMIT_S)
        self._wait(lambda: self._applied(services), "the repeated target does not come to be applied")
        took = time.monotonic() - began
        filters = {"type": "container", "label": f"{labelled.LABEL}={self.instance}"}
        # whole seconds only, so it also waits for what would come a little later
        since, until = since_ns // 1_000_000_000, int(time.time()) + 1
        events = self._client.events(since=since, until=until, filters=filters, decode=True)
        return took, sum(1 for event in events if event["timeNano"] >= since_ns)

    def order(self, verb: str) -> float:
        """Restart or purge the app; seconds until it is answered, which is when all services run again."""
        began = time.monotonic()
        self._api.post("/debug/orders", {"verb": verb, "appId": self._app_id}, timeout_s=LIMIT_S)
        return time.monotonic() - began

    def clear(self) -> float:
        """Apply an empty target; seconds from the POST until everything is gone."""
        began = time.monotonic()
        self._api.post("/v2/local/target-state", self._target(0), timeout_s=LIMIT_S)
        self._wait(lambda: self._applied(0) and not self._present(), "the services do not go away")
        self._labels = {}
        return time.monotonic() - began

    def as_made(self, instance: str) -> RawApp:
        """What the supervisor has made now, to be made again without it."""
        containers = [self._client.inspect_container(key) for key in labelled.containers(self._client, self.instance)]
        networks = self._client.networks(filters={"label": f"{labelled.LABEL}={self.instance}"})
        return RawApp(containers, networks, instance)

    def _present(self) -> bool:
        networks = self._client.networks(filters={"label": f"{labelled.LABEL}={self.instance}"})
        return bool(labelled.containers(self._client, self.instance) or networks)

    def _last_start(self, containers: Iterable[str]) -> float:
        """When the engine had the last of the containers running, in wall time: its clock is ours."""
        started = [self._client.inspect_container(key)["State"]["StartedAt"] for key in containers]
        return max(datetime.fromisoformat(at).timestamp() for at in started)

    def _all_run(self, services: int, before: set[str]) -> bool:
        containers = self._api.status()["containers"]
        states = [container["status"] for container in containers]
        return states == ["Running"] * services and before.isdisjoint(row["containerId"] for row in containers)

    def _applied(self, services: int) -> bool:
        status = self._api.status()
        return status["appState"] == "applied" and len(status["containers"]) == services

    def _target(self, services: int) -> dict[str, Any]:
        """In the v2 form of the local API; no services means no app. The commit is a part of each container's name."""
        image = self._image.partition(":")[0] + ":used"
        listed = {
            str(number): {
                "serviceName": f"service{number}",
                "imageId": number,
                "image": image,
                "running": True,
                "environment": {"NUMBER": str(number), "VERSION": str(self._version)},
                "labels": self._labels,
            }
            for number in range(1, services + 1)
        }
        app = {"name": "bench", "commit": self.instance, "releaseId": 1, "services": listed}
        app |= {"volumes": {"data": {}}, "networks": {}}
        return {"local": {"name": "bench", "config": {}, "apps": {str(self._app_id): app} if services else {}}}

    def _wait(self, condition: Callable[[], bool], failure: str) -> None:
        end = time.monotonic() + LIMIT_S
        while time.monotonic() < end:
            try:
                if condition():
                    return
            except OSError:
                # it may still be starting; one that has ended is told at once
                if self._supervisor.program.pid() is None:
                    raise BenchFailed(f"{failure}: the supervisor has ended") from None
            time.sleep(_POLL_S)
        raise BenchFailed(f"{failure} after {LIMIT_S:.0f} s: {self._last_status()}")

    def _last_status(self) -> str:
        try:
            return str(self._api.status())
        except OSError as error:
            return str(error)


@contextmanager
def supervised(bench: Bench) -> Iterator[float]:
    """One life of the supervisor. Gives the seconds to its first answer; what it wrote last is shown at a failure."""
    try:
        yield bench.start()
    except (BenchFailed, ProgramFailed, OSError):
        say(f"the supervisor's last lines:\n{bench.output()}")
        raise
    finally:
        bench.stop()
