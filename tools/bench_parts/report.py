"""Samples of all rounds, their medians, and the table for people."""

from __future__ import annotations

from statistics import median

#: measured on the TypeScript reference: shown beside ours
REFERENCE = {
    "start_to_ping_s": "0.69-0.78",
    "pss_idle_mb": "97",
    "pss_5_services_mb": "106",
    "create_5_s": "1.6",
    "create_20_s": "5.4",
    "noop_s": "0.10-0.16",
}
_LIMITS = {"start_to_ping_s": 0.5, "pss_idle_mb": 97.0, "pss_5_services_mb": 104.0, "noop_s": 0.1}
APPLIES = (5, 20)
#: an apply may take this many times the raw limit, or this many seconds more, whichever is more
_RATIO, _MORE_S = 1.3, 0.15


class Samples:
    """Values by name, one for each round that counts."""

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = {}

    def add(self, name: str, value: float) -> None:
        self._values.setdefault(name, []).append(value)

    def clear(self) -> None:
        """Discard what the first round gave: it migrates the database and warms every cache."""
        self._values.clear()

    def summary(self, threads: tuple[int, ...]) -> dict[str, float]:
        """One flat object: medians, the raw limits as the best median of all thread counts, and ratios."""
        result: dict[str, float] = {}
        for name in REFERENCE:
            if name in self._values:
                result[name] = round(median(self._values[name]), 3)
        for services in APPLIES:
            limits = {
                count: median(values) for count in threads if (values := self._values.get(raw_name(services, count)))
            }
            if limits:
                best = min(limits, key=limits.__getitem__)
                result[f"create_{services}_raw_s"] = round(limits[best], 3)
                result[f"create_{services}_raw_threads"] = best
                if f"create_{services}_s" in result:
                    result[f"create_{services}_ratio"] = round(result[f"create_{services}_s"] / limits[best], 3)
        if "noop_touched" in self._values:
            result["noop_touched"] = sum(self._values["noop_touched"])
        result["rounds"] = max((len(values) for values in self._values.values()), default=0)
        return result


def raw_name(services: int, threads: int) -> str:
    """The name of a raw sample."""
    return f"raw_{services}_{threads}"


def goals(summary: dict[str, float]) -> dict[str, float]:
    """What is to be reached, for each value that was measured; that of an apply depends on the raw limit."""
    reach = {name: limit for name, limit in _LIMITS.items() if name in summary}
    for services in APPLIES:
        raw = summary.get(f"create_{services}_raw_s")
        if raw is not None and f"create_{services}_s" in summary:
            reach[f"create_{services}_s"] = round(max(_RATIO * raw, raw + _MORE_S), 3)
    return reach


def table(summary: dict[str, float]) -> str:
    """Lines: name, value, raw limit, ratio, reference, goal, and whether it is reached."""
    reach = goals(summary)
    rows: list[tuple[str, ...]] = [("", "median", "raw", "ratio", "reference", "goal", "")]
    for name, reference in REFERENCE.items():
        if name not in summary and name.replace("_s", "_raw_s") not in summary:
            continue
        kind = name.removesuffix("_s")
        goal = reach.get(name)
        verdict = "" if goal is None else "reached" if summary[name] <= goal else "MISSED"
        cells = (summary.get(name), summary.get(f"{kind}_raw_s"), summary.get(f"{kind}_ratio"))
        rows.append((name, *(_cell(cell) for cell in cells), reference, _cell(goal), verdict))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    if "noop_touched" in summary:
        lines.append(f"containers touched by a repeated target: {summary['noop_touched']:.0f}")
    lines.append(f"medians of {summary['rounds']:.0f} rounds after a discarded one")
    return "\n".join(lines)


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}".rstrip("0").rstrip(".")
