"""A device with a long day behind it, as the debug page's routes show it: many actors, one of them down, text that
tries to become HTML."""

from __future__ import annotations

from balena_supervisor.model.state import Decision, DeviceState, EngineLink, Waiting
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
    ShowStack,
    ShowTrace,
    StackView,
    TraceEntry,
    TraceView,
)
from tests.http.support import Device

#: runs when anything takes it for HTML
HOSTILE = "<img src=x onerror=\"document.title='taken over'\"><script>document.title='taken over'</script>"
ACTORS = (
    *("host-config", "target-state", "images", "containers", "resources", "planner"),
    *("logs", "reporter", "api-poller", "http"),
)
AT = "2026-01-02T03:04:05.000Z"
_PAIRS = {
    "host-config > target-state": 2,
    "host-config > planner": 3,
    "host-config > api-poller": 2,
    "target-state > planner": 48,
    "target-state > host-config": 12,
    "planner > images": 1234,
    "planner > containers": 40321,
    "planner > resources": 310,
    "images > planner": 2410,
    "containers > planner": 81234,
    "resources > planner": 620,
    "planner > http": 1900,
    "planner > reporter": 1900,
    "api-poller > target-state": 9100,
    "http > target-state": 3,
    "http > root": 86400,
}


def actor(name: str, pid: int, **changes: object) -> ActorView:
    values: dict[str, object] = {"name": name, "pid": pid, "generation": 1, "state": "running", "uptime_s": 4000.5}
    return ActorView(**{**values, "pss_bytes": 8_000_000 + pid * 4321, "handled": pid * 17, **changes})  # type: ignore[arg-type]


def actors(*, hostile: str = HOSTILE) -> ActorsView:
    views = [actor("nursery", 100), actor("root", 101), *(actor(name, 110 + n) for n, name in enumerate(ACTORS))]
    by_name = {view.name: view for view in views}
    in_hand = tuple(
        InHand(id=n, type=f"PullImage{hostile}", sender="planner", tries=1, age_s=20.0 + n, state="handling")
        for n in range(5)
    )
    by_name["images"] = actor(
        "images", 112, in_hand=in_hand, mailbox=MailboxSize(depth=9, high_water=31, size_bytes=81234), failed=2
    )
    by_name["reporter"] = actor(
        "reporter", 0, state="back-off", restarts=14, generation=15, last_exit="killed by signal 9", problem=hostile
    )
    by_name["logs"] = actor("logs", 117, state="hung", problem="no heartbeat for 60 s")
    return ActorsView(actors=(*by_name.values(), actor(hostile, 140)))


def trace(after: int = 0) -> TraceView:
    flow = {**_PAIRS, f"{HOSTILE} > planner": 7}
    return TraceView(trace=tuple(_pull(number) for number in range(after + 1, 30)), flow=flow)


def _pull(number: int) -> TraceEntry:
    return TraceEntry(
        number=number,
        at=AT,
        id=number,
        kind="command",
        type="PullImage",
        sender="planner",
        recipient="images",
        size_bytes=99,
    )


def mailbox(name: str) -> MailboxView:
    message = MessageView(
        id=7, kind="command", type="PullImage", sender=HOSTILE, recipient=name, tries=2, age_s=3, body={"name": HOSTILE}
    )
    return MailboxView(name=name, messages=(message,))


def dead_letters() -> DeadLettersView:
    letter = DeadLetterView(
        number=1,
        at=AT,
        kind="command",
        type="PullImage",
        sender="planner",
        recipient="images",
        code="third-death",
        reason=f"cannot deliver {HOSTILE}",
        body={"image": HOSTILE},
    )
    return DeadLettersView(dead_letters=(letter,))


def state() -> DeviceState:
    outcomes = ("done", "failed", "running", "withdrawn")
    decisions = tuple(
        Decision(
            number=number,
            at=AT,
            step=f"start {HOSTILE}",
            subject="service:1:web",
            reason=HOSTILE,
            outcome=outcome,
            error=HOSTILE if outcome == "failed" else "",
        )
        for number, outcome in enumerate(outcomes, 1)
    )
    waiting = (Waiting(subject=f"service {HOSTILE}", reason=HOSTILE, retry_at=1030.0),)
    engine = EngineLink(up=False, reason=HOSTILE)
    return DeviceState(target_version=3, applying=True, engine=engine, decisions=decisions, waiting=waiting)


def shown_device() -> Device:
    """Unmanaged, so that no key is needed, until a test changes it."""
    device = Device()
    device.configure()
    device.show(state())
    device.post.answers |= {
        ListActors: actors(),
        ShowTrace: lambda question: trace(question.after),
        ShowMailbox: lambda question: mailbox(question.name),
        ShowStack: lambda question: StackView(name=question.name, stack=f"Thread main:\n{HOSTILE}"),
        ListDeadLetters: dead_letters(),
    }
    return device
