from __future__ import annotations

import json
from typing import Any

import pytest

from balena_supervisor.errors import InvalidValue
from balena_supervisor.model.target import TargetApp, TargetService
from balena_supervisor.state.target_rows import (
    app_from_row,
    app_to_row,
    service_from_row_json,
    service_to_row_json,
)

SERVICE = TargetService(
    service_name="zed",
    service_id=4,
    image_id=5,
    image="alpine:latest",
    app_id=7,
    app_uuid="beef",
    release_id=3,
    commit="r1",
    composition={"command": ["sleep", "9"]},
)
ROW = (
    '{"image":"alpine:latest","environment":{},"labels":{},"running":true,"composition":{"command":["sleep","9"]},'
    '"appId":7,"appUuid":"beef","releaseId":3,"commit":"r1","imageId":5,"serviceId":4,"serviceName":"zed"}'
)
APP = TargetApp(
    app_id=7,
    app_uuid="beef",
    name="shop",
    source="https://api",
    commit="r1",
    release_id=3,
    services=(SERVICE,),
    networks={"n": {}},
    volumes={"v": {"driver": "local"}},
)


def test_a_service_is_written_exactly_as_the_reference_does() -> None:
    assert json.dumps(service_to_row_json(SERVICE), separators=(",", ":")) == ROW
    assert service_from_row_json(json.loads(ROW)) == SERVICE


def test_contract_and_unknown_fields_survive() -> None:
    row = {**json.loads(ROW), "contract": {"slug": "x"}, "surprise": 1}
    service = service_from_row_json(row)
    assert (service.contract, service.extra) == ({"slug": "x"}, {"surprise": 1})
    assert service_to_row_json(service) == row


def test_composition_fields_of_a_row_of_2017_go_into_the_composition() -> None:
    row = json.loads(ROW)
    del row["composition"], row["running"], row["appUuid"]
    row.update(privileged=True, restart="always", imageId="5", environment={"A": 1, "B": None})
    service = service_from_row_json(row)
    assert service.composition == {"privileged": True, "restart": "always"}
    assert (service.app_uuid, service.running, service.image_id) == ("7", True, 5)
    assert service.environment == {"A": "1"}


@pytest.mark.parametrize("row", [{}, {"serviceName": "x"}, {"image": "x"}, {"serviceName": 1, "image": "x"}])
def test_a_service_without_name_or_image_cannot_be_read(row: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        service_from_row_json(row)


@pytest.mark.parametrize(
    "app",
    [
        APP,
        TargetApp(app_id=8, app_uuid="8", name=""),
        TargetApp(app_id=9, app_uuid="x", name="é", app_class="block", is_host=True, rejected=True, source="s"),
    ],
)
def test_an_app_reads_back_as_it_was_written(app: TargetApp) -> None:
    assert app_from_row(app_to_row(app)) == app


def test_an_app_without_release_writes_null() -> None:
    row = app_to_row(TargetApp(app_id=8, app_uuid="8", name="x"))
    assert (row["commit"], row["releaseId"], row["services"]) == (None, None, "[]")


def test_null_volumes_of_old_rows_mean_no_settings() -> None:
    row = {**app_to_row(APP), "volumes": '{"data":null}', "networks": None, "uuid": None, "class": None}
    app = app_from_row(row)
    assert (app.volumes, app.networks, app.app_uuid, app.app_class) == ({"data": {}}, {}, "7", "fleet")


@pytest.mark.parametrize(
    ("column", "value"),
    [("services", "{"), ("services", "{}"), ("services", "[5]"), ("volumes", "x"), ("appId", None)],
)
def test_a_damaged_row_says_which_app_and_column(column: str, value: Any) -> None:
    with pytest.raises(InvalidValue) as caught:
        app_from_row({**app_to_row(APP), column: value})
    assert column in str(caught.value.fields["field"])
    assert ("7" if column != "appId" else "shop") in caught.value.message
