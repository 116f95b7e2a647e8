"""A whole supervisor of toy actors: ``python -m tests.runtime.toy_main FOLDER [JSON options]``.

The actor ``gate`` serves a Unix socket ``FOLDER/gate``: each line is a JSON order, each answer one JSON line.
Options: ``limits`` (fields of Limits), ``port``, ``database`` (name of its folder), ``prepare`` (``fail``, or
``twice``: it fails the third time).
"""

from __future__ import annotations

import contextlib
import json
import socketserver
import sys
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path
from typing import Any

import msgspec

from balena_supervisor.actors.root import RootSupervisor
from balena_supervisor.errors import InvalidValue, SupervisorError
from balena_supervisor.runtime import views
from balena_supervisor.runtime.message import Event, Message
from balena_supervisor.runtime.nursery import run_nursery
from balena_supervisor.runtime.supervision import Limits
from balena_supervisor.runtime.table import ActorRow, RuntimeConfig
from tests.runtime import toy_server, toys

_TYPES: dict[str, type[Message]] = {
    name: thing
    for module in (toys, views)
    for name, thing in vars(module).items()
    if isinstance(thing, type) and issubclass(thing, Message)
}


def serve_gate(gate: toys.Gate, path: Path) -> None:
    class Orders(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            for line in self.rfile:
                answer = obey(gate, json.loads(line))
                with contextlib.suppress(OSError):
                    self.wfile.write(json.dumps(answer).encode() + b"\n")

    class Server(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True
        request_queue_size = 64

    path.unlink(missing_ok=True)
    with Server(str(path), Orders) as server:
        server.serve_forever(poll_interval=60)


def obey(gate: toys.Gate, order: dict[str, Any]) -> dict[str, Any]:
    message: Any = msgspec.convert(order["message"], _TYPES[order["type"]])
    try:
        if order["do"] == "ask":
            answer = gate.post.ask(order["to"], message, order["timeout_s"]).result(order["timeout_s"] + 20)
            return {"ok": True, "answer": msgspec.to_builtins(answer)}
        for _ in range(order.get("times", 1)):
            if isinstance(message, Event):
                gate.post.publish(message)
            else:
                gate.post.tell(order["to"], message)
    except SupervisorError as error:
        return {"ok": False, "code": error.code, "message": error.message}
    except FutureTimeout:
        return {"ok": False, "code": "no-answer", "message": "the future was never done"}
    return {"ok": True, "answer": None}


def rows(folder: Path, options: dict[str, Any]) -> tuple[ActorRow, ...]:
    start = toys.start_toy(folder)
    table = [
        ActorRow(
            name="gate",
            start=lambda ports: toys.Gate.start(ports, folder, lambda gate: serve_gate(gate, folder / "gate")),
        ),
        ActorRow(name="one", start=start, subscriptions=(toys.Picture, toys.Rang), critical=True),
        ActorRow(name="two", start=start),
        ActorRow(name="three", start=start, process="shared"),
        ActorRow(name="four", start=start, process="shared"),
    ]
    if options.get("port"):
        table.append(ActorRow(name="http", start=start, serve=toy_server.serve, critical=True))
    return tuple(table)


def fail() -> None:
    raise InvalidValue("cannot migrate: the toy database is too new")


def twice() -> None:
    """Before the first two roots it works."""
    done = Path(sys.argv[1]) / "prepared"
    text = done.read_text() if done.exists() else ""
    if text == "..":
        fail()
    done.write_text(text + ".")


def main() -> int:
    folder = Path(sys.argv[1])
    options: dict[str, Any] = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    toy_server.folder = folder
    database = folder / options.get("database", "database")
    database.mkdir(exist_ok=True)
    config = RuntimeConfig(
        rows=rows(folder, options),
        start_root=RootSupervisor.start,
        run_dir=folder / "run",
        database_dir=database,
        listen=("127.0.0.1", options["port"]) if options.get("port") else None,
        limits=Limits(**options.get("limits", {})),
        before_start={"fail": fail, "twice": twice}.get(options.get("prepare", "")),
    )
    return run_nursery(config)


if __name__ == "__main__":
    sys.exit(main())
