"""Orders of developers: what the planner is asked, and what is refused before."""

from __future__ import annotations

from typing import Any

import pytest

from balena_supervisor.messages import AppOrder, CancelOrder, DeviceOrder, Order, ServiceOrder
from balena_supervisor.model.state import ActionSummary, DeviceState
from tests.http.support import Device, remote


@pytest.mark.parametrize(
    ("body", "order"),
    [
        ({"verb": "restart", "appId": 7}, AppOrder(verb="restart", app_id=7)),
        ({"verb": "purge", "appId": 7, "force": True}, AppOrder(verb="purge", app_id=7, force=True)),
        (
            {"verb": "stop", "appId": 7, "serviceName": "web"},
            ServiceOrder(verb="stop", app_id=7, service_name="web"),
        ),
        ({"verb": "reboot"}, DeviceOrder(verb="reboot")),
    ],
)
def test_an_order_goes_to_the_planner(device: Device, body: dict[str, Any], order: Order) -> None:
    device.configure()
    device.post.answers[type(order)] = None
    answer = device.client.simulate_post("/debug/orders", json=body)
    assert (answer.status_code, answer.json) == (200, {"status": "success", "message": "OK"})
    assert device.post.asked[-1][:2] == ("planner", order)


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({"verb": "explode"}, "verb"),
        ({"verb": "purge", "appId": 7, "serviceName": "web"}, "verb"),
        ({"verb": "restart", "appId": "seven"}, "app_id"),
        ({"verb": "restart", "appId": 7, "force": "yes"}, "force"),
        ({"verb": "stop", "serviceName": "web"}, "app_id"),
        ({}, "verb"),
    ],
)
def test_an_order_that_makes_no_sense_names_the_field(device: Device, body: dict[str, Any], names: str) -> None:
    device.configure()
    answer = device.client.simulate_post("/debug/orders", json=body)
    assert answer.status_code == 400
    assert names in answer.json["message"]


@pytest.mark.parametrize(("code", "status"), [("locked", 423), ("not-found", 404), ("order-ended", 503)])
def test_the_end_of_an_order_decides_the_status(device: Device, code: str, status: int) -> None:
    device.configure()
    device.post.answers[DeviceOrder] = remote(code)
    answer = device.client.simulate_post("/debug/orders", json={"verb": "reboot"})
    assert answer.status_code == status


def test_an_order_is_cancelled(device: Device) -> None:
    device.configure()
    device.post.answers[CancelOrder] = None
    assert device.client.simulate_delete("/debug/orders/3").status_code == 200
    assert device.post.asked[-1][:2] == ("planner", CancelOrder(number=3))


def test_the_last_orders_are_listed(device: Device) -> None:
    device.configure()
    device.show(DeviceState(actions=(ActionSummary(number=1, at="x", verb="purge", app_id=7, outcome="done"),)))
    (shown,) = device.client.simulate_get("/debug/orders").json["orders"]
    assert (shown["number"], shown["verb"], shown["outcome"]) == (1, "purge", "done")


def test_without_a_key_for_the_device_there_are_no_orders(device: Device) -> None:
    device.manage()
    assert device.client.simulate_post("/debug/orders", json={"verb": "reboot"}).status_code == 401
