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
