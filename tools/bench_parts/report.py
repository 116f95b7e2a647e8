"""Samples of all rounds, their medians, and the table for people."""

from __future__ import annotations

from statistics import median
from typing import NamedTuple

from tools.bench_parts.choice import Choice
from tools.bench_parts.load import CONNECTIONS, PATHS, rate_name
from tools.bench_parts.memory import Pss
from tools.bench_parts.planning import SIZES, plan_name

KINDS = ("create", "update", "remove")
APPLIES = (1, 5, 20)
#: updates by the other strategies, and orders of users, with 5 services; beside ``update_5_s``, which is the default
STRATEGIES = ("kill-then-download", "delete-then-download", "hand-over")
ORDERS = ("restart", "purge")
#: an apply may take this many times the raw limit, or this many seconds more, whichever is more
_RATIO, _MORE_S = 1.3, 0.15


#: the time of 500 services, divided by five times that of 100: 1 is linear, 5 is quadratic
LINEAR = 1.3
_ONCE = "idle, rps, pss_worked and plan"


class Measure(NamedTuple):
    """One line of the table. ``reference`` was measured on the TypeScript reference: shown beside ours.

    ``goal`` None: there is none, or it follows from the raw limit.
    """

    reference: str = ""
    goal: float | None = None
    more_is_better: bool = False

    def reached(self, value: float, goal: float) -> bool:
        return value >= goal if self.more_is_better else value <= goal


def _rates() -> dict[str, Measure]:
    known = {
        "ping": ((2736, 2736), (4066, 4066)),
        "healthy": ((1477, 1477), (1692, 1692)),
        "status": ((82, 1000), (169, 1500)),
    }
    rates: dict[str, Measure] = {}
    for name in PATHS:
        for index, connections in enumerate(CONNECTIONS):
            reference, goal = known[name][index] if name in known else ("", None)
            rates[rate_name(name, connections)] = Measure(str(reference), goal, more_is_better=True)
    return rates


def strategy_name(strategy: str) -> str:
    return f"{strategy.replace('-', '_')}_5_s"


def order_name(verb: str) -> str:
    return f"{verb}_5_s"


_APPLY_REFERENCE = {
    "create_5_s": "1.6",
    "create_20_s": "5.4",
    "update_1_s": "2.0",
    "update_5_s": "3.0",
    "update_20_s": "9.6",
    "remove_1_s": "0.5",
    "remove_5_s": "0.7",
    "remove_20_s": "2.6",
}
#: everything that is measured, in the order of the table
MEASURES: dict[str, Measure] = {
    "start_to_ping_s": Measure("0.69-0.78", 0.5),
    "pss_idle_mb": Measure("97", 97),
    "pss_5_services_mb": Measure("106", 104),
    "pss_worked_mb": Measure("123-148", 112),
    **{name: Measure() for name in ("pss_idle_anon_mb", "pss_5_services_anon_mb", "pss_worked_anon_mb")},
    "cpu_idle_s_per_min": Measure("0.04", 0.1),
    "written_idle_bytes_per_min": Measure("", 0),
    **{
        name: Measure(_APPLY_REFERENCE.get(name, ""))
        for name in (f"{kind}_{services}_s" for kind in KINDS for services in APPLIES)
    },
    **{strategy_name(strategy): Measure() for strategy in STRATEGIES},
    **{order_name(verb): Measure() for verb in ORDERS},
    "noop_s": Measure("0.10-0.16", 0.1),
    "applied_lag_s": Measure("0.5-2", 0.1),
    "applied_lag_max_s": Measure(),
    **_rates(),
    **{plan_name(services): Measure() for services in SIZES[:-1]},
    plan_name(SIZES[-1]): Measure(goal=100),
    "plan_linearity": Measure(goal=LINEAR),
}


class Samples:
    """Values by name, one for each round that counts."""

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = {}

    def add(self, name: str, value: float) -> None:
        self._values.setdefault(name, []).append(value)

    def add_memory(self, name: str, pss: Pss) -> None:
        self.add(name, pss.all_mb)
        self.add(name.replace("_mb", "_anon_mb"), pss.anonymous_mb)

    def summary(self, threads: tuple[int, ...], rounds: int) -> dict[str, float]:
        """One flat object: medians, the raw limits as the best median of all thread counts, and ratios."""
        result: dict[str, float] = {}
        for name in MEASURES:
            if name in self._values:
                result[name] = round(median(self._values[name]), 3)
        for name in (f"{kind}_{services}" for kind in KINDS for services in APPLIES):
            limits = {count: median(values) for count in threads if (values := self._values.get(raw_name(name, count)))}
            if limits:
                best = min(limits, key=limits.__getitem__)
                result[f"{name}_raw_s"] = round(limits[best], 3)
                result[f"{name}_raw_threads"] = best
                if f"{name}_s" in result:
                    result[f"{name}_ratio"] = round(result[f"{name}_s"] / limits[best], 3)
        usual = result.get("update_5_s")
        for name in (*map(strategy_name, STRATEGIES), *map(order_name, ORDERS)):
            if name in result and usual:
                result[f"{name.removesuffix('_s')}_ratio"] = round(result[name] / usual, 3)
        if "applied_lag_s" in self._values:
            result["applied_lag_max_s"] = round(max(self._values["applied_lag_s"]), 3)
        of_100, of_500 = (result.get(plan_name(services)) for services in SIZES[1:])
        if of_100 and of_500:
            result["plan_linearity"] = round(of_500 / of_100 / (SIZES[2] / SIZES[1]), 3)
        if "noop_touched" in self._values:
            result["noop_touched"] = sum(self._values["noop_touched"])
        result["rounds"] = rounds
        return result


def not_measured(summary: dict[str, float], choice: Choice) -> list[str]:
    """The chosen measures that are not in the summary."""
    return [name for name in MEASURES if name in choice and name not in summary]


def raw_name(name: str, threads: int) -> str:
    """The name of a raw sample of ``create_5`` and the like."""
    return f"raw_{name}_{threads}"


def goals(summary: dict[str, float]) -> dict[str, float]:
    """What is to be reached, for each value that was measured; that of an apply depends on the raw limit."""
    reach: dict[str, float] = {}
    for name, measure in MEASURES.items():
        raw = summary.get(f"{name.removesuffix('_s')}_raw_s")
        if name not in summary:
            continue
        if measure.goal is not None:
            reach[name] = measure.goal
        elif raw is not None:
            reach[name] = round(max(_RATIO * raw, raw + _MORE_S), 3)
    return reach


def table(summary: dict[str, float]) -> str:
    """Lines: name, value, raw limit, ratio, reference, goal, and whether it is reached."""
    reach = goals(summary)
    rows: list[tuple[str, ...]] = [("", "median", "raw", "ratio", "reference", "goal", "")]
    for name, measure in MEASURES.items():
        kind = name.removesuffix("_s")
        if name not in summary and f"{kind}_raw_s" not in summary:
            continue
        goal = reach.get(name)
        verdict = "" if goal is None else "reached" if measure.reached(summary[name], goal) else "MISSED"
        cells = (summary.get(name), summary.get(f"{kind}_raw_s"), summary.get(f"{kind}_ratio"))
        rows.append((name, *(_cell(cell) for cell in cells), measure.reference, _cell(goal), verdict))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    if "noop_touched" in summary:
        lines.append(f"containers touched by a repeated target: {summary['noop_touched']:.0f}")
    if summary["rounds"]:
        lines.append(f"medians of {summary['rounds']:.0f} rounds after a discarded one; {_ONCE} are measured once")
    return "\n".join(lines)


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}".rstrip("0").rstrip(".")
