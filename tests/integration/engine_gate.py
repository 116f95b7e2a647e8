"""A gate between a supervisor and its engine, where a test does something before or after a call of its choice.

It speaks as much HTTP/1.1 as it takes to know where a question and its answer end; what is in between passes as it
comes, so that progress of pulls and events are not held up. Whoever hangs up on one side is hung up on at the other.
"""

from __future__ import annotations

import itertools
import re
import select
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tests.runtime.toy_supervisor import alive

Phase = Literal["before", "during", "after"]
#: connections at a time; all threads are there from the beginning, so that a test need not know of them
_THREADS = 96
_NO_BODY = {204, 304}
_PULL = "POST /images/create"


@dataclass(frozen=True)
class Call:
    """A changing call. ``kind`` is method and path without what names a thing: ``POST /containers/*/stop``.

    ``pid`` is the process that made it, ``path`` without the version.
    """

    kind: str
    path: str
    pid: int


@dataclass
class Hook:
    """What is done at the ``nth`` call of a kind; of any, when it is empty.

    ``before``: the engine does not know of the call yet, and never will if the caller dies now. ``during``: it may be
    at work on it; of a pull, the first of its progress has come. ``after``: it has carried it out, and the caller does
    not know yet; of a pull, the end of its progress is held back.
    """

    kind: str
    nth: int
    phase: Phase
    act: Callable[[Call], None]
    call: Call | None = None
    error: BaseException | None = None
    reached: threading.Event = field(default_factory=threading.Event)
    _over: threading.Event = field(default_factory=threading.Event)

    def wait(self, timeout_s: float = 60) -> Call:
        """Until it was done. Raises what went wrong on the way."""
        if not self._over.wait(timeout_s):
            raise AssertionError(f"no {self.kind or 'call'} number {self.nth} within {timeout_s:.0f} s")
        if self.error is not None:
            raise self.error
        assert self.call is not None
        return self.call

    def run(self, call: Call) -> None:
        self.call = call
        self.reached.set()
        try:
            self.act(call)
        except BaseException as error:  # noqa: BLE001  # it is raised in the test
            self.error = error
        self._over.set()


class EngineGate:
    """Listens at ``url`` for what is meant for the engine at ``behind`` (both ``unix://``)."""

    def __init__(self, behind: str, path: Path) -> None:
        self.url = f"unix://{path}"
        self._behind = behind.removeprefix("unix://")
        self._lock = threading.Lock()
        self._calls: list[Call] = []
        self._counts: Counter[str] = Counter()
        self._hooks: list[Hook] = []
        self._open: set[socket.socket] = set()
        self._closed = False
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(_THREADS)
        self._threads = [threading.Thread(target=self._serve, name="gate") for _ in range(_THREADS)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            connections = list(self._open)
        for connection in (self._listener, *connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    # --- for the test -----------------------------------------------------------------------------------------

    def hook(self, kind: str, nth: int, phase: Phase, act: Callable[[Call], None]) -> Hook:
        """Do something at a call to come; it is counted since the last :meth:`forget`."""
        made = Hook(kind, nth, phase, act)
        with self._lock:
            self._hooks.append(made)
        return made

    def forget(self) -> None:
        """Count from the beginning, and without hooks."""
        with self._lock:
            self._calls, self._hooks = [], []
            self._counts.clear()

    def calls(self) -> list[Call]:
        """Those that were passed on."""
        with self._lock:
            return list(self._calls)

    def kinds(self) -> dict[str, int]:
        """How many calls of each kind there were."""
        return dict(Counter(call.kind for call in self.calls()))

    def connections(self) -> int:
        """How many callers are connected."""
        with self._lock:
            return len(self._open) // 2

    # --- connections ------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            engine = socket.socket(socket.AF_UNIX)
            with caller, engine, suppress(OSError, _HungUp), self._known(caller, engine):
                engine.connect(self._behind)
                link = _Link(caller, engine)
                while True:
                    self._pass_one(link)

    @contextmanager
    def _known(self, *connections: socket.socket) -> Iterator[None]:
        with self._lock:
            if self._closed:
                raise _HungUp
            self._open.update(connections)
        try:
            yield
        finally:
            with self._lock:
                self._open.difference_update(connections)

    def _pass_one(self, link: _Link) -> None:
        question = link.question()
        method, target, _ = question.partition(b"\r\n")[0].decode().split(" ")
        if method not in {"POST", "DELETE"}:
            link.ask(question)
            link.pass_answer()
            return
        path = re.sub(r"^/v[0-9.]+(?=/)", "", target.partition("?")[0])
        call = Call(kind_of(method, path), path, link.pid)
        hooks = self._note(call)

        def act(phase: Phase) -> None:
            mine = [hook for hook in hooks if hook.phase == phase]
            for hook in mine:
                hook.run(call)
            if mine:
                link.settle()

        act("before")
        with self._lock:
            self._calls.append(call)
        link.ask(question)
        if call.kind != _PULL:
            act("during")
        link.pass_answer(act)

    def _note(self, call: Call) -> list[Hook]:
        """The hooks of this call; each is there for one."""
        with self._lock:
            self._counts.update([call.kind, ""])
            mine = [h for h in self._hooks if h.kind in {call.kind, ""} and self._counts[h.kind] == h.nth]
            self._hooks = [hook for hook in self._hooks if hook not in mine]
        return mine


def kind_of(method: str, path: str) -> str:
    """``POST /containers/*/stop``: a call without what names a thing. Names of images have slashes."""
    _, thing, rest = path.split("/", 2)
    if method == "POST" and rest in {"create", "prune"}:
        return f"POST /{thing}/{rest}"
    verb = "" if method == "DELETE" else f"/{rest.rpartition('/')[2]}"
    return f"{method} /{thing}/*{verb}"


class _HungUp(Exception):
    """One of both sides has gone."""


class _Link:
    """One caller and its connection to the engine."""

    def __init__(self, caller: socket.socket, engine: socket.socket) -> None:
        self._caller = caller
        self._engine = engine
        self._asked = b""
        self._answered = b""
        credentials = caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        self.pid: int = struct.unpack("3i", credentials)[0]

    def question(self) -> bytes:
        """The next one, whole."""
        while b"\r\n\r\n" not in self._asked:
            self._asked += self._from_caller()
        end = self._asked.index(b"\r\n\r\n") + 4
        end += _length(self._asked[:end])
        while len(self._asked) < end:
            self._asked += self._from_caller()
        question, self._asked = self._asked[:end], self._asked[end:]
        return question

    def ask(self, question: bytes) -> None:
        self._engine.sendall(question)

    def pass_answer(self, act: Callable[[Phase], None] = lambda _: None) -> None:
        """``act`` is called before its end, and in a pull also when it has begun."""
        while b"\r\n\r\n" not in self._answered:
            self._answered += self._from_engine()
        end = self._answered.index(b"\r\n\r\n") + 4
        head, self._answered = self._answered[:end], self._answered[end:]
        if re.search(rb"\r\ntransfer-encoding: *chunked\r\n", head, re.IGNORECASE):
            self._caller.sendall(head)
            self._pass_chunks(act)
            return
        length = 0 if int(head.split(b" ", 2)[1]) in _NO_BODY else _length(head)
        while len(self._answered) < length:
            self._answered += self._from_engine()
        act("after")
        self._caller.sendall(head + self._answered[:length])
        self._answered = self._answered[length:]

    def settle(self) -> None:
        """If the caller is dead, leave. Its death may be known before its connections are closed."""
        if not alive(self.pid):
            while not _is_at_end(self._caller):
                select.select([self._caller], [], [], 1)
            raise _HungUp

    def _pass_chunks(self, act: Callable[[Phase], None]) -> None:
        for count in itertools.count():
            while b"\r\n" not in self._answered:
                self._answered += self._from_engine()
            size = int(self._answered.partition(b"\r\n")[0].partition(b";")[0], 16)
            end = self._answered.index(b"\r\n") + 2 + size + 2
            while len(self._answered) < end:
                self._answered += self._from_engine()
            if size == 0:
                act("after")
            self._caller.sendall(self._answered[:end])
            self._answered = self._answered[end:]
            if size == 0:
                return
            if count == 0:
                act("during")

    def _from_caller(self) -> bytes:
        """More of a question. The engine says nothing meanwhile: what can be read from it is its end."""
        readable, _, _ = select.select([self._caller, self._engine], [], [])
        if self._caller not in readable:
            raise _HungUp
        return _received(self._caller)

    def _from_engine(self) -> bytes:
        readable, _, _ = select.select([self._caller, self._engine], [], [])
        if self._engine not in readable and _is_at_end(self._caller):
            raise _HungUp
        return _received(self._engine)


def _received(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise _HungUp
    return data


def _is_at_end(connection: socket.socket) -> bool:
    readable, _, _ = select.select([connection], [], [], 0)
    try:
        return bool(readable) and connection.recv(1, socket.MSG_PEEK) == b""
    except OSError:
        return True


def _length(head: bytes) -> int:
    found = re.search(rb"\r\ncontent-length: *([0-9]+)\r\n", head, re.IGNORECASE)
    return int(found[1]) if found else 0
