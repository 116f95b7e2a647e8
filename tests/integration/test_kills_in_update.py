"""Each actor, and the whole supervisor, killed at every changing call of an update: the outcome is always the same.

The update replaces two services after one another, hands over the third, and changes a network; it keeps a volume and
holds the update locks meanwhile.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import docker
import pytest

from tests.integration.conftest import MakeImage
from tests.integration.engine_gate import Phase
from tests.integration.kill_site import ACTORS, WHOLE, KillSite, kill_site

pytestmark = [pytest.mark.engine, pytest.mark.root]

#: the changing calls of an update in which nobody dies
CALLS = {
    "POST /images/create": 2,
    "POST /networks/create": 1,
    "POST /containers/*/stop": 3,
    "DELETE /containers/*": 3,
    "DELETE /networks/*": 1,
    "POST /containers/create": 3,
    "POST /containers/*/start": 3,
    "POST /containers/*/update": 1,
    "POST /containers/*/rename": 1,
}
CALLERS = {"images": "images", "networks": "resources", "containers": "containers"}
PHASES: tuple[Phase, Phase] = ("before", "after")


Kill = tuple[str, int, Phase, str]


def kills() -> Iterator[Kill]:
    """Who makes a call at that call, before and after it; each other actor at each kind of call, in turn at all of its
    moments; everything at each call, in turn before and after it.

    Root waits the longer the more often an actor dies within a minute. The whole supervisor is killed in between, so
    that it does not come to that.
    """
    phases = itertools.cycle(PHASES)
    for shift, (kind, count) in enumerate(CALLS.items()):
        moments = [(nth, phase) for nth in range(1, count + 1) for phase in PHASES]
        caller = CALLERS[kind.split("/")[1]]
        others = [actor for actor in ACTORS if actor != caller]
        kills = [(kind, nth, phase, caller) for nth, phase in moments]
        kills += [
            (kind, *moments[place % len(moments)], others[(place + shift) % len(others)])
            for place in range(len(others))
        ]
        every = len(kills) // count
        for place, kill in enumerate(kills):
            yield kill
            if place % every == 0 and place // every < count:
                yield kind, place // every + 1, next(phases), WHOLE


KILLS = list(kills())


@pytest.fixture(scope="module")
def site(engine: docker.APIClient, engine_url: str, make_image: MakeImage) -> Iterator[KillSite]:
    with kill_site(engine, engine_url, make_image) as made:
        yield made


def test_every_call_of_an_update_is_in_the_table(site: KillSite) -> None:
    made: list[dict[str, int]] = []
    site.update(then=lambda: made.append(site.gate.kinds()))
    assert made == [CALLS]


def test_every_actor_is_killed_at_every_kind_of_call_and_all_at_every_call() -> None:
    calls = {(kind, nth) for kind, count in CALLS.items() for nth in range(1, count + 1)}
    assert {(kind, victim) for kind, _, _, victim in KILLS} == set(itertools.product(CALLS, (*ACTORS, WHOLE)))
    assert {(kind, nth) for kind, nth, _, victim in KILLS if victim == WHOLE} == calls
    by_caller = {kill[:3] for kill in KILLS if kill[3] == CALLERS[kill[0].split("/")[1]]}
    assert by_caller == {(*call, phase) for call in calls for phase in PHASES}


@pytest.mark.parametrize(("kind", "nth", "phase", "victim"), KILLS)
def test_whoever_is_killed_at_whatever_call_the_update_ends_as_ever(
    site: KillSite, kind: str, nth: int, phase: Phase, victim: str
) -> None:
    site.update(site.gate.hook(kind, nth, phase, site.killing(victim)))
