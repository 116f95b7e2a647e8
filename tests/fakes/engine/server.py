"""HTTP/1.1 on a Unix socket: accepts connections, reads requests, writes answers and chunked streams."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from tests.fakes.engine.basics import ApiError
from tests.fakes.engine.routes import API_VERSION, ENGINE_VERSION, MIN_API_VERSION, Answer, Request

#: Linux allows 107 bytes; longer ones fail with a message that nobody understands
MAX_SOCKET_PATH = 100


class ConnectionReset(Exception):
    """Raised by a handler of calls to end the connection without an answer."""


class Connection(BaseHTTPRequestHandler):
    """One connection, kept alive; its requests are answered one after the other."""

    protocol_version = "HTTP/1.1"
    server_version = f"Docker/{ENGINE_VERSION} (linux)"
    sys_version = ""
    wbufsize = -1
    server: Any  # the Server of this module, which is no socketserver

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name of the base class
        """Silence."""

    def answer_call(self) -> None:
        path, _, query = self.path.partition("?")
        body = self._read_body()
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, path, query, headers, body, self._gone)
        try:
            request.path = without_version(path)
            self.server.answer(request, self._send)
        except ApiError as error:
            self._send(Answer(error.status, {"message": error.message}))
        except ConnectionReset:
            self.close_connection = True
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001  # a defect of this engine must be seen by its caller
            self._send(Answer(500, {"message": f"simulated engine: {type(error).__name__}: {error}"}))

    do_GET = do_POST = do_DELETE = do_HEAD = do_PUT = answer_call  # noqa: N815  # the names of the base class

    def _read_body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            parts = []
            while size := int(self.rfile.readline().partition(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _gone(self) -> bool:
        if self.server.closing.is_set():
            return True
        try:
            peeked: bytes = self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return not peeked

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Api-Version", API_VERSION)
        self.send_header("Ostype", "linux")
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.stream is not None:
            self._send_stream(answer)
            return
        content = answer.content
        body = b"" if content is None else content.encode() if isinstance(content, str) else _json(content)
        if body:
            self.send_header("Content-Type", answer.content_type)
        if answer.status not in {204, 304}:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def _send_stream(self, answer: Answer) -> None:
        assert answer.stream is not None
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        for part in answer.stream:
            self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            self.wfile.flush()
        if self.server.closing.is_set():
            self.close_connection = True
            return
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()


def _json(content: Any) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode() + b"\n"


def without_version(path: str) -> str:
    """The path behind ``/vX.Y``. Raises ``ApiError`` 400 for a version that the engine does not speak."""
    match = re.match(r"/v(\d+)\.(\d+)(/.*)", path)
    if not match:
        return path
    version = (int(match[1]), int(match[2]))
    newest, oldest = (tuple(int(part) for part in text.split(".")) for text in (API_VERSION, MIN_API_VERSION))
    if version > newest:
        raise ApiError(
            400, f"client version {match[1]}.{match[2]} is too new. Maximum supported API version is {API_VERSION}"
        )
    if version < oldest:
        raise ApiError(
            400, f"client version {match[1]}.{match[2]} is too old. Minimum supported API version is {MIN_API_VERSION}"
        )
    return match[3]


class Server:
    """Listens on one socket file. ``answer`` is called in the thread of the connection with a function that sends."""

    def __init__(self, path: Path, answer: Callable[[Request, Callable[[Answer], None]], None]) -> None:
        if len(str(path)) > MAX_SOCKET_PATH:
            raise ValueError(f"cannot listen on {path}: longer than {MAX_SOCKET_PATH} characters")
        self.path = path
        self.answer = answer
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._threads: set[threading.Thread] = set()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        path.unlink(missing_ok=True)
        self._listener.bind(str(path))
        path.chmod(0o600)
        self._listener.listen(128)
        self._acceptor = threading.Thread(target=self._accept, name="engine-accept", daemon=True)
        self._acceptor.start()

    def _accept(self) -> None:
        while not self.closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,), name="engine-call", daemon=True)
            with self._lock:
                if self.closing.is_set():
                    connection.close()
                    return
                self._connections.add(connection)
                self._threads.add(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        # a caller that leaves in the middle of anything is no matter of the engine's
        with contextlib.suppress(OSError, ValueError):
            Connection(connection, ("", 0), self)  # type: ignore[arg-type]  # any object will do as the server
        connection.close()
        with self._lock:
            self._connections.discard(connection)
            self._threads.discard(threading.current_thread())

    def stop(self) -> None:
        """End all connections and remove the socket file; may be called from a connection's own thread."""
        self.closing.set()
        self.path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def join(self, timeout_s: float = 5) -> None:
        """Wait for the threads, after ``stop``. Raises ``AssertionError`` when one is left."""
        self._join(self._acceptor, timeout_s)  # first: it may be about to start one of the others
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            self._join(thread, timeout_s)

    @staticmethod
    def _join(thread: threading.Thread, timeout_s: float) -> None:
        if thread is not threading.current_thread():
            thread.join(timeout_s)
            assert not thread.is_alive(), f"a thread of the simulated engine is left: {thread.name}"
