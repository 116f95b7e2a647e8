"""The command line of ``tools/bench``, and the place that it measures in."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import docker
from docker.errors import APIError, DockerException

from tools.bench_parts import report
from tools.bench_parts.choice import Choice
from tools.bench_parts.load import LoadFailed
from tools.bench_parts.long_life import in_long_life, measure_long_life
from tools.bench_parts.planning import SIZES, PlanningFailed, plan_name, planning_ms
from tools.bench_parts.raw import CALL_TIMEOUT_S, EngineRefused
from tools.bench_parts.report import MEASURES, Samples
from tools.bench_parts.rounds import THREADS, in_rounds, measure_rounds, raw_label
from tools.bench_parts.supervised import Bench, BenchFailed, Place
from tools.bench_parts.terminal import say
from tools.dev_parts import labelled
from tools.dev_parts.engine import EngineMissing, answers, real_engine
from tools.dev_parts.paths import DEV
from tools.dev_parts.programs import ProgramFailed
from tools.dev_parts.registry import free_port
from tools.dev_parts.samples import SamplesFailed, build_image

_FAILURES = (
    BenchFailed,
    EngineRefused,
    LoadFailed,
    PlanningFailed,
    ProgramFailed,
    SamplesFailed,
    APIError,
    OSError,
)
_WAIT = "while :; do busybox sleep 1000 & wait $!; done"


def main(arguments: list[str]) -> int:
    """Measure and print; 1 when something failed or is missing, or a repeated target touched a container."""
    options = _parser().parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    samples = Samples()
    rounds = options.rounds if in_rounds(options.only) else 0
    try:
        _plan(samples, options.only)
        if rounds or in_long_life(options.only):
            _on_an_engine(options.docker_host, samples, options.only, rounds)
    except KeyboardInterrupt:
        return 130
    except EngineMissing as error:
        say(f"{error}; nothing was measured")
        return 1
    except _FAILURES as error:
        say(f"the measurement failed: {error}")
        return 1
    summary = samples.summary(THREADS, rounds)
    sys.stdout.write(report.table(summary) + "\n")
    if options.json:
        options.json.write_text(json.dumps(summary, indent=2) + "\n")
    missing = report.not_measured(summary, options.only) if options.rounds else []
    if missing:
        say(f"not measured: {', '.join(missing)}")
    return 1 if missing or summary.get("noop_touched") else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tools/bench", description="Measure the supervisor on a real engine.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also save the result as one flat JSON object")
    parser.add_argument(
        "--docker-host",
        default="",
        metavar="URL",
        help="the engine; otherwise DOCKER_HOST, that of this machine, or an own one",
    )
    parser.add_argument("--rounds", type=int, default=3, help="rounds that count, after one that does not")
    parser.add_argument(
        "--only",
        type=_choice,
        default=Choice(MEASURES),
        metavar="NAME,…",
        help="measure these alone, named as in the table or by a part of that: rps, rps_status, update_5",
    )
    return parser


def _choice(text: str) -> Choice:
    try:
        return Choice(MEASURES, text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _plan(samples: Samples, choice: Choice) -> None:
    chosen = SIZES if "plan_linearity" in choice else [size for size in SIZES if plan_name(size) in choice]
    if chosen:
        say("planning")
        for name, value in planning_ms(chosen).items():
            samples.add(name, value)
            say(f"  {name}: {value:.2f}")


def _on_an_engine(given: str, samples: Samples, choice: Choice, rounds: int) -> None:
    with _engine(given) as url, _workplace(url) as (client, bench):
        if rounds:
            measure_rounds(bench, client, url, samples, choice=choice, rounds=rounds)
        if in_long_life(choice):
            measure_long_life(bench, samples, choice)


@contextmanager
def _engine(given: str) -> Iterator[str]:
    """The address of an engine that answers, as ``tools/dev`` finds or starts it. Raises ``EngineMissing``."""
    if not given:
        with real_engine() as engine:
            yield engine.url
    elif answers(given):
        yield given
    else:
        raise EngineMissing(f"no engine answers at {given}")


@contextmanager
def _workplace(url: str) -> Iterator[tuple[docker.APIClient, Bench]]:
    """A client and a supervisor to be measured; at the end nothing of it is left.

    Its data stands in the checkout: files in the machine's temporary folder may be kept in memory. The other folder
    has a short path, for sockets.
    """
    instance = f"bench-{uuid.uuid4().hex[:8]}"
    image = f"{instance}:kept"
    client = docker.APIClient(base_url=url, timeout=CALL_TIMEOUT_S)
    try:
        DEV.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix="bench", dir=DEV)
        with folder as data, tempfile.TemporaryDirectory(prefix="bench") as run:
            build_image(client, image, _WAIT)
            place = Place(Path(data), Path(run), url, free_port())
            yield client, Bench(place, client, image=image, instance=instance)
    finally:
        for label in (instance, raw_label(instance)):
            labelled.remove_all(client, label)
        labelled.remove_lock_folders(instance)  # what is made without the supervisor mounts them too
        for tag in (image, f"{instance}:used"):
            with suppress(DockerException):
                client.remove_image(tag, force=True)
        client.close()


def _end(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
