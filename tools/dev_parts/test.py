"""``tools/dev test``: all tests, those on a real engine and registry included."""

import os
import signal
import subprocess
from contextlib import ExitStack
from types import FrameType

from tools.dev_parts.engine import EngineMissing, real_engine
from tools.dev_parts.paths import PYTHON, ROOT
from tools.dev_parts.registry import RegistryMissing, dev_registry
from tools.dev_parts.terminal import say

#: arguments that choose a few tests, or want one process: starting workers would cost more than they bring
_CHOOSING = ("-k", "-m", "-n", "-s", "--lf", "--ff", "--pdb", "--collect-only", "--numprocesses")


def test(arguments: list[str], *, simulated: bool) -> int:
    """Run pytest; returns its exit code. Without an engine the tests marked ``engine`` are left out, in CI it fails."""
    with ExitStack() as stack:
        environment = dict(os.environ)
        left_out: dict[str, str] = {}
        try:
            if simulated:
                raise EngineMissing("--simulated was given")
            engine = stack.enter_context(real_engine())
            environment["DOCKER_HOST"] = engine.url
            environment["TEST_REGISTRY"] = stack.enter_context(dev_registry())
        except (EngineMissing, RegistryMissing) as error:
            if os.environ.get("CI") == "true" and not simulated:
                say(f"tests need a real engine in CI: {error}")
                return 1
            say(f"going on without a real engine: {error}")
            environment.pop("DOCKER_HOST", None)
            left_out["engine"] = f"that need a real engine and registry: {str(error).splitlines()[0]}"
        if os.geteuid() != 0:
            left_out["root"] = "that need root"
        workers = max(2, min(4, os.cpu_count() or 2))
        in_ci = os.environ.get("CI") == "true"
        if in_ci:  # there the summary of pytest comes last
            _say_what_is_left_out(left_out)
        code = _pytest(pytest_arguments(arguments, list(left_out), workers), environment)
        if not in_ci:
            _say_what_is_left_out(left_out)
        return code


def _say_what_is_left_out(left_out: dict[str, str]) -> None:
    for why in left_out.values():
        say(f"not run: the tests {why}")


def pytest_arguments(arguments: list[str], left_out: list[str], workers: int) -> list[str]:
    """The given arguments, the number of workers unless few tests are asked for, and ``-m`` without what is left
    out."""
    marks = [f"not {mark}" for mark in left_out]
    rest = list(arguments)
    if marks and "-m" in rest[:-1]:
        place = rest.index("-m")
        marks.insert(0, f"({rest[place + 1]})")
        del rest[place : place + 2]
    few = any(argument.startswith(_CHOOSING) or (ROOT / argument.split("::")[0]).exists() for argument in arguments)
    # tests of one file share names and ports; xdist's groups by mark have no effect with pytest 9.2
    parallel = [] if few else ["-n", str(workers), "--dist", "loadfile", "--no-loadscope-reorder"]
    return [*parallel, *(["-m", " and ".join(marks)] if marks else []), *rest]


def _pytest(arguments: list[str], environment: dict[str, str]) -> int:
    child = subprocess.Popen([str(PYTHON), "-m", "pytest", *arguments], cwd=ROOT, env=environment)

    def pass_on(number: int, _frame: FrameType | None) -> None:
        # Ctrl-C reaches pytest by itself, it is in the terminal's foreground group like us
        if number == signal.SIGTERM:
            child.terminate()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, pass_on)
    return child.wait()
