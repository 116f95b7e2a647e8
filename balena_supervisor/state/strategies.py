"""Update strategies: when the old container of a service makes room for the new one (spec apply-loop 3.10)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from balena_supervisor.state.coerce import to_int

STRATEGY: Final = "io.balena.update.strategy"
HANDOVER_TIMEOUT: Final = "io.balena.update.handover-timeout"

DOWNLOAD_THEN_KILL: Final = "download-then-kill"
KILL_THEN_DOWNLOAD: Final = "kill-then-download"
DELETE_THEN_DOWNLOAD: Final = "delete-then-download"
HAND_OVER: Final = "hand-over"
STRATEGIES: Final = (DOWNLOAD_THEN_KILL, KILL_THEN_DOWNLOAD, DELETE_THEN_DOWNLOAD, HAND_OVER)

DEFAULT_HANDOVER_TIMEOUT_S: Final = 60.0


def strategy_of(labels: Mapping[str, str]) -> str:
    """The strategy that the (rewritten) labels of a service name; anything unknown means the default."""
    strategy = labels.get(STRATEGY, "")
    return strategy if strategy in STRATEGIES else DOWNLOAD_THEN_KILL


def kills_first(labels: Mapping[str, str]) -> bool:
    """Whether the old container goes before the new image comes."""
    return strategy_of(labels) in {KILL_THEN_DOWNLOAD, DELETE_THEN_DOWNLOAD}


def handover_timeout_s(labels: Mapping[str, str]) -> float:
    """How long a hand-over waits at most; the label has positive whole milliseconds."""
    timeout_ms = to_int(labels.get(HANDOVER_TIMEOUT), positive=True)
    return timeout_ms / 1000 if timeout_ms else DEFAULT_HANDOVER_TIMEOUT_S
