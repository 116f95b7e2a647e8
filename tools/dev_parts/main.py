"""The command line of ``tools/dev``. Standard library only."""

import argparse
import os
import signal
import sys
from types import FrameType

from tools.dev_parts import install
from tools.dev_parts.terminal import say


def main(arguments: list[str]) -> int:
    """Run one command; returns its exit code."""
    options, rest = _parser().parse_known_args(arguments)
    if rest and options.command != "test":
        _parser().error(f"unknown arguments: {' '.join(rest)}")
    for number in (signal.SIGTERM, signal.SIGHUP):  # the latter when its terminal is closed
        signal.signal(number, _end)
    try:
        if options.command == "setup":
            install.ensure()
            return 0
        install.enter_environment("dev", arguments)
        return _in_environment(options, rest)
    except install.SetupFailed as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # as after "| head"; what was started is stopped by now
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _in_environment(options: argparse.Namespace, rest: list[str]) -> int:
    if options.command == "run":
        from tools.dev_parts.run import run  # noqa: PLC0415  # needs the virtual environment

        return run(once=options.once, simulated=options.simulated, timeout_s=options.timeout)
    if options.command == "image":
        from tools.dev_parts.image import image  # noqa: PLC0415  # needs the virtual environment

        return image(options.tag, no_cache=options.no_cache)
    from tools.dev_parts.test import test  # noqa: PLC0415  # needs the virtual environment

    return test(rest, simulated=options.simulated)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tools/dev", description="Set up, run and test the supervisor on this machine.", allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("setup", help="install what is missing; quick when nothing is")
    run = commands.add_parser("run", help="bring up a supervisor with a sample app on a real engine")
    run.add_argument("--once", action="store_true", help="end as soon as all services run")
    run.add_argument("--timeout", type=float, default=120, metavar="SECONDS", help="for --once and the first start")
    run.add_argument("--simulated", action="store_true", help="use the simulated engine")
    image = commands.add_parser("image", help="build the image of the supervisor and print its size")
    image.add_argument("--tag", default="", metavar="NAME", help="its name  [default: balena/ARCH-supervisor:master]")
    image.add_argument("--no-cache", action="store_true", help="build everything anew")
    # prefixes of long options belong to pytest, and so does -h after "test"
    test = commands.add_parser(
        "test",
        help="run the tests; further arguments go to pytest",
        allow_abbrev=False,
        add_help=False,
    )
    test.add_argument("--simulated", action="store_true", help="leave out what needs a real engine")
    return parser


def _end(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
