"""Gunicorn inside this program: one arbiter, one worker with threads, on a listening socket that others keep open.

The arbiter's process starts the worker again when it dies; a listening socket held by the parent of both means that
clients meet no refused connection meanwhile.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer

from balena_supervisor.clock import SystemClock
from balena_supervisor.http.patience import Limits, PatientWorker
from balena_supervisor.runtime import output

KEEP_ALIVE_S = 5
#: The worker ends by itself before the arbiter kills it; gunicorn looks at these once a second.
STOP_S = 2
_WORKER_STOP_S = 1
_MEMORY_FOLDER = Path("/dev/shm")  # noqa: S108  # gunicorn's sign of life must not reach the disk
#: No header of a proxy is ever believed, so there is no need to find out for each request whether a proxy sent it.
_NOTHING_FORWARDED: dict[str, Any] = {
    "forwarded_allow_ips": "*",
    "forwarder_headers": "",
    "secure_scheme_headers": {},
}
#: what systemd or gunicorn itself would take as an order
_FOREIGN_VARIABLES = ("NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "GUNICORN_PID", "GUNICORN_FD", "SCRIPT_NAME")
#: Gunicorn would add workers, reload or run the program anew; Ctrl-C is handled by the first process for all.
_IGNORED_SIGNALS = (
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
)
_EARLY_S = 5.0
_EARLY_DEATHS = 5


def serve(
    *,
    listener_fd: int,
    make_application: Callable[[], WSGIApplication],
    in_worker: Callable[[int], None] = lambda _: None,
    limits: Limits | None = None,
) -> NoReturn:
    """Serve until SIGTERM; then open requests have a second to end.

    ``listener_fd`` is a bound, listening socket; this process's copy of it is closed at the end. ``in_worker`` is
    called in the worker right after its fork with the arbiter's pid; ``make_application`` there too, before the
    first connection is accepted. Exits with 0, or with 3 when the worker cannot start. From the main thread.
    """
    for name in _FOREIGN_VARIABLES:
        os.environ.pop(name, None)
    for number in _IGNORED_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    deaths = _EarlyDeaths()
    limits = limits or Limits()
    worker_class = type("Worker", (PatientWorker,), {"limits": limits})
    options: dict[str, Any] = {
        "bind": [f"fd://{listener_fd}"],
        "workers": 1,
        "worker_class": worker_class,
        "threads": limits.threads,
        "worker_connections": limits.connections,
        "keepalive": KEEP_ALIVE_S,
        "timeout": 0,  # the heartbeat of the actor in the worker is the sign of life
        "graceful_timeout": STOP_S,
        "worker_tmp_dir": str(_MEMORY_FOLDER) if _MEMORY_FOLDER.is_dir() else None,
        "control_socket_disable": True,
        **_NOTHING_FORWARDED,
        "accesslog": None,
        "logger_class": GunicornLog,
        "post_fork": lambda arbiter, _worker: in_worker(arbiter.pid),
        "post_worker_init": _prepare_worker,
        "child_exit": lambda _arbiter, _worker: deaths.count(),
    }
    _OneWorkerArbiter(_Application(options, lambda: _announce_keep_alive(make_application()))).run()
    raise SystemExit(0)


def _prepare_worker(worker: PatientWorker) -> None:
    """After gunicorn has set the signals of the worker. Its settings are its own since the fork."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    worker.cfg.set("graceful_timeout", _WORKER_STOP_S)


class _Application(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    def __init__(self, options: dict[str, Any], load: Callable[[], WSGIApplication]) -> None:
        self._options = options
        self.load = load
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)


class _OneWorkerArbiter(Arbiter):  # type: ignore[misc]  # gunicorn has no types
    """Takes no signals but those that end it."""

    SIGNALS = (signal.SIGTERM, signal.SIGQUIT)


class _EarlyDeaths:
    """A worker that cannot live must not be started again for ever at full speed; who started us backs off."""

    def __init__(self) -> None:
        self._clock = SystemClock()
        self._deaths: list[float] = []

    def count(self) -> None:
        """Raises ``HaltServer`` at too many deaths within a short time."""
        now = self._clock.monotonic()
        self._deaths = [at for at in self._deaths if now - at < _EARLY_S] + [now]
        if len(self._deaths) >= _EARLY_DEATHS:
            raise HaltServer("the worker keeps dying", Arbiter.WORKER_BOOT_ERROR)


class GunicornLog:
    """What gunicorn has to say, from warnings on, as one line each. Never waits, neither before the fork of the
    worker nor after it, and starts no thread."""

    def __init__(self, cfg: Any) -> None:
        self.cfg = cfg
        self._writer = output.Writer()

    def setup(self, cfg: Any) -> None:
        self.cfg = cfg

    def debug(self, text: str, *arguments: Any, **_: Any) -> None:
        """Not shown, like information."""

    info = debug

    def warning(self, text: str, *arguments: Any, **_: Any) -> None:
        self._write("warn", text, arguments)

    def error(self, text: str, *arguments: Any, **_: Any) -> None:
        self._write("error", text, arguments)

    critical = error

    def exception(self, text: str, *arguments: Any, **_: Any) -> None:
        self._write("error", text, arguments, error=repr(sys.exc_info()[1]))

    def access(self, *_: Any) -> None:
        """The application logs its requests itself, without their query."""

    def reopen_files(self) -> None:
        """There are none."""

    close_on_exec = reopen_files

    def _write(self, level: output.Level, text: str, arguments: tuple[Any, ...], **fields: Any) -> None:
        self._writer.write(output.line(level, "gunicorn", text % arguments if arguments else text, **fields))


def _announce_keep_alive(application: WSGIApplication) -> WSGIApplication:
    """Add the ``Keep-Alive`` header, which gunicorn keeps applications from setting."""

    def announcing(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            write = start_response(status, headers, *rest)
            response = getattr(start_response, "__self__", None)
            if response is not None and not response.should_close():
                response.headers.append(("Keep-Alive", f"timeout={KEEP_ALIVE_S}"))
            return write

        return application(environ, start)

    return announcing
