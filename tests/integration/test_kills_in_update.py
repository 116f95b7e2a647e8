"""Each actor, and the whole supervisor, killed at every step of an update, and whoever makes a call at each changing
call: the outcome is always the same.

The update replaces two services after one another, hands over the third, and changes a network; it keeps a volume and
holds the update locks meanwhile.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import docker
import pytest

from tests.integration.conftest import MakeImage
from tests.integration.engine_gate import Phase
from tests.integration.kill_site import ACTORS, WHOLE, KillSite, kill_site

pytestmark = [pytest.mark.engine, pytest.mark.root]

#: the steps of an update in which nobody dies, each as (kind of call, number of the call among those of its kind); what
#: the last two have in common goes on at the same time
STEPS: dict[str, list[tuple[str, int]]] = {
    "pull": [("POST /images/create", 1), ("POST /images/create", 2)],
    "create network": [("POST /networks/create", 1)],
    "kill": [(kind, nth) for kind in ("POST /containers/*/stop", "DELETE /containers/*") for nth in (1, 2)],
    "remove network": [("DELETE /networks/*", 1)],
    "start": [(kind, nth) for kind in ("POST /containers/create", "POST /containers/*/start") for nth in (1, 2)],
    "hand over": [
        ("POST /containers/*/update", 1),
        ("POST /containers/*/rename", 1),
        ("POST /containers/create", 3),
        ("POST /containers/*/start", 3),
        ("POST /containers/*/stop", 3),
        ("DELETE /containers/*", 3),
    ],
}
#: later calls are made when nothing has to be pulled, or everything was
BESIDE_PULLS = (*STEPS["pull"], *STEPS["create network"])
CALLERS = {"images": "images", "networks": "resources", "containers": "containers"}
PHASES: tuple[Phase, Phase] = ("before", "after")
Kill = tuple[str, int, Phase, str]


def kills() -> Iterator[Kill]:
    """Whoever makes a call, before and after it; each other actor, and everything, at each step, in turn at all moments
    of it."""
    for shift, calls in enumerate(STEPS.values()):
        moments = [(*call, phase) for call in calls for phase in PHASES]
        caller = caller_of(calls[0][0])
        others = [actor for actor in (*ACTORS, WHOLE) if actor != caller]
        for moment in moments:
            yield *moment, caller
        for place, other in enumerate(others):
            yield *moments[(place + shift) % len(moments)], other


def spread(kills: Iterator[Kill]) -> list[Kill]:
    """The deaths of each actor as far from each other as may be.

    Root waits the longer the more often an actor dies within a minute, unless it has died itself meanwhile. So its own
    deaths, and those of everything, come evenly between the others.
    """
    groups: dict[str, list[Kill]] = {}
    for kill in kills:
        groups.setdefault("root" if kill[3] == WHOLE else kill[3], []).append(kill)
    placed = [((number + 0.5) / len(group), kill) for group in groups.values() for number, kill in enumerate(group)]
    return [kill for _, kill in sorted(placed)]


def caller_of(kind: str) -> str:
    return CALLERS[kind.split("/")[1]]


KILLS = spread(kills())


@pytest.fixture(scope="module")
def site(engine: docker.APIClient, engine_url: str, make_image: MakeImage) -> Iterator[KillSite]:
    with kill_site(engine, engine_url, make_image) as made:
        yield made


def test_every_call_of_an_update_is_in_the_table(site: KillSite) -> None:
    made: list[dict[str, int]] = []
    site.update(then=lambda: made.append(site.gate.kinds()))
    assert made == [Counter(kind for calls in STEPS.values() for kind, _ in calls)]


def test_everyone_is_killed_at_every_step_and_its_caller_around_every_call() -> None:
    for calls in STEPS.values():
        victims = {victim for kind, nth, _, victim in KILLS if (kind, nth) in calls}
        assert victims == {*ACTORS, WHOLE}
        for call in calls:
            for phase in PHASES:
                assert (*call, phase, caller_of(call[0])) in KILLS


@pytest.mark.parametrize(("kind", "nth", "phase", "victim"), KILLS)
def test_whoever_is_killed_at_whatever_call_the_update_ends_as_ever(
    site: KillSite, kind: str, nth: int, phase: Phase, victim: str
) -> None:
    site.update(site.gate.hook(kind, nth, phase, site.killing(victim)), pulls=(kind, nth) in BESIDE_PULLS)
