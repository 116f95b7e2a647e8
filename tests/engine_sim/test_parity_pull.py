"""Pulls from a real registry and from the simulated one look the same, line by line where order is fixed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine_sim.sides import IMAGE_CONFIGS, Json, Side, compare
from tests.fakes.engine import SimulatedEngine

pytestmark = pytest.mark.engine


@pytest.fixture
def pullable(sides: tuple[Side, Side], registry: str, tmp_path: Path) -> Iterator[tuple[Side, Side, str, str]]:
    """Both engines, the repository and the digest of an image that both can pull as ``:v1`` and neither has."""
    real, _ = sides
    repository = f"{registry}/" + real.named("{t}/app")
    real.call("POST", f"/images/{{t}}-plain/tag?repo={repository}&tag=v1")
    status, _ = real.call("POST", f"/images/{repository}/push?tag=v1", headers={"X-Registry-Auth": "e30="})
    assert status == 200
    digest = real.call("GET", f"/images/{repository}:v1/json")[1]["RepoDigests"][0].partition("@")[2]
    real.call("DELETE", f"/images/{repository}:v1")
    with SimulatedEngine(tmp_path) as engine:
        config: Json = IMAGE_CONFIGS["plain"]
        engine.registry.offer_as(f"{repository}:v1", digest, config)
        yield real, Side(str(engine.socket_path), real.named("{t}")), repository, digest
        for name in (f"{repository}:v1", f"{repository}@{digest}"):
            real.call("DELETE", f"/images/{name}")


def lines(answer: tuple[int, Any]) -> tuple[int, list[Json]]:
    status, text = answer
    return status, [json.loads(line) for line in text.splitlines()] if isinstance(text, str) else [text]


def shape(line: Json) -> tuple[str, tuple[str, ...]]:
    return line["status"], tuple(sorted(line))


def frame(answer: tuple[int, Any]) -> Any:
    """What is fixed in the lines of a pull: the first one, the last two, and that nothing else has no layer."""
    status, found = lines(answer)
    return status, found[0], found[-2:], all("id" in line for line in found[:-2])


def test_a_pull_begins_and_ends_the_same_with_or_without_the_image(pullable: tuple[Side, Side, str, str]) -> None:
    real, simulated, repository, digest = pullable

    def act(side: Side) -> Any:
        calls = [f"fromImage={repository}&tag=v1"] * 2 + [f"fromImage={repository}&tag={digest}"]
        seen: list[Any] = [frame(side.call("POST", f"/images/create?{call}")) for call in calls]
        inspected = side.call("GET", f"/images/{repository}@{digest}/json")[1]
        tags = [name for name in inspected["RepoTags"] if name.startswith(repository)]
        return [*seen, tags, inspected["RepoDigests"]]

    compare((real, simulated), act)


def test_an_image_pulled_by_digest_has_no_tag_and_can_be_removed_by_it(pullable: tuple[Side, Side, str, str]) -> None:
    real, simulated, repository, digest = pullable
    # whether the image itself goes depends on whether it has another name, as it has on the real engine here
    simulated.call("POST", "/images/create?" + f"fromImage={repository}&tag=v1")
    simulated.call("POST", f"/images/{repository}:v1/tag?repo={{t}}-plain&tag=latest")
    simulated.call("DELETE", f"/images/{repository}:v1")

    def act(side: Side) -> Any:
        pulled = frame(side.call("POST", f"/images/create?fromImage={repository}&tag={digest}"))
        inspected = side.call("GET", f"/images/{repository}@{digest}/json")[1]
        removed = side.call("DELETE", f"/images/{repository}@{digest}")
        kept = side.call("GET", "/images/{t}-plain/json")[0]
        # "newer" or "up to date" is no matter here
        return pulled[:2], inspected["RepoTags"], inspected["RepoDigests"], removed, kept

    compare((real, simulated), act)


def test_every_kind_of_line_of_a_layer_has_the_same_members(pullable: tuple[Side, Side, str, str]) -> None:
    real, simulated, repository, _ = pullable
    # only an image that is new has layers to show
    assert real.call("DELETE", "/images/{t}-plain")[0] == 200
    found = [
        {shape(line) for line in lines(side.call("POST", f"/images/create?fromImage={repository}&tag=v1"))[1][1:-2]}
        for side in (real, simulated)
    ]
    real.call("POST", f"/images/{repository}:v1/tag?repo={{t}}-plain&tag=latest")
    assert {kind for kind in found[0] if kind[0] != "Already exists"} <= found[1]


@pytest.mark.parametrize("tag", ["missing", "sha256:" + "1" * 64])
def test_a_pull_of_what_the_registry_lacks_is_refused_the_same(pullable: tuple[Side, Side, str, str], tag: str) -> None:
    real, simulated, repository, _ = pullable
    compare((real, simulated), lambda side: side.call("POST", f"/images/create?fromImage={repository}&tag={tag}"))
