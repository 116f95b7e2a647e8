"""Progress of a pull as one whole percent (spec apply-loop 4.4)."""

from __future__ import annotations

from typing import Any

#: layers below these sizes say little about the time that is left
MIN_DOWNLOAD_BYTES = 100_000
MIN_EXTRACT_BYTES = 1_000_000
_FINISHED = ("up to date", "downloaded newer image")


class PullProgress:
    """Takes the events of a pull one by one and knows the percent, which never goes down.

    balenaEngine sends a sum under the id ``Total``; once seen, nothing else counts. Docker reports each layer's
    download and extraction, of which the mean is taken.
    """

    def __init__(self) -> None:
        self.percent = 0
        self._has_total = False
        self._download: dict[str, float] = {}
        self._extract: dict[str, float] = {}

    def feed(self, event: dict[str, Any]) -> bool:
        """Take one event. True when the percent has grown."""
        return self._grow(self._percent_after(event))

    def _percent_after(self, event: dict[str, Any]) -> float:
        status = str(event.get("status") or "").lower()
        if any(text in status for text in _FINISHED):
            return 100
        detail = event.get("progressDetail") or {}
        current, total = _number(detail.get("current")), _number(detail.get("total"))
        layer = str(event.get("id") or "")
        if layer == "Total":
            self._has_total = True
            return current * 100 / total if total else 0
        if self._has_total or not layer:
            return 0
        self._note(layer, status, current, total)
        means = [sum(parts.values()) / len(parts) for parts in (self._download, self._extract) if parts]
        return sum(means) / len(means) if means else 0

    def _note(self, layer: str, status: str, current: float, total: float) -> None:
        if status == "downloading" and total >= MIN_DOWNLOAD_BYTES:
            self._download[layer] = current * 100 / total
            if total >= MIN_EXTRACT_BYTES:
                self._extract.setdefault(layer, 0)  # it is going to be extracted, which is half of the work
        elif status == "extracting" and total >= MIN_EXTRACT_BYTES:
            self._extract[layer] = current * 100 / total
            self._download[layer] = 100
        elif status in {"download complete", "pull complete", "already exists"} and layer in self._download:
            self._download[layer] = 100
            if status != "download complete" and layer in self._extract:
                self._extract[layer] = 100

    def _grow(self, percent: float) -> bool:
        whole = min(100, int(percent))
        if whole <= self.percent:
            return False
        self.percent = whole
        return True


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
