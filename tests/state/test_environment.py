"""The environment of a container."""

from __future__ import annotations

import pytest

from balena_supervisor.model.device import Configuration
from balena_supervisor.model.image import ImageDetails
from balena_supervisor.state.environment import read_environment
from tests.state.composing import UUID, config

CONFIGURATION = Configuration(uuid="d" * 32, device_type="pi", device_arch="aarch64", os_version="balenaOS 6")
VALUES = {
    "APP_ID": "4711",
    "APP_UUID": UUID,
    "APP_NAME": "acme",
    "SERVICE_NAME": "web",
    "DEVICE_UUID": "d" * 32,
    "DEVICE_TYPE": "pi",
    "DEVICE_ARCH": "aarch64",
    "HOST_OS_VERSION": "balenaOS 6",
    "APP_LOCK_PATH": "/tmp/balena/updates.lock",
}
DEFAULTS = {
    **{f"BALENA_{name}": value for name, value in VALUES.items()},
    "BALENA": "1",
    **{f"RESIN_{name}": value for name, value in VALUES.items()},
    "RESIN": "1",
    "RESIN_SERVICE_KILL_ME_PATH": "/tmp/balena/handover-complete",
    "BALENA_SERVICE_HANDOVER_COMPLETE_PATH": "/tmp/balena/handover-complete",
    "USER": "root",
}
AROUND = {"configuration": CONFIGURATION}


def test_every_service_gets_the_variables_of_the_supervisor_in_order() -> None:
    assert list(config(around=AROUND).environment.items()) == list(DEFAULTS.items())


def test_an_earlier_source_wins_and_an_overridden_name_keeps_its_place() -> None:
    image = ImageDetails(id="sha256:1", environment={"A": "image", "IMAGE": "image", "USER": "image"})
    environment = config(
        {"environment": {"A": "composition", "B": "composition", "BALENA_APP_ID": "mine"}},
        environment={"C": "service", "A": "service"},
        around={**AROUND, "image": image},
    ).environment
    first = {"A": "service", "B": "composition", "BALENA_APP_ID": "mine", "C": "service"}
    assert environment == {**DEFAULTS, **first, "IMAGE": "image"}
    assert [*environment][:5] == [*first, "BALENA_APP_UUID"]
    assert [*environment][-1] == "IMAGE"


def test_what_the_device_does_not_know_of_itself_is_left_out() -> None:
    environment = config(around={"configuration": Configuration(device_arch="")}).environment
    for name in ("DEVICE_UUID", "DEVICE_ARCH", "HOST_OS_VERSION"):
        assert f"BALENA_{name}" not in environment
        assert f"RESIN_{name}" not in environment


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"A": 1, "B": True, "C": 1.5, "D": 3.0}, {"A": "1", "B": "true", "C": "1.5", "D": "3"}),
        ({"A": None, "B": ""}, {"B": ""}),
        (["A=b=c", "B=", "C"], {"A": "b=c", "B": ""}),
        ({"A": "line\nline", "": "x", "x=y": "z"}, {"A": "line\nline"}),
        ({"RESIN_DEVICE_NAME_AT_INIT": "x", "BALENA_DEVICE_NAME_AT_INIT": "y"}, {}),
    ],
)
def test_values_become_text_and_unset_ones_are_left_out(given: object, expected: dict[str, str]) -> None:
    assert config({"environment": given}, around=AROUND).environment == {**expected, **DEFAULTS}


def test_a_name_of_the_device_from_the_image_is_discarded() -> None:
    image = ImageDetails(id="sha256:1", environment={"BALENA_DEVICE_NAME_AT_INIT": "image"})
    assert config(around={**AROUND, "image": image}).environment == DEFAULTS


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (None, {}),
        ([], {}),
        (["A=1", "B=", "C=x=y\nz"], {"A": "1", "B": "", "C": "x=y\nz"}),
        (["A", "B=1"], {"B": "1"}),
    ],
)
def test_lines_of_the_engine_are_split_at_the_first_equals_sign(lines: list[str] | None, expected: object) -> None:
    assert read_environment(lines) == expected
