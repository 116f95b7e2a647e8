"""The commands for people, against a real server with the routes of the local API."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import pytest

from balena_supervisor.__main__ import main
from balena_supervisor.cli import _duration
from balena_supervisor.errors import ErrorRecord
from balena_supervisor.model.state import Decision, DeviceState, Waiting
from balena_supervisor.runtime.views import (
    ActorsView,
    ActorView,
    DeadLettersView,
    DeadLetterView,
    InHand,
    ListActors,
    ListDeadLetters,
    MailboxSize,
    MailboxView,
    MessageView,
    ShowMailbox,
    ShowTrace,
    TraceEntry,
    TraceView,
)
from balena_supervisor.settings import DEFAULT_PORT, listen_port, read_settings
from tests.http.support import APP_KEY, GLOBAL_KEY, TWO_APPS, Device, container, image, remote


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """The tests read what the command prints."""


class Served:
    def __init__(self, device: Device, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.device = device
        self.url = url
        self._capsys = capsys

    def run(self, *arguments: str) -> tuple[int, str]:
        """The exit code and everything that was printed."""
        code = main([*arguments, "--url", self.url])
        printed = self._capsys.readouterr()
        return code, printed.out + printed.err


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Served]:
    monkeypatch.setenv("COLUMNS", "200")
    device = Device()
    device.configure()
    server = WSGIServer(("127.0.0.1", 0), _Quiet)
    server.set_app(device.client.app)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield Served(device, f"http://127.0.0.1:{server.server_port}", capsys)
    server.shutdown()
    thread.join(10)
    server.server_close()


STATE = DeviceState(
    applying=True,
    target_version=4,
    containers=(container("web", container_id="0123456789abcdef"), container("db", status="Installing")),
    images=(image("web", name="repo/web@sha256:" + "a" * 64, status="Downloading", progress=40),),
    commits={"1": "c1"},
    waiting=(Waiting(subject="service:1:web", reason="the image is missing", retry_at=1010.0),),
    decisions=tuple(
        Decision(number=n, at="t", step="PullImage", subject="image:x", reason=f"reason {n}", outcome="done")
        for n in range(1, 21)
    ),
    last_error=ErrorRecord("engine-error", "cannot pull repo/web: [disk] full"),
)


def test_status_says_what_runs_and_why(served: Served) -> None:
    served.device.show(STATE)
    code, printed = served.run("status")
    assert code == 0
    assert "applying (target 4, release c1, downloads 40 %)" in printed
    for text in ("web", "Installing", "0123456789ab", "40 %", "repo/web@aaaaaaaaaaaa", "the image is missing"):
        assert text in printed
    assert "reason 20" in printed
    assert "reason 11" in printed
    assert not [line for line in printed.splitlines() if line.rstrip().endswith("reason 10")]
    assert "cannot pull repo/web: [disk] full" in printed


def test_an_idle_device_has_a_short_status(served: Served) -> None:
    served.device.show(DeviceState())
    assert served.run("status") == (0, "applied (target 0)\n\n")


def test_why_tells_of_every_app_and_of_one_service_alone(served: Served) -> None:
    served.device.show(TWO_APPS)
    code, printed = served.run("why")
    assert code == 0
    for text in ("The device is applied target 2.", "App 1 (web): release c1, should be on c2", "db: exited"):
        assert text in printed
    code, printed = served.run("why", "web")
    assert (code, "waits: no route (again in 5 s)" in printed) == (0, True)
    assert "db" not in printed
    code, printed = served.run("why", "web", "--json")
    assert (code, json.loads(printed)["appState"]) == (0, "applied")


def test_why_of_a_service_that_no_app_has_is_refused(served: Served) -> None:
    served.device.show(TWO_APPS)
    assert served.run("why", "nobody") == (1, "Error: there is no service nobody\n")


def test_why_with_a_key_of_one_app_knows_no_other(served: Served) -> None:
    served.device.manage()
    served.device.show(TWO_APPS)
    code, printed = served.run("why", "--key", APP_KEY)
    assert (code, "App 1 (web)" in printed, "App 2" in printed) == (0, True, False)
    assert served.run("why", "db", "--key", APP_KEY) == (1, "Error: there is no service db\n")
    code, printed = served.run("why")
    assert (code, "--key" in printed) == (1, True)


def test_why_of_a_supervisor_that_is_still_starting_says_so(served: Served) -> None:
    code, printed = served.run("why")
    assert (code, "(HTTP 503)" in printed) == (1, True)


def test_json_prints_the_answer_as_it_is(served: Served) -> None:
    served.device.show(STATE)
    code, printed = served.run("status", "--json")
    assert (code, json.loads(printed)["appState"]) == (0, "applying")


def test_actors_are_one_line_each(served: Served) -> None:
    in_hand = InHand(id=1, type="PullImage", sender="planner", tries=1, age_s=2, state="pending")
    actor = ActorView(
        name="images",
        pid=77,
        generation=3,
        state="running",
        uptime_s=3700,
        restarts=2,
        last_exit="killed by signal 9",
        mailbox=MailboxSize(depth=1, high_water=5),
        in_hand=(in_hand,),
        pss_bytes=5_400_000,
    )
    served.device.post.answers[ListActors] = ActorsView(actors=(actor,))
    code, printed = served.run("actors")
    assert code == 0
    for text in ("images", "running", "77", "1 h 1 min", "1/5", "5.4", "killed by signal 9"):
        assert text in printed


def test_a_mailbox_shows_each_message(served: Served) -> None:
    message = MessageView(
        id=9,
        kind="command",
        type="PullImage",
        sender="planner",
        recipient="images",
        tries=1,
        age_s=0.5,
        deadline_s=9,
        body={"ref": "[x]"},
    )
    served.device.post.answers[ShowMailbox] = MailboxView(name="images", messages=(message,))
    code, printed = served.run("mailbox", "images")
    assert code == 0
    assert "PullImage" in printed
    assert '{"ref": "[x]"}' in printed


def test_dead_letters_say_why(served: Served) -> None:
    letter = DeadLetterView(
        number=1,
        at="t",
        kind="command",
        type="PullImage",
        sender="planner",
        recipient="images",
        code="too-many-deaths",
        reason="it died three times",
    )
    served.device.post.answers[ListDeadLetters] = DeadLettersView(dead_letters=(letter,))
    code, printed = served.run("dead-letters")
    assert (code, "it died three times" in printed) == (0, True)


def test_a_trace_asks_for_what_came_after(served: Served) -> None:
    entry = TraceEntry(
        number=8, at="t", id=1, kind="event", type="ConfigChanged", sender="host-config", recipient="*", size_bytes=12
    )
    served.device.post.answers[ShowTrace] = TraceView(trace=(entry,))
    code, printed = served.run("trace", "--after", "7")
    assert (code, "ConfigChanged" in printed) == (0, True)
    assert served.device.post.of(ShowTrace) == [ShowTrace(after=7)]


@pytest.mark.parametrize(
    ("arguments", "question", "empty", "text"),
    [
        (["mailbox", "images"], ShowMailbox, MailboxView(name="images", messages=()), "mailbox of images is empty"),
        (["dead-letters"], ListDeadLetters, DeadLettersView(dead_letters=()), "there are no dead letters"),
        (["trace"], ShowTrace, TraceView(trace=()), "no messages"),
    ],
)
def test_nothing_to_show_is_said(
    served: Served, arguments: list[str], question: type, empty: object, text: str
) -> None:
    served.device.post.answers[question] = empty
    code, printed = served.run(*arguments)
    assert (code, text in printed) == (0, True)


def test_a_refusal_is_told_in_its_own_words(served: Served) -> None:
    served.device.post.answers[ShowMailbox] = remote("not-found", "there is no actor nobody")
    code, printed = served.run("mailbox", "nobody")
    assert (code, "there is no actor nobody (HTTP 404)" in printed) == (1, True)


def test_a_missing_key_is_asked_for(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    served.device.manage()
    served.device.show(STATE)
    code, printed = served.run("status")
    assert (code, "--key" in printed) == (1, True)
    assert served.run("status", "--key", APP_KEY)[0] == 0
    monkeypatch.setenv("SUPERVISOR_API_KEY", GLOBAL_KEY)
    assert served.run("status")[0] == 0


@pytest.mark.parametrize("command", [["status"], ["why"], ["why", "web"]])
@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "nonsense", "http://[", "http://127.0.0.1:port"])
def test_nobody_there_is_one_clear_line(url: str, command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--url", url]) == 1
    printed = capsys.readouterr().err
    assert f"cannot reach the supervisor at {url}" in printed
    assert "does it run?" in printed


@pytest.mark.parametrize("content", [b"{", b'{"local": NaN}', b'{"a": "\xff"}', b'{"a": "\\ud800"}', b"[" * 100_000])
def test_a_plan_of_what_is_no_json_is_refused_in_words(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_PATH", str(tmp_path / "database.sqlite"))
    (tmp_path / "target.json").write_bytes(content)
    assert main(["plan", str(tmp_path / "target.json")]) == 1
    assert f"cannot read {tmp_path / 'target.json'}: it is n" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["nonsense"], ["mailbox"], ["status", "--nonsense"], ["plan", "/missing"]])
def test_a_wrong_command_is_refused_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "Error" in capsys.readouterr().err


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    for name in ("run", "status", "why", "plan", "actors", "mailbox", "dead-letters", "trace", "version"):
        assert f"\n  {name} " in printed


def test_version_prints_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert capsys.readouterr().out == f"{read_settings().version}\n"


def test_what_a_device_runs_never_imports_what_people_need() -> None:
    program = (
        "import sys; from balena_supervisor import supervise; import balena_supervisor.__main__; "
        "sys.exit(bool({'click', 'rich'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(
    ("environment", "config", "port"),
    [
        ({"LISTEN_PORT": "1234"}, '{"listenPort": 5}', 1234),
        ({}, '{"listenPort": 4321}', 4321),
        ({}, "{}", DEFAULT_PORT),
        ({}, '{"listenPort": "x"}', DEFAULT_PORT),
        ({}, '{"listenPort": 70000}', DEFAULT_PORT),
        ({}, "[]", DEFAULT_PORT),
        ({}, "{", DEFAULT_PORT),
        ({}, None, DEFAULT_PORT),
    ],
)
def test_where_the_port_comes_from(tmp_path: Path, environment: dict[str, str], config: str | None, port: int) -> None:
    path = tmp_path / "config.json"
    if config is not None:
        path.write_text(config)
    assert listen_port(read_settings({**environment, "CONFIG_MOUNT_POINT": str(path)})) == port


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (59.9, "59.9 s"), (-3, "-3.0 s"), (61, "1 min"), (3700, "1 h 1 min"), (200_000, "2 d 7 h")],
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert _duration(seconds) == text
