"""A hand-over in a process of its own that kills itself with SIGKILL after one of its calls.

Arguments: engine, instance, and after how many calls that change something. The step comes as JSON on standard input.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec
from urllib3 import BaseHTTPResponse

from balena_supervisor.actors.container_jobs import ContainerJobs, ContainerReport
from balena_supervisor.actors.hand_over import HandOvers
from balena_supervisor.adapters.engine import Engine
from balena_supervisor.adapters.lock_files import LockFiles
from balena_supervisor.clock import SystemClock
from balena_supervisor.model.lock import lock_folder
from balena_supervisor.steps import HandOver


class DyingEngine(Engine):
    def __init__(self, host: str, calls: int) -> None:
        super().__init__(host)
        self._left = calls

    def _open(self, method: str, path: str, doing: str, **options: Any) -> BaseHTTPResponse:
        answer = super()._open(method, path, doing, **options)
        if method != "GET":
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return answer


def main(host: str, instance: str, calls: str) -> None:
    engine = DyingEngine(host, int(calls))
    locks = LockFiles(Path(lock_folder(instance)), lock_folder(instance))
    hand_overs = HandOvers(engine, ContainerJobs(engine, instance), locks, SystemClock())
    report = ContainerReport(lambda: 1, lambda *_: None, lambda *_: None, lambda *_: None)
    step = msgspec.json.decode(sys.stdin.buffer.read(), type=HandOver)
    hand_overs.hand_over(step, (), report, threading.Event())


if __name__ == "__main__":
    main(*sys.argv[1:])
