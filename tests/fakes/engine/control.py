"""``/_control/…``: the faults and contents of the simulated engine over HTTP, for a test that has it as a program.

Every order is a POST with a JSON object whose members are the arguments of the method of
:class:`~tests.fakes.engine.simulated.SimulatedEngine` of the same name. A fault is answered with its number, for
``release``. The same paths work on the control socket, which stays when the engine dies.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tests.fakes.engine.basics import ApiError
from tests.fakes.engine.routes import Answer, Request

if TYPE_CHECKING:
    from tests.fakes.engine.simulated import SimulatedEngine

PREFIX = "/_control/"
#: behind the path of the engine's socket, the control socket of the program form
SUFFIX = ".control"

_FAULTS = {"fail", "hang", "die_at"}
_ORDERS = {
    "add_image",
    "add_remote_image",
    "behave",
    "exit",
    "health",
    "hang_up_events",
    "keep_events",
    "lose_events",
    "restart",
    "resume_pulls",
    "revive",
    "die",
}


def handle(engine: SimulatedEngine, request: Request) -> Answer:
    """Carry out an order. Raises ``ApiError`` 400 and 404."""
    name = request.path.removeprefix(PREFIX)
    if request.method == "GET" and name == "calls":
        return Answer(content=[asdict(call) for call in engine.calls])
    if request.method == "GET" and name == "state":
        return Answer(content=engine.snapshot())
    if request.method == "DELETE" and name == "calls":
        engine.faults.clear_calls()
        return Answer(204)
    if request.method == "DELETE" and name == "faults":
        engine.faults.clear()
        return Answer(204)
    if request.method != "POST" or name not in {*_FAULTS, *_ORDERS, "release"}:
        raise ApiError(404, f"no such control: {request.method} {name}")
    arguments: dict[str, Any] = json.loads(request.body or b"{}")
    try:
        return _carry_out(engine, name, arguments)
    except TypeError as error:
        raise ApiError(400, f"{name}: {error}") from None


def _carry_out(engine: SimulatedEngine, name: str, arguments: dict[str, Any]) -> Answer:
    if name == "release":
        engine.faults.release_all()
        return Answer(204)
    for list_name in ("layers", "login"):
        if arguments.get(list_name) is not None:
            arguments[list_name] = tuple(arguments[list_name])
    result = getattr(engine, name)(**arguments)
    return Answer(content={"result": result}) if isinstance(result, str) else Answer(204)
