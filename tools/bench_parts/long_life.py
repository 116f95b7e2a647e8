"""The measures that are taken once, in one life of a supervisor with five services that lasts longer."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tools.bench_parts.choice import Choice
from tools.bench_parts.load import CONNECTIONS, PATHS, rate_name, requests_per_second
from tools.bench_parts.report import Samples
from tools.bench_parts.supervised import Bench, BenchFailed, supervised
from tools.bench_parts.terminal import say
from tools.bench_parts.usage import spent, usage, usage_of_family

_SERVICES = 5
_APPLIES = 50
_IDLE_S = 60
#: seconds from the last apply until it counts as idle: what follows an apply by a timer is over by then
_QUIET_S = 10
_RATES = [rate_name(name, connections) for name in PATHS for connections in CONNECTIONS]
_IDLE = ("cpu_idle_s_per_min", "written_idle_bytes_per_min")


def in_long_life(choice: Choice) -> bool:
    """Whether any of the chosen measures is one of these."""
    return choice.any(*_IDLE, *_RATES, "pss_worked_mb")


def measure_long_life(bench: Bench, samples: Samples, choice: Choice) -> None:
    with supervised(bench):
        bench.apply(_SERVICES)
        bench.settle()
        if choice.any(*_IDLE):
            _idle(bench, samples)
        _rates(bench, samples, choice)
        if "pss_worked_mb" in choice:
            _worked(bench, samples)
        bench.clear()


def _idle(bench: Bench, samples: Samples) -> None:
    _see_that_writes_count(bench.folder)
    time.sleep(_QUIET_S)
    say(f"leaving it idle for {_IDLE_S} s")
    pid = bench.pid()
    before, began = usage_of_family(pid), time.monotonic()
    time.sleep(_IDLE_S)
    after, minutes = usage_of_family(pid), (time.monotonic() - began) / 60
    used = spent(before, after)
    for member, use in sorted(used.items(), key=lambda entry: -entry[1].cpu_s):
        if use.cpu_s or use.written_bytes:
            say(f"  {member} {use.name}: {use.cpu_s:.2f} s, {use.written_bytes} bytes written")
    samples.add("cpu_idle_s_per_min", sum(use.cpu_s for use in used.values()) / minutes)
    samples.add("written_idle_bytes_per_min", sum(use.written_bytes for use in used.values()) / minutes)


def _see_that_writes_count(folder: Path) -> None:
    """Raises ``BenchFailed`` where the kernel does not count what is written to files, so that none would be seen."""
    before = usage(os.getpid()).written_bytes
    probe = folder / "probe"
    probe.write_bytes(bytes(4096))
    counted = usage(os.getpid()).written_bytes - before
    probe.unlink()
    if counted < 4096:
        raise BenchFailed(f"writes below {folder} are not counted: it is no folder on a disk")


def _rates(bench: Bench, samples: Samples, choice: Choice) -> None:
    if choice.any(*_RATES):
        say("asking the API")
    for name, path in PATHS.items():
        for connections in CONNECTIONS:
            if rate_name(name, connections) in choice:
                samples.add(rate_name(name, connections), requests_per_second(bench.url + path, connections))


def _worked(bench: Bench, samples: Samples) -> None:
    say(f"updating {_APPLIES} times")
    for _ in range(_APPLIES):
        bench.apply(_SERVICES)
    samples.add_memory("pss_worked_mb", bench.memory())
