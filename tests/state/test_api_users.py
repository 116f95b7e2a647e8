from __future__ import annotations

from typing import Any

import pytest

from balena_supervisor.model.target import TargetApp, TargetService
from balena_supervisor.state.api_users import api_users

LABEL = "io.balena.features.supervisor-api"
OLD_LABEL = "io.resin.features.supervisor-api"


@pytest.mark.parametrize(
    ("labels", "composition", "uses"),
    [
        ({}, {}, False),
        ({LABEL: "1"}, {}, True),
        ({LABEL: "true"}, {}, True),
        ({LABEL: "0"}, {}, False),
        ({LABEL: "yes"}, {}, False),
        ({OLD_LABEL: "on"}, {}, True),
        ({OLD_LABEL: "1", LABEL: "0"}, {}, False),
        ({}, {"labels": {LABEL: "1"}}, True),
        ({}, {"labels": {LABEL: 1}}, True),
        ({}, {"labels": [f"{OLD_LABEL}=1"]}, True),
        ({}, {"labels": [LABEL]}, False),
        ({}, {"labels": None}, False),
        ({}, {"labels": 5}, False),
        ({LABEL: "0"}, {"labels": {LABEL: "1"}}, False),
    ],
)
def test_a_service_uses_the_api_when_its_labels_say_so(
    labels: dict[str, str], composition: dict[str, Any], uses: bool
) -> None:
    service = TargetService(
        service_name="web", service_id=1, image_id=1, image="x", app_id=7, app_uuid="7", release_id=1, commit="c",
        labels=labels, composition=composition,
    )  # fmt: skip
    apps = (TargetApp(app_id=7, app_uuid="7", name="a", services=(service,)),)
    assert api_users(apps) == (((7, "web"),) if uses else ())
