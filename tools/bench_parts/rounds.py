"""The measures of which each round takes a sample, beside the raw limits."""

from __future__ import annotations

import docker

from tools.bench_parts.choice import Choice
from tools.bench_parts.raw import RawApp
from tools.bench_parts.report import (
    APPLIES,
    KINDS,
    ORDERS,
    STRATEGIES,
    Samples,
    order_name,
    raw_name,
    strategy_name,
)
from tools.bench_parts.supervised import Bench, supervised
from tools.bench_parts.terminal import say
from tools.dev_parts import labelled

THREADS = (2, 4, 8)
#: the apply at which the things are measured that need one only
_USUAL = 5
_STARTED = ("start_to_ping_s", "pss_idle_mb")
_AT_USUAL = ("pss_5_services_mb", "noop_s", "applied_lag_s", *map(strategy_name, STRATEGIES), *map(order_name, ORDERS))


def in_rounds(choice: Choice) -> bool:
    """Whether any of the chosen measures is one of these."""
    return choice.any(*_STARTED) or bool(_sizes(choice))


def measure_rounds(
    bench: Bench, client: docker.APIClient, url: str, samples: Samples, *, choice: Choice, rounds: int
) -> None:
    """The supervisor and the bare engine by turns, on one machine in one state. What the first round gives does not
    count: it migrates the database and warms every cache."""
    apps: dict[int, RawApp] = {}
    for number in range(rounds + 1):
        say("warming up" if number == 0 else f"round {number} of {rounds}")
        with supervised(bench) as started_s:
            _one_life(bench, samples if number else Samples(), started_s, apps, choice=choice)
        if number == 0:
            continue
        # without the supervisor, whose share of the processor would make the limit look worse than it is
        for services, app in apps.items():
            for turn in range(len(THREADS)):
                threads = THREADS[(turn + number) % len(THREADS)]
                if threads <= max(services, THREADS[0]):
                    _raw(app, url, samples, services=services, threads=threads, choice=choice)
                    labelled.remove_all(client, raw_label(bench.instance))


def raw_label(instance: str) -> str:
    """The label of what is made without the supervisor, so that it leaves that alone."""
    return f"{instance}-raw"


def _sizes(choice: Choice) -> list[int]:
    return [
        services
        for services in APPLIES
        if choice.any(*(f"{kind}_{services}_s" for kind in KINDS)) or (services == _USUAL and choice.any(*_AT_USUAL))
    ]


def _one_life(bench: Bench, samples: Samples, started_s: float, apps: dict[int, RawApp], *, choice: Choice) -> None:
    """``apps`` gets what it makes, once for each size."""
    samples.add("start_to_ping_s", started_s)
    if "pss_idle_mb" in choice:
        samples.add_memory("pss_idle_mb", bench.memory())
    for services in _sizes(choice):
        _apply(bench, samples, f"create_{services}_s", services)
        if services == _USUAL:
            _at_usual(bench, samples, choice)
        if services not in apps:
            apps[services] = bench.as_made(raw_label(bench.instance))
        if f"update_{services}_s" in choice:
            _apply(bench, samples, f"update_{services}_s", services)
        if services == _USUAL:
            _by_strategy(bench, samples, choice)
        samples.add(f"remove_{services}_s", bench.clear())


def _apply(bench: Bench, samples: Samples, name: str, services: int) -> None:
    took = bench.apply(services)
    samples.add(name, took.running_s)
    samples.add("applied_lag_s", took.lag_s)


def _by_strategy(bench: Bench, samples: Samples, choice: Choice) -> None:
    """A change of the labels alone is an update too, which does not count."""
    for verb in ORDERS:
        if order_name(verb) in choice:
            samples.add(order_name(verb), bench.order(verb))
    for strategy in STRATEGIES:
        if strategy_name(strategy) in choice:
            bench.apply(_USUAL, strategy)
            samples.add(strategy_name(strategy), bench.apply(_USUAL, strategy).running_s)


def _at_usual(bench: Bench, samples: Samples, choice: Choice) -> None:
    if "pss_5_services_mb" in choice:
        samples.add_memory("pss_5_services_mb", bench.memory())
    if "noop_s" in choice:
        took, touched = bench.apply_again(_USUAL)
        samples.add("noop_s", took)
        samples.add("noop_touched", touched)


def _raw(app: RawApp, url: str, samples: Samples, *, services: int, threads: int, choice: Choice) -> None:
    with app.calls(url, threads) as calls:
        samples.add(raw_name(f"create_{services}", threads), calls.create())
        if f"update_{services}_s" in choice:
            samples.add(raw_name(f"update_{services}", threads), calls.update())
        if f"remove_{services}_s" in choice:
            samples.add(raw_name(f"remove_{services}", threads), calls.remove())
