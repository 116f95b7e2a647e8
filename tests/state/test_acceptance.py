"""What a device takes of a target: rejected apps, and services that are left out."""

from __future__ import annotations

from typing import Any

import pytest

from balena_supervisor.errors import InvalidTarget
from balena_supervisor.model.target import TargetApp, TargetService
from balena_supervisor.state.acceptance import NO_REASON_LEFT, Accepted, accept, accept_local, explained
from balena_supervisor.state.contracts import Fact
from balena_supervisor.state.target_format import ParsedTarget
from tests.state.composing import target_app, target_service

FACTS = (Fact(type="sw.supervisor", version="20.0.0"), Fact(type="arch.sw", slug="aarch64"))
NEWER = "requires sw.supervisor >=99 (the device has sw.supervisor 20.0.0)"
OPTIONAL = {"io.balena.features.optional": "1"}


def service(name: str, version: str = "", composition: dict[str, Any] | None = None, **changes: Any) -> TargetService:
    contract = {"requires": [{"type": "sw.supervisor", "version": version}]} if version else None
    return target_service(composition, service_name=name, contract=contract, **changes)


def target(*apps: TargetApp) -> ParsedTarget:
    return ParsedTarget(name="kiosk", config={"A": "1"}, apps=apps)


def names(accepted: Accepted) -> list[list[str]]:
    return [[one.service_name for one in app.services] for app in accepted.target.apps]


def test_a_target_that_lacks_nothing_is_taken_as_it_is() -> None:
    parsed = target(target_app(service("web", ">=12"), service("db")), target_app(commit=None))
    assert accept(parsed, FACTS) == accept_local(parsed, FACTS) == Accepted(target=parsed)


def test_an_app_that_lacks_something_is_rejected_with_all_its_services_and_others_are_not() -> None:
    parsed = target(target_app(service("web", ">=99"), service("db")), target_app(service("other"), name="other"))
    accepted = accept_local(parsed, FACTS)
    shop, other = accepted.target.apps
    assert (shop.rejected, shop.rejection) == (True, f"web {NEWER}")
    assert (other.rejected, other.rejection) == (False, "")
    assert names(accepted) == [["web", "db"], ["other"]]
    assert (accepted.unmet, accepted.left_out) == ((f"acme: web {NEWER}",), ())


def test_services_that_are_optional_are_left_out_when_they_are_all_that_lacks_something() -> None:
    app = target_app(
        service("gpu", ">=99", labels=OPTIONAL), service("web", ">=1"), service("tpu", "latest", labels=OPTIONAL)
    )
    accepted = accept(target(app), FACTS)
    assert names(accepted) == [["web"]]
    assert not accepted.target.apps[0].rejected
    assert (accepted.left_out, accepted.unmet) == (("gpu", "tpu"), ())


def test_a_rejection_names_the_optional_services_too() -> None:
    app = target_app(service("gpu", ">=99", labels=OPTIONAL), service("web", ">=99"))
    accepted = accept(target(app), FACTS)
    assert names(accepted) == [["gpu", "web"]]
    assert accepted.unmet == (f"acme: gpu (optional) {NEWER}; web {NEWER}",)
    assert accepted.left_out == ()


@pytest.mark.parametrize(
    ("labels", "optional"),
    [
        ({"io.balena.features.optional": "true"}, True),
        ({"io.balena.features.optional": "On"}, True),
        ({"io.balena.features.optional": "yes"}, False),
        ({"io.balena.features.optional": "0"}, False),
        ({"io.resin.features.optional": "1"}, False),
    ],
)
def test_only_the_present_spelling_of_the_label_makes_a_service_optional(
    labels: dict[str, str], *, optional: bool
) -> None:
    accepted = accept(target(target_app(service("gpu", ">=99", labels=labels))), FACTS)
    assert accepted.target.apps[0].rejected is not optional


def test_a_cycle_is_refused_locally_and_rejects_the_app_of_the_cloud() -> None:
    web = service("web", composition={"depends_on": ["db"]})
    db = service("db", composition={"network_mode": "service:web"}, service_id=92)
    parsed = target(target_app(web, db), target_app(service("other"), name="other"))
    with pytest.raises(InvalidTarget) as caught:
        accept_local(parsed, FACTS)
    assert caught.value.fields["violations"] == [
        "local.apps.4711.services.91.depends_on: expected dependencies without a cycle, got web → db → web"
    ]
    accepted = accept(parsed, FACTS)
    assert [(app.rejected, app.rejection) for app in accepted.target.apps] == [
        (True, "its dependencies form a cycle: web → db → web"),
        (False, ""),
    ]
    assert accepted.cyclic == ("acme: its dependencies form a cycle: web → db → web",)
    assert accepted.unmet == ()


def test_a_service_that_depends_on_itself_is_a_cycle() -> None:
    parsed = target(target_app(service("a", composition={"network_mode": "service:a"})))
    with pytest.raises(InvalidTarget, match=r"local\.apps\.4711\.services\.91\.network_mode: .* got a → a$"):
        accept_local(parsed, FACTS)


def test_an_app_of_the_cloud_may_have_a_cycle_and_lack_something() -> None:
    app = target_app(service("gpu", ">=99", {"depends_on": ["gpu"]}, labels=OPTIONAL))
    accepted = accept(target(app), FACTS)
    reason = f"its dependencies form a cycle: gpu → gpu; gpu (optional) {NEWER}"
    assert accepted.target.apps[0].rejection == reason
    assert names(accepted) == [["gpu"]]
    assert accepted.left_out == ()


def test_the_reason_of_a_stored_rejection_is_found_again() -> None:
    app = target_app(service("web", ">=99", {"depends_on": ["web"]}), rejected=True)
    assert explained(app, FACTS).rejection == f"its dependencies form a cycle: web → web; web {NEWER}"


def test_a_stored_rejection_stays_when_its_reason_is_gone() -> None:
    app = explained(target_app(service("web", ">=12"), rejected=True), FACTS)
    assert (app.rejected, app.rejection) == (True, NO_REASON_LEFT)


def test_a_stored_app_is_not_rejected_when_it_is_loaded() -> None:
    app = target_app(service("web", ">=99"))
    assert explained(app, FACTS) is app


def test_a_stored_contract_that_cannot_be_read_is_the_reason() -> None:
    app = target_app(target_service(contract={"requires": 5}), rejected=True)
    assert explained(app, FACTS).rejection == (
        "web requires what cannot be read (contract.requires: expected a list, got 5)"
    )
