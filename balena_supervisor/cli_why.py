"""What ``balena-supervisor why`` prints: sentences instead of tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

Json = dict[str, Any]


def why_lines(answer: Json, service: str = "") -> list[str]:
    """The answer of ``GET /v2/state/why`` for people; with a service only what concerns it.

    Raises ``KeyError`` for a service that no app has.
    """
    apps = [app for app in answer["apps"] if not service or service in app["services"]]
    if service and not apps:
        raise KeyError(service)
    lines = [] if service else list(_device(answer))
    for app in apps:
        lines += _app(app)
        for name, entry in app["services"].items():
            if not service or name == service:
                lines += _service(name, entry)
    return lines


def _device(answer: Json) -> Iterator[str]:
    yield f"The device is {answer['appState']} target {answer['targetVersion']}."
    if not answer["engine"]["up"]:
        yield f"The engine does not answer: {answer['engine']['reason']}."
    for text in _waits(answer["waitsFor"]):
        yield f"It waits: {text}."
    for order in answer["orders"]:
        if order["outcome"] != "done":
            what = order.get("serviceName") or (f"app {order['appId']}" if "appId" in order else "the device")
            error = f": {order['error']}" if "error" in order else ""
            yield f"Order {order['number']}, {order['verb']} {what}, {order['outcome']}{error}."
    if answer["lastError"]:
        yield f"Last error: {answer['lastError']['message']}."


def _app(app: Json) -> Iterator[str]:
    name = f" ({app['name']})" if app["name"] else ""
    release, target = app["release"], app["targetRelease"]
    on = f"release {release}" if release else "no release yet"
    yield ""
    yield f"App {app['appId']}{name}: {on}" + (f", should be on {target}" if target and target != release else "")
    for key in ("problem", "badRelease", "trial"):
        if key in app:
            yield f"  {app[key]}"
    for text in _waits(app["waitsFor"]):
        yield f"  waits: {text}"
    for lock in app["locks"]:
        if lock["holder"] == "user":
            age = lock.get("ageSeconds")
            old = "" if age is None else f", {_duration(age)} old"
            yield f"  the update lock {lock['path']} of {lock['serviceName']} is held since {lock['since']}{old}"
    held = [lock["serviceName"] for lock in app["locks"] if lock["holder"] == "supervisor"]
    if held:
        yield f"  the supervisor holds the update locks of {', '.join(held)}"
    for text in _decisions(app["decisions"]):
        yield f"  {text}"


def _service(name: str, entry: Json) -> Iterator[str]:
    yield f"  {name}: {_now(entry['now'])}; {_should_be(entry['shouldBe'])}"
    if entry["differs"]:
        yield f"    differs in {', '.join(entry['differs'])}"
    for text in _waits(entry["waitsFor"]):
        yield f"    waits: {text}"
    for one in entry["exits"]:
        how = "was stopped" if one.get("asked") else "ended"
        memory = ", out of memory" if one.get("outOfMemory") else ""
        yield f"    {how} at {one['at']} with exit code {one['exitCode']}{memory}"
    for text in _decisions(entry["decisions"]):
        yield f"    {text}"


def _now(states: list[Json]) -> str:
    return " and ".join(_state(state) for state in states) or "not there"


def _state(state: Json) -> str:
    parts = [state["status"]]
    if "health" in state:
        parts.append(state["health"])
    if state.get("exitCode") is not None:
        parts.append(f"exit code {state['exitCode']}")
    if state.get("downloadProgress") is not None:
        parts.append(f"{state['downloadProgress']} %")
    if state.get("startedAt") and state["status"] == "Running":
        parts.append(f"since {state['startedAt']}")
    return ", ".join(parts)


def _should_be(wanted: Json) -> str:
    if not wanted["present"]:
        return "should not be there"
    if wanted.get("stoppedByUser"):
        return "should not run, as a user has stopped it"
    run = "should run" if wanted["running"] else "should not run"
    others = ", ".join(f"{other} ({condition})" for other, condition in wanted.get("dependsOn", {}).items())
    return f"{run} {wanted['image']}" + (f", after {others}" if others else "")


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def _waits(answers: Iterable[Json]) -> list[str]:
    """The reasons of waits, with the time that is left."""
    return [
        f"{wait['reason']}" + (f" (again in {wait['retryInSeconds']:.0f} s)" if "retryInSeconds" in wait else "")
        for wait in answers
    ]


def _decisions(answers: Iterable[Json]) -> Iterator[str]:
    for decision in answers:
        error = f" ({decision['error']})" if "error" in decision else ""
        yield f"{decision['at']} {decision['step']}, {decision['outcome']}: {decision['reason']}{error}"
