"""The order of downloads, of which a device does few at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from balena_supervisor.state.backoff import Failure
from balena_supervisor.steps import PullImage, Step


def in_turn(steps: Sequence[Step], under_way: Iterable[Step], failures: Mapping[str, Failure]) -> list[Step]:
    """The steps with the pulls among them in another order.

    Those that failed least come first, then those with the fewest pulls of their app before them, ``under_way`` ones
    included. So neither a registry that does not answer nor an app with many images holds up another app for long.
    """
    before = Counter(step.ref.app_id for step in under_way if isinstance(step, PullImage))
    turns: list[tuple[int, int, PullImage]] = []
    for step in steps:
        if isinstance(step, PullImage):
            failure = failures.get(step.subject)
            turns.append((0 if failure is None else failure.count, before[step.ref.app_id], step))
            before[step.ref.app_id] += 1
    turns.sort(key=lambda turn: turn[:2])
    pulls = iter(turns)
    return [next(pulls)[2] if isinstance(step, PullImage) else step for step in steps]
