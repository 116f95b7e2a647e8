"""The debug views: what is asked of root, and how its answers and refusals look (design, debug endpoint)."""

from __future__ import annotations

import pytest

from balena_supervisor.model.state import DeviceState, EngineLink
from balena_supervisor.runtime.message import Message
from balena_supervisor.runtime.views import (
    ActorsView,
    ActorView,
    DeadLettersView,
    InHand,
    ListActors,
    ListDeadLetters,
    MailboxSize,
    MailboxView,
    RestartActor,
    ShowMailbox,
    ShowStack,
    ShowTrace,
    StackView,
    TraceView,
)
from tests.http.support import Device, remote


@pytest.mark.parametrize(
    ("method", "path", "question", "view", "answer"),
    [
        ("GET", "/debug/actors", ListActors(), ActorsView(actors=()), {"actors": []}),
        (
            "GET",
            "/debug/actors/planner/mailbox",
            ShowMailbox(name="planner"),
            MailboxView(name="planner", messages=()),
            {"name": "planner", "messages": []},
        ),
        (
            "GET",
            "/debug/actors/host-config/stack",
            ShowStack(name="host-config"),
            StackView(name="host-config", stack="…"),
            {"name": "host-config", "stack": "…"},
        ),
        (
            "POST",
            "/debug/actors/images/restart",
            RestartActor(name="images"),
            None,
            {"status": "success", "message": "OK"},
        ),
        ("GET", "/debug/dead-letters", ListDeadLetters(), DeadLettersView(dead_letters=()), {"dead_letters": []}),
        ("GET", "/debug/trace", ShowTrace(after=0), TraceView(trace=()), {"trace": [], "flow": {}}),
        ("GET", "/debug/trace?after=12", ShowTrace(after=12), TraceView(trace=()), {"trace": [], "flow": {}}),
    ],
)
def test_each_view_is_asked_of_root(
    device: Device, *, method: str, path: str, question: Message, view: object, answer: object
) -> None:
    device.post.answers[type(question)] = view
    result = device.client.simulate_request(method, path)
    assert (result.status_code, result.json) == (200, answer)
    assert [(recipient, message) for recipient, message, _ in device.post.asked] == [("root", question)]


def test_an_actor_is_shown_with_everything_that_is_known(device: Device) -> None:
    in_hand = InHand(id=4, type="PullImage", sender="planner", tries=1, age_s=2.5, state="pending")
    actor = ActorView(
        name="images",
        pid=7,
        generation=2,
        state="running",
        uptime_s=1.5,
        restarts=1,
        last_exit="killed by signal 9",
        mailbox=MailboxSize(depth=1, high_water=3, size_bytes=99),
        in_hand=(in_hand,),
        handled=10,
        failed=1,
        pss_bytes=4096,
    )
    device.post.answers[ListActors] = ActorsView(actors=(actor,))
    shown = device.client.simulate_get("/debug/actors").json["actors"][0]
    assert shown["mailbox"] == {"depth": 1, "high_water": 3, "size_bytes": 99}
    assert shown["in_hand"][0]["type"] == "PullImage"
    expected = {"name", "pid", "generation", "state", "uptime_s", "restarts", "last_exit", "handled", "failed"}
    assert expected | {"pss_bytes"} <= shown.keys()


def test_an_unknown_actor_is_404(device: Device) -> None:
    device.post.answers[ShowMailbox] = remote("not-found", "cannot show the mailbox: no actor nobody")
    answer = device.client.simulate_get("/debug/actors/nobody/mailbox")
    assert (answer.status_code, answer.json) == (
        404,
        {"status": "failed", "message": "cannot show the mailbox: no actor nobody"},
    )


def test_a_stack_that_cannot_be_had_is_503(device: Device) -> None:
    device.post.answers[ShowStack] = remote("not-ready")
    assert device.client.simulate_get("/debug/actors/images/stack").status_code == 503


def test_a_trace_after_something_else_than_a_number_is_400(device: Device) -> None:
    assert device.client.simulate_get("/debug/trace?after=x").status_code == 400


def test_capabilities_say_what_is_missing_and_why(device: Device) -> None:
    device.configure(device_type_problem="no such file")
    device.show(DeviceState(engine=EngineLink(up=False, reason="connection refused")))
    found = device.client.simulate_get("/debug/capabilities").json
    assert found["engine"] == {"up": False, "problem": "connection refused"}
    assert found["device_type"]["problem"] == "no such file"
    assert (found["managed"], found["version"]) == (False, "1.2.3")
