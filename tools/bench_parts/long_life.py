"""The measures that are taken once, in one life of a supervisor with five services that lasts longer."""

from __future__ import annotations

from tools.bench_parts.choice import Choice
from tools.bench_parts.load import CONNECTIONS, PATHS, rate_name, requests_per_second
from tools.bench_parts.report import Samples
from tools.bench_parts.supervised import Bench, supervised
from tools.bench_parts.terminal import say

_SERVICES = 5
_RATES = [rate_name(name, connections) for name in PATHS for connections in CONNECTIONS]


def in_long_life(choice: Choice) -> bool:
    """Whether any of the chosen measures is one of these."""
    return choice.any(*_RATES)


def measure_long_life(bench: Bench, samples: Samples, choice: Choice) -> None:
    with supervised(bench):
        bench.apply(_SERVICES)
        bench.settle()
        if choice.any(*_RATES):
            say("asking the API")
        for name, path in PATHS.items():
            for connections in CONNECTIONS:
                if rate_name(name, connections) in choice:
                    samples.add(rate_name(name, connections), requests_per_second(bench.url + path, connections))
