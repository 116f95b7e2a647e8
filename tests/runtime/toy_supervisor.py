"""Runs ``toy_main`` as a program and looks at it from outside."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from balena_supervisor.runtime.process import children_of, parent_of
from tests.runtime.toys import Diary

T = TypeVar("T")
REPOSITORY = Path(__file__).parents[2]


def wait_until(condition: Callable[[], T | None], what: str, timeout_s: float = 20) -> T:
    """Poll until the condition holds and return what it returned."""
    end = time.monotonic() + timeout_s
    pause = threading.Event()
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout_s} s: {what}")
        pause.wait(0.02)


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class ToySupervisor:
    """One run of the toy supervisor in ``folder``. Its output goes to a file there, or to the pipe ``output_to``.

    ``prefix`` is put before the command. ``program`` is the process of the whole.
    """

    def __init__(
        self, folder: Path, *, output_to: int | None = None, prefix: tuple[str, ...] = (), **options: Any
    ) -> None:
        self.folder = folder
        self.diary = Diary(folder / "diary")
        self._output = (folder / "output").open("ab") if output_to is None else os.fdopen(output_to, "wb")
        self.program = subprocess.Popen(
            [*prefix, sys.executable, "-m", "tests.runtime.toy_main", str(folder), json.dumps(options)],
            cwd=REPOSITORY,
            stdout=self._output,
            stderr=self._output,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )

    @property
    def output(self) -> str:
        file = self.folder / "output"
        return file.read_text() if file.exists() else ""

    def wait_for_line(self, line: str, times: int = 1, timeout_s: float = 20) -> None:
        def there() -> bool:
            return self.diary.lines().count(line) >= times

        try:
            wait_until(there, f"{line!r} in the diary", timeout_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.diary.lines()}\n{self.output}") from None

    def order(self, what: dict[str, Any]) -> dict[str, Any]:
        """Have the gate send something; its answer. Waits for the gate where it restarts."""

        def connected() -> socket.socket | None:
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(str(self.folder / "gate"))
            except OSError:
                connection.close()
                return None
            return connection

        line = b""
        gate = wait_until(connected, f"the gate\n{self.output}")
        with gate, contextlib.suppress(ConnectionError), gate.makefile("rb") as answers:
            gate.sendall(json.dumps(what).encode() + b"\n")
            line = answers.readline()
        return json.loads(line) if line else {"ok": False, "code": "gate-lost"}

    def ask(self, to: str, type_: str, timeout_s: float = 10, **message: Any) -> dict[str, Any]:
        return self.order({"do": "ask", "to": to, "type": type_, "timeout_s": timeout_s, "message": message})

    def asking(self, to: str, type_: str, timeout_s: float = 10, **message: Any) -> Callable[[], dict[str, Any]]:
        """Ask on a thread; call what is returned to wait for the answer."""
        answers: list[dict[str, Any]] = []
        thread = threading.Thread(target=lambda: answers.append(self.ask(to, type_, timeout_s, **message)))
        thread.start()

        def answer() -> dict[str, Any]:
            thread.join(60)
            return answers[0]

        return answer

    def tell(self, to: str, type_: str, times: int = 1, **message: Any) -> dict[str, Any]:
        return self.order({"do": "tell", "to": to, "type": type_, "times": times, "message": message})

    def actors(self) -> dict[str, dict[str, Any]]:
        answer = self.ask("root", "ListActors")
        return {actor["name"]: actor for actor in answer["answer"]["actors"]} if answer["ok"] else {}

    def actor(self, name: str) -> dict[str, Any]:
        return self.actors().get(name, {})

    def wait_running(self, *names: str, timeout_s: float = 20) -> dict[str, dict[str, Any]]:
        def there() -> dict[str, dict[str, Any]]:
            actors = self.actors()
            return actors if all(actors.get(name, {}).get("state") == "running" for name in names) else {}

        return wait_until(there, f"{names} run\n{self.output}", timeout_s)

    def dead_letters(self) -> list[dict[str, Any]]:
        letters: list[dict[str, Any]] = self.ask("root", "ListDeadLetters")["answer"]["dead_letters"]
        return letters

    def open(self, name: str) -> None:
        """Let the work ``name`` end."""
        (self.folder / name).touch()

    def processes(self) -> list[int]:
        """All processes below the nursery."""
        found: list[int] = []
        todo = [self.program.pid]
        while todo:
            below = children_of(todo.pop())
            found += below
            todo += below
        return found

    def kill(self, pid: int, number: int = signal.SIGKILL) -> None:
        """Signal a process that is below the nursery."""
        parent = parent_of(pid)
        if self.program.pid not in {pid, parent, parent_of(parent)}:
            raise AssertionError(f"{pid} is not ours")
        os.kill(pid, number)

    def end(self) -> int:
        """SIGTERM, and SIGKILL when that does not help; the exit code."""
        if self.program.poll() is None:
            for pid in [self.program.pid, *self.processes()]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
            self.program.terminate()
            try:
                self.program.wait(10)
            except subprocess.TimeoutExpired:
                self.program.kill()
                self.program.wait(10)
        self._output.close()
        return self.program.returncode


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """A folder whose sockets have short enough paths."""
    folder = Path(tempfile.mkdtemp(prefix="toy-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def running(supervisor: ToySupervisor) -> Iterator[ToySupervisor]:
    try:
        yield supervisor
    finally:
        supervisor.end()


@contextlib.contextmanager
def toy_supervisor(**options: Any) -> Iterator[ToySupervisor]:
    with short_folder() as folder, running(ToySupervisor(folder, **options)) as supervisor:
        yield supervisor
