"""The command line of ``tools/bench``, and the order in which things are measured."""

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
from tools.bench_parts.raw import CALL_TIMEOUT_S, EngineRefused, RawApp
from tools.bench_parts.report import APPLIES, Samples, raw_name
from tools.bench_parts.supervised import Bench, BenchFailed
from tools.dev_parts import labelled
from tools.dev_parts.engine import EngineMissing, answers, real_engine
from tools.dev_parts.programs import ProgramFailed
from tools.dev_parts.registry import free_port
from tools.dev_parts.samples import SamplesFailed, build_image

THREADS = (2, 4, 8)
_WAIT = "while :; do busybox sleep 1000 & wait $!; done"


def main(arguments: list[str]) -> int:
    """Measure and print; 1 when something failed or a repeated target touched a container."""
    options = _parser().parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    samples = Samples()
    try:
        with (
            _engine(options.docker_host) as url,
            _workplace(url) as (client, folder, image, instance),
        ):
            bench = Bench(folder, client, url, image=image, instance=instance, port=free_port())
            _measure(bench, client, url, samples, rounds=options.rounds)
    except KeyboardInterrupt:
        return 130
    except EngineMissing as error:
        _say(f"{error}; nothing was measured")
        return 1
    except (BenchFailed, EngineRefused, ProgramFailed, SamplesFailed, APIError, OSError) as error:
        _say(f"the measurement failed: {error}")
        return 1
    summary = samples.summary(THREADS)
    sys.stdout.write(report.table(summary) + "\n")
    if options.json:
        options.json.write_text(json.dumps(summary, indent=2) + "\n")
    return 1 if summary.get("noop_touched") else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tools/bench", description="Measure the supervisor on a real engine.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also save the result as one flat JSON object")
    parser.add_argument(
        "--docker-host",
        default="",
        metavar="URL",
        help="the engine; otherwise DOCKER_HOST, that of this machine, or an own one",
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count, after one that does not")
    return parser


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
def _workplace(url: str) -> Iterator[tuple[docker.APIClient, Path, str, str]]:
    """A client, a folder with a short path, an image and an instance label; at the end nothing of them is left."""
    instance = f"bench-{uuid.uuid4().hex[:8]}"
    image = f"{instance}:kept"
    client = docker.APIClient(base_url=url, timeout=CALL_TIMEOUT_S)
    try:
        with tempfile.TemporaryDirectory(prefix="bench") as folder:
            build_image(client, image, _WAIT)
            yield client, Path(folder), image, instance
    finally:
        for label in (instance, _raw(instance)):
            labelled.remove_all(client, label)
        for tag in (image, f"{instance}:used"):
            with suppress(DockerException):
                client.remove_image(tag, force=True)
        client.close()


def _raw(instance: str) -> str:
    """The label of what is made without the supervisor, so that it leaves that alone."""
    return f"{instance}-raw"


def _measure(bench: Bench, client: docker.APIClient, url: str, samples: Samples, *, rounds: int) -> None:
    apps: dict[int, RawApp] = {}
    for number in range(rounds + 1):
        _say("warming up" if number == 0 else f"round {number} of {rounds}")
        try:
            _supervised(bench, samples, apps)
        except (BenchFailed, ProgramFailed, OSError):
            _say(f"the supervisor's last lines:\n{bench.output()}")
            raise
        finally:
            bench.stop()
        # without the supervisor, whose share of the processor would make the limit look worse than it is
        for turn in range(len(THREADS)):
            threads = THREADS[(turn + number) % len(THREADS)]
            for services, app in apps.items():
                samples.add(raw_name(services, threads), app.run(url, threads))
                labelled.remove_all(client, _raw(bench.instance))
        if number == 0:
            samples.clear()


def _supervised(bench: Bench, samples: Samples, apps: dict[int, RawApp]) -> None:
    """One life of the supervisor. ``apps`` gets what it makes, once for each size."""
    samples.add("start_to_ping_s", bench.start())
    samples.add("pss_idle_mb", bench.memory_mb())
    for services in APPLIES:
        samples.add(f"create_{services}_s", bench.apply(services))
        if services == APPLIES[0]:
            samples.add("pss_5_services_mb", bench.memory_mb())
            took, touched = bench.apply_again(services)
            samples.add("noop_s", took)
            samples.add("noop_touched", touched)
        if services not in apps:
            apps[services] = bench.as_made(_raw(bench.instance))
        bench.clear()


def _say(text: str) -> None:
    sys.stderr.write(f"bench: {text}\n")
    sys.stderr.flush()


def _end(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
