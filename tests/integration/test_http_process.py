"""The local API as a process of the supervisor: its mailbox, its snapshots, and what a SIGKILL costs its clients."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.toy_supervisor import REPOSITORY, wait_until

PATIENCE_S = 20


class Supervisor:
    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.log = folder / "log"
        self._log = self.log.open("wb")
        self.program = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.api_supervisor", str(folder), str(self.port)],
            cwd=REPOSITORY,
            stdout=self._log,
            stderr=self._log,
        )

    def request(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Status and decoded answer. Raises ``OSError`` when the connection is refused or cut."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            headers = {"Content-Type": "application/json"} if body is not None else {}
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            answer = connection.getresponse()
            raw = answer.read()
            is_json = answer.headers["Content-Type"].startswith("application/json")
            return answer.status, json.loads(raw) if is_json else raw.decode()
        finally:
            connection.close()

    def answers(self, path: str = "/v2/state/status") -> bool:
        try:
            return self.request("GET", path)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def get_again(self, path: str) -> tuple[int, Any]:
        """The first answer that is not lost with the process that had accepted the request.

        Raises ``ConnectionRefusedError`` when nobody listens.
        """

        def answer() -> tuple[int, Any] | None:
            try:
                return self.request("GET", path)
            except (ConnectionResetError, http.client.IncompleteRead):
                return None

        return wait_until(answer, f"an answer to GET {path}")

    def actor(self, name: str) -> dict[str, Any]:
        """What the view says of an actor; a state of "unknown" while root cannot be asked."""
        status, view = self.get_again("/debug/actors")
        if status == 503:
            return {"name": name, "state": "unknown", "pid": 0}
        return next(actor for actor in view["actors"] if actor["name"] == name)

    def wait_for_another(self, name: str, killed: int) -> None:
        """Until another process than the killed one runs. Raises ``ConnectionRefusedError`` when nobody listens."""

        def another() -> bool:
            found = self.actor(name)
            return bool(found["state"] == "running" and found["pid"] != killed)

        wait_until(another, f"another {name}", 10)

    def end(self) -> int:
        self.program.terminate()
        try:
            return self.program.wait(10)
        finally:
            self.program.kill()
            self.program.wait(10)
            self._log.close()


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    folder = Path(tempfile.mkdtemp(prefix="api-"))
    running = Supervisor(folder)
    try:
        wait_until(running.answers, "the API answers")
        yield running
    finally:
        running.end()
        shutil.rmtree(folder, ignore_errors=True)


def test_state_and_views_come_through_the_mailboxes(supervisor: Supervisor) -> None:
    assert supervisor.request("GET", "/v2/local/device-info")[1]["info"]["deviceType"] == "toy"
    http_view, arbiter = supervisor.actor("http"), supervisor.actor("http-arbiter")
    assert (http_view["state"], arbiter["state"]) == ("running", "running")
    assert http_view["pid"] != arbiter["pid"]
    assert "Thread" in supervisor.request("GET", "/debug/actors/http/stack")[1]["stack"]


def test_a_target_is_stored_refused_or_named_in_the_next_get(supervisor: Supervisor) -> None:
    assert supervisor.request("POST", "/v2/local/target-state", {"local": {"apps": {}}})[0] == 200
    status = supervisor.request("GET", "/v2/state/status")[1]
    assert (status["appState"], status["targetVersion"]) == ("applying", 1)
    assert supervisor.request("POST", "/v2/local/target-state", {"local": {}}) == (
        400,
        {"status": "failed", "message": "local.apps: is missing"},
    )


def test_a_new_worker_has_every_snapshot_before_it_answers(supervisor: Supervisor) -> None:
    for _ in range(3):
        killed = supervisor.actor("http")["pid"]
        os.kill(killed, signal.SIGKILL)
        assert supervisor.get_again("/v2/state/status")[0] == 200
        assert supervisor.actor("http")["pid"] != killed


@pytest.mark.parametrize("name", ["http", "http-arbiter", "root"])
def test_a_killed_process_costs_requests_in_flight_and_no_refused_connection(supervisor: Supervisor, name: str) -> None:
    killed = supervisor.actor(name)["pid"]
    os.kill(killed, signal.SIGKILL)
    supervisor.wait_for_another(name, killed)


@pytest.mark.parametrize("name", ["http", "http-arbiter", "root", "planner"])
def test_a_restart_by_the_api_is_answered_and_done(supervisor: Supervisor, name: str) -> None:
    before = supervisor.actor(name)["pid"]
    assert supervisor.request("POST", f"/debug/actors/{name}/restart")[0] == 200
    supervisor.wait_for_another(name, before)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nobody/mailbox", "there is no actor nobody"),
        ("nobody/stack", "there is no actor nobody"),
        ("nursery/mailbox", "nursery has no mailbox"),
        ("http-arbiter/mailbox", "http-arbiter has no mailbox"),
        ("http-arbiter/stack", "http-arbiter has no connection to be asked for its stack"),
    ],
)
def test_a_view_that_does_not_exist_says_why(supervisor: Supervisor, path: str, message: str) -> None:
    assert supervisor.request("GET", f"/debug/actors/{path}") == (404, {"status": "failed", "message": message})


def test_sigterm_ends_everything_with_143(supervisor: Supervisor) -> None:
    pids = [actor["pid"] for actor in supervisor.request("GET", "/debug/actors")[1]["actors"]]
    assert supervisor.end() == 143
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
    assert "[error]" not in supervisor.log.read_text()
