"""What generated states and targets have brought to light, one test for each."""

from __future__ import annotations

from typing import Any

import msgspec

from balena_supervisor.messages import KillService, RemoveNetwork
from balena_supervisor.state.plan import Plan, plan
from tests.state.worlds import APP, app, container, network, service, world


def of_kind(planned: Plan, kind: type[Any]) -> list[Any]:
    return [step for step in planned.steps if isinstance(step, kind)]


def test_a_network_that_the_app_had_under_another_uuid_is_made_anew() -> None:
    web = service("web")
    local = msgspec.structs.replace(network(), app_uuid=str(APP), engine_name=f"{APP}_default")
    here = world(container(web), of=[web], networks=(local,))
    planned = plan(here, [app(web)])
    assert [step.reason for step in of_kind(planned, KillService)] == []
    (removal,) = of_kind(planned, RemoveNetwork)
    assert removal.reason == "the engine has it as 7_default instead of uuid7_default"


def test_a_service_that_shares_the_network_of_one_that_the_release_lacks_is_not_started() -> None:
    web = service("web")
    web = msgspec.structs.replace(
        web,
        depends_on=("vpn",),
        config=msgspec.structs.replace(web.config, networks={}, network_mode="service:vpn"),
    )
    planned = plan(world(of=[web]), [app(web)])
    assert planned.steps == ()
    assert [wait.reason for wait in planned.waiting] == ["shares the network of vpn, which the release does not have"]
