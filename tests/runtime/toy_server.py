"""A server with an arbiter and a worker, as gunicorn is one, but nothing else: it answers every connection with the
worker's pid, and a connection that sends ``s`` is held open as a stream."""

from __future__ import annotations

import os
import signal
import socket
import threading
from pathlib import Path
from types import FrameType
from typing import NoReturn

from balena_supervisor.runtime.child_host import connect_in_thread
from balena_supervisor.runtime.process import die_with_parent
from balena_supervisor.runtime.table import ActorRow, ChildContext
from tests.runtime import toys

folder = Path()


def serve(context: ChildContext) -> NoReturn:
    worker = 0

    def end(_signal: int, _frame: FrameType | None) -> None:
        os.kill(worker, signal.SIGKILL)
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    while True:
        arbiter = os.getpid()
        worker = os.fork()
        if not worker:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            die_with_parent(arbiter)
            work(context)
        os.waitpid(worker, 0)


def work(context: ChildContext) -> NoReturn:
    connect_in_thread(context, ActorRow(name="http", start=toys.start_toy(folder)))
    assert context.listener_fd is not None
    listener = socket.socket(fileno=context.listener_fd)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=answer, args=(connection,), daemon=True).start()


def answer(connection: socket.socket) -> None:
    with connection:
        if connection.recv(1) == b"s":
            connection.sendall(b"stream\n")
            connection.recv(1)
        connection.sendall(f"{os.getpid()}\n".encode())
