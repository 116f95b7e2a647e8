"""The planner, and the whole supervisor, killed at every changing call of a restart and of a purge.

Whoever asked hears that it was cut off, the state says so, nothing is repeated, and the app runs as its target says.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

import docker
import pytest

from tests.integration.conftest import MakeImage
from tests.integration.engine_gate import Phase
from tests.integration.kill_site import SERVICES, WHOLE, KillSite, kill_site
from tests.runtime.toy_supervisor import wait_until
from tools.dev_parts.supervisor import Refused

pytestmark = [pytest.mark.engine, pytest.mark.root]

CONTAINERS_GO = {"POST /containers/*/stop": 3, "DELETE /containers/*": 3}
CONTAINERS_COME = {"POST /containers/create": 3, "POST /containers/*/start": 3}
#: the changing calls of each order when nobody dies, in their order; those of a line go on at the same time
CALLS = {
    "restart": {**CONTAINERS_GO, **CONTAINERS_COME},
    "purge": {
        **CONTAINERS_GO,
        "DELETE /networks/*": 3,
        "DELETE /volumes/*": 1,
        "POST /networks/create": 3,
        "POST /volumes/create": 1,
        **CONTAINERS_COME,
    },
}
PHASES: tuple[Phase, Phase] = ("before", "after")


class Kill(NamedTuple):
    verb: str
    kind: str
    nth: int
    phase: Phase
    victim: str


def kills() -> Iterator[Kill]:
    """The planner and everything at each call, in turn before and after it; at those of volumes in both ways. Of those
    of a kind, which go on at the same time, at the first and the last."""
    swapped = itertools.cycle([PHASES, PHASES[::-1]])
    for verb, calls in CALLS.items():
        for kind, count in calls.items():
            for nth in sorted({1, count}):
                for victim, phase in zip(("planner", WHOLE), next(swapped), strict=True):
                    yield Kill(verb, kind, nth, phase, victim)
                    if "volumes" in kind:
                        yield Kill(verb, kind, nth, "after" if phase == "before" else "before", victim)


def emptied(kill: Kill) -> bool | None:
    """Whether a purge that was cut off at this call has emptied the volume already. None: it depends on which of the
    calls that go on at the same time came first."""
    if kill.kind == "DELETE /networks/*":
        return None
    if kill.kind == "DELETE /volumes/*":
        # without its planner, the worker that has begun to remove the volume goes on
        return (kill.phase, kill.victim) != ("before", WHOLE)
    return kill.kind not in CONTAINERS_GO


@pytest.fixture(scope="module")
def site(engine: docker.APIClient, engine_url: str, make_image: MakeImage) -> Iterator[KillSite]:
    with kill_site(engine, engine_url, make_image) as made:
        yield made


@contextmanager
def asked(site: KillSite, verb: str) -> Iterator[Future[Any]]:
    """Ask for an order; the answer comes meanwhile."""
    body = {"verb": verb, "appId": site.app_id}
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(site.supervisor.api.post, "/debug/orders", body, 60)


def orders(site: KillSite) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = site.supervisor.api.get("/debug/orders")["orders"]
    return found


def ids(site: KillSite) -> dict[str, str]:
    return {name: found["Id"] for name, found in site.containers().items()}


@pytest.mark.parametrize("verb", CALLS)
def test_every_call_of_an_order_is_in_the_table(site: KillSite, verb: str) -> None:
    before = ids(site)
    site.gate.forget()
    with site.telling(), asked(site, verb) as answer:
        assert answer.result(60) == {"status": "success", "message": "OK"}
    assert site.gate.kinds() == CALLS[verb]
    wait_until(lambda: (orders(site)[-1]["verb"], orders(site)[-1]["outcome"]) == (verb, "done"), "it is done")
    if verb == "purge":
        site.known_lines = []
    site.end_well()
    assert not set(before.values()) & set(ids(site).values())


@pytest.mark.parametrize("kill", list(kills()), ids=lambda kill: "-".join(map(str, kill)))
def test_an_order_that_was_cut_off_is_told_and_not_repeated(site: KillSite, kill: Kill) -> None:
    mark = site.mark()
    site.gate.forget()
    hook = site.gate.hook(kill.kind, kill.nth, kill.phase, site.killing(kill.victim))
    with site.telling():
        with asked(site, kill.verb) as answer:
            hook.wait()
            error = answer.exception(60)
        assert isinstance(error, Refused if kill.victim == "planner" else OSError)
        site.restart_if_killed()
        site.wait_until_settled()
        if mark not in site.lines():
            site.known_lines = []
        site.end_well(begun_anew=False)
        assert [(order["verb"], order["outcome"]) for order in orders(site)] == [(kill.verb, "interrupted")]
        reasons = [decision["reason"] for decision in site.supervisor.api.status()["decisions"]]
        assert not [reason for reason in reasons if "a user asked" in reason]
        made = site.gate.kinds()
        assert made.get("POST /containers/create", 0) <= len(SERVICES)
        assert made.get("DELETE /volumes/*", 0) <= 1
        expected = emptied(kill) if kill.verb == "purge" else False
        if expected is not None:
            assert (mark not in site.known_lines) is expected
