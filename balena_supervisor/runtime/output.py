"""Log lines on standard output, and dumps on standard error, so that a stuck pipe blocks nobody.

A process that may have threads calls :func:`use_thread` after its fork; then a thread started at the first line
writes from a bounded queue, lines that follow closely together in one piece. Before that, as in the nursery, a line is
written at once if the pipe takes it and dropped if not.
"""

from __future__ import annotations

import os
import select
import stat
import threading
from typing import Any, Literal

from balena_supervisor.runtime.mask import HIDDEN, is_secret_name, masked

Level = Literal["debug", "info", "warn", "error", "success", "api"]
_STDOUT = 1
_STDERR = 2
_MAX_LINES = 1000
#: a pipe that is ready to write takes this much without blocking, and in one piece, in bytes
_PIPE_BYTES = 4096
#: after a write, how long further lines are gathered, in seconds: waking the thread costs more than a line
_GATHER_S = 0.02


class Writer:
    """Writes lines to a file descriptor and counts those it had to drop."""

    def __init__(self, descriptor: int = _STDOUT, max_lines: int = _MAX_LINES) -> None:
        self._descriptor = descriptor
        self._max_lines = max_lines
        self._lines: list[bytes] = []
        self._dropped = 0
        self._threaded = False
        self._thread: threading.Thread | None = None
        #: guards the lines; told when there are some, and when all are written
        self._changed = threading.Condition()
        self._writing = False
        self._closed = False
        self._hurry = threading.Event()

    def use_thread(self) -> None:
        self._threaded = True

    def write(self, line: str) -> None:
        """Never waits. From any thread."""
        encoded = f"{line}\n".encode(errors="replace")
        if not self._threaded:
            pieces = [encoded[start : start + _PIPE_BYTES] for start in range(0, len(encoded), _PIPE_BYTES)]
            if not all(_write_if_taken(self._descriptor, piece) for piece in pieces):
                self._dropped += 1
            return
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="output", daemon=True)
                self._thread.start()
            if len(self._lines) >= self._max_lines:
                self._dropped += 1
                return
            self._lines.append(encoded)
            self._changed.notify_all()

    def flush(self, timeout_s: float = 0.2) -> None:
        """Wait a moment until all is written, before the process exits."""
        self._hurry.set()
        with self._changed:
            self._changed.wait_for(lambda: not self._lines and not self._writing, timeout_s)

    def close(self) -> None:
        """Write what is queued, then end the thread."""
        self._hurry.set()
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while text := self._take():
            try:
                while text:
                    text = text[os.write(self._descriptor, text) :]
            except OSError:
                with self._changed:
                    self._dropped += text.count(b"\n")
            if not self._lines:
                self._hurry.wait(_GATHER_S)

    def _take(self) -> bytes:
        """What is to be written next: as many whole lines as a pipe takes without mixing them with those of other
        processes. Nothing when the writer was closed. Waits."""
        with self._changed:
            self._writing = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._lines or self._closed)
            if self._dropped and self._lines:
                self._lines.insert(1, f"[warn]    output lines were dropped count={self._dropped}\n".encode())
                self._dropped = 0
            count = size = 0
            while count < len(self._lines) and (not count or size + len(self._lines[count]) <= _PIPE_BYTES):
                size += len(self._lines[count])
                count += 1
            text = b"".join(self._lines[:count])
            del self._lines[:count]
            self._writing = bool(text)
            return text


def _write_if_taken(descriptor: int, piece: bytes) -> bool:
    """Write at most ``_PIPE_BYTES`` if that needs no waiting; whether it was written.

    A pipe is opened anew to write without waiting: others write to it too, and may fill it between our question
    whether it has room and our write. The descriptor itself cannot be changed, since it is theirs as well.
    """
    try:
        if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            own = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                return os.write(own, piece) == len(piece)
            finally:
                os.close(own)
        if select.select([], [descriptor], [], 0)[1]:
            return os.write(descriptor, piece) == len(piece)
    except (OSError, ValueError):
        return False
    return False


_writer = Writer()
_error_writer = Writer(_STDERR)


def use_thread() -> None:
    """From now on a thread of this process writes. Called after the fork, never in the nursery."""
    global _writer, _error_writer  # new ones, since a lock inherited from the parent may be held
    _writer, _error_writer = Writer(), Writer(_STDERR)
    _writer.use_thread()
    _error_writer.use_thread()


def log(level: Level, subject: str, fact: str, **fields: Any) -> None:
    """Print ``[level] subject fact key=value``. Never waits; secrets are masked."""
    _writer.write(line(level, subject, fact, **fields))


def text(lines: str) -> None:
    """Print lines as they are, such as a traceback."""
    _writer.write(lines.rstrip("\n"))


def error_text(lines: str) -> None:
    """Print lines as they are on standard error. Never waits."""
    _error_writer.write(lines.rstrip("\n"))


def flush() -> None:
    """Wait a moment until all is written, before the process exits."""
    _writer.flush()
    _error_writer.flush()


def line(level: Level, subject: str, fact: str, **fields: Any) -> str:
    """The text of a log line."""
    parts = [f"{f'[{level}]':<9} {subject} {fact}"]
    for name, value in fields.items():
        shown = HIDDEN if is_secret_name(name) else masked(value)
        text = str(shown).replace("\n", "\\n")
        parts.append(f'{name}="{text}"' if " " in text else f"{name}={text}")
    return " ".join(parts)
