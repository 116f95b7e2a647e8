"""``python -m tests.fakes.engine --socket PATH``: the simulated engine as a program, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from tests.fakes.engine import control
from tests.fakes.engine.server import Server
from tests.fakes.engine.simulated import SimulatedEngine


def main(arguments: list[str] | None = None) -> int:
    """Print the address once it listens, then wait for a signal."""
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.engine", description=__doc__)
    parser.add_argument("--socket", type=Path, required=True, help="path of the socket, at most 90 characters")
    parser.add_argument("--any-image", action="store_true", help="every image can be pulled")
    parser.add_argument("--image", action="append", default=[], help="an image that is present (repeatable)")
    parser.add_argument("--pull-line-ms", type=float, default=0, help="delay between two progress lines of a pull")
    options = parser.parse_args(arguments)
    # blocked before the first thread exists, so that every thread inherits it and only sigwait takes them
    signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    with SimulatedEngine(options.socket.parent, socket_name=options.socket.name) as engine:
        engine.registry.any_image = options.any_image
        engine.registry.line_delay_s = options.pull_line_ms / 1000
        for name in options.image:
            engine.add_image(name)
        controls = Server(
            engine.socket_path.with_name(engine.socket_path.name + control.SUFFIX),
            lambda request, send: send(control.handle(engine, request)),
        )
        print(engine.url, flush=True)  # noqa: T201  # the one line that the program's user waits for
        signal.sigwait(signals)
        controls.stop()
        controls.join()
    return 0


if __name__ == "__main__":
    sys.exit(main())
