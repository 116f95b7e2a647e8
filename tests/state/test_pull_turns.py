"""The order of downloads, as a table."""

from __future__ import annotations

import pytest

from balena_supervisor.model.image import ImageRef
from balena_supervisor.state.backoff import Failure
from balena_supervisor.state.pull_turns import in_turn
from balena_supervisor.steps import PullImage, SaveImages

CASES = [
    pytest.param("a1 a2 b1", "", "", "a1 b1 a2", id="one app after the other"),
    pytest.param("a1 b1 a2 b2", "a8 a9", "", "b1 b2 a1 a2", id="what is under way counts"),
    pytest.param("a1 a2 b1", "", "a1 b1", "a2 a1 b1", id="what has failed comes after what has not"),
    pytest.param("a1 b1", "", "a1 a1 b1", "b1 a1", id="what has failed least comes first"),
    pytest.param("a1 a2 save b1", "", "", "a1 b1 save a2", id="all others keep their place"),
    pytest.param("save", "a1", "", "save", id="no pull"),
]


def step(name: str) -> PullImage | SaveImages:
    """``a1``: the pull of an image of app ``a``."""
    if name == "save":
        return SaveImages(refs=())
    ref = ImageRef(
        name=name,
        app_id=ord(name[0]),
        app_uuid="",
        service_id=1,
        service_name=name,
        image_id=1,
        release_id=1,
        commit="",
    )
    return PullImage(ref=ref)


@pytest.mark.parametrize(("planned", "under_way", "failed", "expected"), CASES)
def test_the_order_of_downloads(planned: str, under_way: str, failed: str, expected: str) -> None:
    names = failed.split()
    failures = {f"image:{name}": Failure(count=names.count(name), retry_at=0, message="") for name in names}
    ordered = in_turn([step(name) for name in planned.split()], [step(name) for name in under_way.split()], failures)
    assert ordered == [step(name) for name in expected.split()]
