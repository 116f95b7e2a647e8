"""The simulated engine as tests use it: a server, its contents and its faults."""

from __future__ import annotations

import re
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.fakes.engine import control
from tests.fakes.engine.basics import Json
from tests.fakes.engine.container import Behaviour, Container
from tests.fakes.engine.containers import Containers
from tests.fakes.engine.events import EventLog
from tests.fakes.engine.faults import Call, Fault, Faults, Phase
from tests.fakes.engine.images import Images
from tests.fakes.engine.networks import Networks
from tests.fakes.engine.pulls import DEFAULT_LAYERS, Registry, RemoteImage
from tests.fakes.engine.routes import Answer, Parts, Request, handle
from tests.fakes.engine.server import MAX_SOCKET_PATH, ConnectionReset, Server
from tests.fakes.engine.volumes import Volumes


class SimulatedEngine:
    """Listens on ``folder/engine.sock`` from creation to :meth:`close`; also a context manager.

    A folder whose path is too long for a socket is replaced by a short temporary one. All methods may be called from
    any thread.
    """

    def __init__(self, folder: Path | str, *, socket_name: str = "engine.sock") -> None:
        self._own_folder: tempfile.TemporaryDirectory[str] | None = None
        path = Path(folder) / socket_name
        if len(str(path)) > MAX_SOCKET_PATH - len(control.SUFFIX):
            self._own_folder = tempfile.TemporaryDirectory(prefix="engine-")
            path = Path(self._own_folder.name) / socket_name
        self.socket_path = path
        self._condition = threading.Condition(threading.RLock())
        self._closing = threading.Event()
        self.faults = Faults()
        self.events = EventLog(self._condition)
        images, networks, volumes = Images(self.events), Networks(self.events), Volumes(self.events)
        containers = Containers(images, networks, volumes, self.events)
        self.registry = Registry(images, self.events, self._condition, self._closing)
        self._parts = Parts(self._condition, self.events, images, networks, volumes, containers, self.registry)
        self._server = Server(path, self._answer)
        self._dead: list[Server] = []

    @property
    def url(self) -> str:
        """For ``DOCKER_HOST``."""
        return f"unix://{self.socket_path}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End everything and wait for all threads."""
        self._closing.set()
        self.faults.clear()
        self._server.stop()
        with self._condition:
            self._condition.notify_all()
        for server in [*self._dead, self._server]:
            server.join()
        if self._own_folder:
            self._own_folder.cleanup()

    def _answer(self, request: Request, send: Callable[[Answer], None]) -> None:
        if request.path.startswith(control.PREFIX):
            send(control.handle(self, request))
            return
        call = self.faults.log(request.method, request.path, request.query_text)

        def answer(reply: Answer) -> None:
            call.status = reply.status
            send(reply)

        fault = self.faults.match(request.method, request.path)
        if fault and fault.phase == "before":
            self._meet(fault, request, answer)
            if fault.kind == "fail":
                return
        try:
            reply = handle(self._parts, request)
        except Exception as error:
            call.status = getattr(error, "status", 500)
            raise
        if fault and fault.phase == "after":
            self._meet(fault, request, answer)
            if fault.kind == "fail":
                return
        answer(reply)

    def _meet(self, fault: Fault, request: Request, answer: Callable[[Answer], None]) -> None:
        fault.reached.set()
        if fault.kind == "die":
            self.die()
            raise ConnectionReset
        if fault.kind == "hang":
            while not fault.released.wait(0.5) and not (request.gone() and fault.phase == "before"):
                pass
            if self._closing.is_set() or request.gone():
                raise ConnectionReset
            return
        answer(Answer(fault.status, {"message": fault.message}))

    # --- contents --------------------------------------------------------------------------------------------------

    def add_image(self, name: str, config: Json | None = None, size: int = 4_000_000, digest: str = "") -> str:
        """Make an image present; ``config`` is over the defaults of an image. Returns its id."""
        with self._condition:
            return self._parts.images.add(name, config or {}, size, digest).id

    def add_remote_image(
        self,
        name: str,
        layers: tuple[int, ...] = DEFAULT_LAYERS,
        *,
        config: Json | None = None,
        error: str = "",
        login: tuple[str, str] | None = None,
        paused: bool = False,
    ) -> str:
        """Make an image pullable. Returns its digest.

        ``layers`` are sizes in bytes; ``paused``: a pull waits half way until :meth:`resume_pulls`; ``error``: it ends
        half way with this text; ``login``: the user and password that the registry wants.
        """
        remote = RemoteImage(name, config or {}, layers, error=error, login=login)
        if not paused:
            remote.gate.set()
        with self._condition:
            return self.registry.offer(remote).digest

    def resume_pulls(self, name: str = "") -> None:
        """Let paused pulls go on, of one image or of all."""
        self.registry.resume(name)

    def leave_endpoint(self, network: str, container_name: str) -> None:
        """Have a network count a container that is gone; only a forced disconnection by its name frees it."""
        with self._condition:
            self._parts.networks.leave_stale(network, container_name)

    @property
    def containers(self) -> dict[str, Container]:
        """The containers of this moment by name."""
        with self._condition:
            return {container.name: container for container in self._parts.containers.all()}

    def exit(self, container: str, code: int = 0, *, out_of_memory: bool = False) -> None:
        """Let the program in a running container end by itself; its restart policy decides what follows."""
        with self._condition:
            self._parts.containers.exit(container, code, out_of_memory=out_of_memory)
            self._condition.notify_all()

    def health(self, container: str, status: str) -> None:
        """Let the health check of a running container come to a result: starting, healthy or unhealthy."""
        with self._condition:
            self._parts.containers.health(container, status)
            self._condition.notify_all()

    def behave(self, name: str, *, ignores_stop: bool = False, exit_code: int = 0) -> None:
        """Say how containers act whose name matches the regular expression, present and future ones."""
        with self._condition:
            self._parts.containers.behave(name, Behaviour(ignores_stop, exit_code))

    # --- faults ----------------------------------------------------------------------------------------------------

    @property
    def calls(self) -> list[Call]:
        """All calls so far, in the order in which they came."""
        return self.faults.calls()

    def calls_of(self, method: str, path: str) -> list[Call]:
        """Those of a method (empty: any) whose path matches the regular expression."""
        pattern = re.compile(path)
        return [call for call in self.calls if method in {"", call.method} and pattern.search(call.path)]

    def fail(
        self,
        method: str,
        path: str,
        *,
        status: int = 500,
        message: str = "simulated failure",
        nth: int = 1,
        times: int = 1,
        phase: Phase = "before",
    ) -> Fault:
        """Let calls fail, from the nth that matches on. ``phase="after"``: carried out, and still answered so."""
        pattern = re.compile(path)
        return self.faults.add(Fault("fail", method, pattern, nth, times, phase, status, message))

    def hang(self, method: str, path: str, *, nth: int = 1, times: int = 1, phase: Phase = "before") -> Fault:
        """Let calls hang until ``release()`` of the result; the engine may have carried them out (``after``)."""
        return self.faults.add(Fault("hang", method, re.compile(path), nth, times, phase))

    def die_at(self, method: str, path: str, *, nth: int = 1, phase: Phase = "before") -> Fault:
        """Die at the nth call that matches: it gets no answer, and nobody can connect until :meth:`revive`."""
        return self.faults.add(Fault("die", method, re.compile(path), nth, 1, phase))

    def lose_events(self, action: str = ".*", event_type: str = "", times: int = -1) -> None:
        """Let events vanish whose action matches; ``keep_events`` ends it."""
        self.events.lose(action, event_type, times)

    def keep_events(self) -> None:
        """End all losses of events."""
        self.events.keep_all()

    def hang_up_events(self) -> None:
        """End all event streams that are open now."""
        self.events.hang_up()

    def die(self) -> None:
        """Close the socket and all connections and remove the file. What is there stays."""
        self._server.stop()
        with self._condition:
            self._condition.notify_all()

    def revive(self, *, restart_containers: bool = False) -> None:
        """Listen again after :meth:`die`. Old events are forgotten, as by an engine that was started anew.

        ``restart_containers``: the containers had died with it, and those with a restart policy start again.
        """
        self._dead.append(self._server)
        with self._condition:
            if restart_containers:
                self._parts.containers.restart_all()
            self.events.forget()
        self._server = Server(self.socket_path, self._answer)

    def restart(self, *, restart_containers: bool = False) -> None:
        """Die and come back at once, keeping what is there."""
        self.die()
        self.revive(restart_containers=restart_containers)

    def snapshot(self) -> dict[str, Any]:
        """What the engine has, for a test's message: names of everything with the state of containers."""
        with self._condition:
            return {
                "containers": {c.name: c.state.status for c in self._parts.containers.all()},
                "networks": [n["Name"] for n in self._parts.networks.listing("")],
                "volumes": [v["Name"] for v in self._parts.volumes.listing("")["Volumes"]],
                "images": [i["RepoTags"] or i["RepoDigests"] for i in self._parts.images.listing("")],
            }
