"""The command ``balena-supervisor``. What a device runs never imports what only people at a terminal need."""

from __future__ import annotations

import os
import signal
import sys

from balena_supervisor.errors import SupervisorError
from balena_supervisor.settings import read_settings


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code; ``arguments`` are without the program's name."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        if given == ["run"]:
            return _run()
        if given in (["version"], ["--version"]):
            sys.stdout.write(f"{read_settings().version}\n")
            return 0
    except SupervisorError as error:
        sys.stderr.write(f"{error.message}\n")
        return 1
    from balena_supervisor.cli import command_line  # noqa: PLC0415  # click and rich are for people

    return command_line(given, _run)


def _run() -> int:
    # The first process of a container gets no signal that it does not handle; importing takes a moment.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(143))
    from balena_supervisor.supervise import run  # noqa: PLC0415  # the other commands do without it

    return run(read_settings())


if __name__ == "__main__":
    sys.exit(main())
