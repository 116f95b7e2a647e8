from __future__ import annotations

from typing import Any

import pytest

from balena_supervisor.adapters.pull_progress import PullProgress


def step(status: str, layer: str = "", current: int = 0, total: int = 0) -> dict[str, Any]:
    detail = {"current": current, "total": total} if total else {}
    return {"status": status, "id": layer, "progressDetail": detail}


MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("events", "percents"),
    [
        pytest.param([step("Pulling from x", "latest"), step("Pulling fs layer", "a")], [0, 0], id="nothing known"),
        pytest.param(
            [step("Downloading", "a", MIB, 4 * MIB), step("Download complete", "a"), step("Extracting", "a", 1, 2)],
            [12, 50, 50],
            id="half of the work is unpacking; a tiny unpacking is left out",
        ),
        pytest.param(
            [
                step("Downloading", "a", 2 * MIB, 2 * MIB),
                step("Extracting", "a", MIB, 2 * MIB),
                step("Pull complete", "a"),
            ],
            [50, 75, 100],
            id="one layer",
        ),
        pytest.param(
            [step("Downloading", "a", 2 * MIB, 2 * MIB), step("Downloading", "b", 0, 2 * MIB)],
            [50, 50],
            id="a layer that comes later does not take it down",
        ),
        pytest.param(
            [step("Downloading", "a", 99_999, 99_999), step("Downloading", "b", 50_000, 100_000)],
            [0, 50],
            id="a download below 100 KB is left out",
        ),
        pytest.param(
            [step("Downloading", "a", 300_000, 300_000), step("Pull complete", "a")],
            [100, 100],
            id="an unpacking below 1 MB is left out",
        ),
        pytest.param([step("Status: Image is up to date for x")], [100], id="up to date"),
        pytest.param([step("Status: Downloaded newer image for x")], [100], id="downloaded"),
        pytest.param(
            [step("Downloading", "Total", 1, 3), step("Downloading", "a", MIB, MIB), step("Extracting", "Total", 2, 3)],
            [33, 33, 66],
            id="balenaEngine sums up",
        ),
        pytest.param(
            [step("Downloading", "Total", 1, 3), step("Downloading", "Total", 0, 3)], [33, 33], id="never down"
        ),
        pytest.param([{}, {"status": None, "progressDetail": {"current": "x"}, "id": "a"}], [0, 0], id="odd events"),
    ],
)
def test_progress_after_each_event(events: list[dict[str, Any]], percents: list[int]) -> None:
    progress = PullProgress()
    seen = []
    for event in events:
        before = progress.percent
        assert progress.feed(event) == (progress.percent > before)
        seen.append(progress.percent)
    assert seen == percents
