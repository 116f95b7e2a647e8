from __future__ import annotations

import pytest

from balena_supervisor.state.config_names import CONFIG_NAMES, complete_config, kept_config


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({}, {}),
        ({"SUPERVISOR_DELTA": "1"}, {"SUPERVISOR_DELTA": "1"}),
        ({"RESIN_SUPERVISOR_DELTA": "1"}, {"SUPERVISOR_DELTA": "1"}),
        ({"BALENA_SUPERVISOR_DELTA": "1", "RESIN_SUPERVISOR_DELTA": "2", "SUPERVISOR_DELTA": "3"},
         {"SUPERVISOR_DELTA": "1"}),
        ({"SUPERVISOR_DELTA": "3", "RESIN_SUPERVISOR_DELTA": "2", "BALENA_SUPERVISOR_DELTA": "1"},
         {"SUPERVISOR_DELTA": "1"}),
        ({"RESIN_SUPERVISOR_DELTA": "2", "SUPERVISOR_DELTA": "3"}, {"SUPERVISOR_DELTA": "2"}),
        ({"RESIN_SUPERVISOR_POLL_INTERVAL": "600000", "BALENA_SUPERVISOR_POLL_INTERVAL": "5"},
         {"SUPERVISOR_POLL_INTERVAL": "600000"}),
        ({"BALENA_SUPERVISOR_POLL_INTERVAL": "5", "SUPERVISOR_POLL_INTERVAL": "6"}, {"SUPERVISOR_POLL_INTERVAL": "5"}),
        ({"FOO": "1", "BALENA_FOO": "2", "HOST_FOO": "3", "HOST_CONFIG_": "4"}, {}),
        ({"HOST_CONFIG_gpu_mem": "16", "BALENA_HOST_CONFIG_hdmi_mode:1": "4"},
         {"HOST_CONFIG_gpu_mem": "16", "HOST_CONFIG_hdmi_mode:1": "4"}),
        ({"HOST_EXTLINUX_isolcpus": "1", "HOST_CONFIGFS_ssdt": "a", "HOST_ODMDATA_configuration": "2"},
         {"HOST_EXTLINUX_isolcpus": "1", "HOST_CONFIGFS_ssdt": "a", "HOST_ODMDATA_configuration": "2"}),
        ({"HOST_SPLASH_image": "x", "HOST_splash_image": "y"}, {"HOST_SPLASH_image": "x"}),
        ({"HOST_SPLASH_IMAGE": "x"}, {"HOST_SPLASH_IMAGE": "x"}),
        ({"RESIN_OVERRIDE_LOCK": "1", "SUPERVISOR_OVERRIDE_LOCK": "0"},
         {"OVERRIDE_LOCK": "1", "SUPERVISOR_OVERRIDE_LOCK": "1"}),
        ({"OVERRIDE_LOCK": "1"}, {"OVERRIDE_LOCK": "1", "SUPERVISOR_OVERRIDE_LOCK": "1"}),
    ],
)  # fmt: skip
def test_known_names_are_kept_without_prefix_and_the_stronger_prefix_wins(
    given: dict[str, str], kept: dict[str, str]
) -> None:
    assert kept_config(given) == kept


def test_the_table_has_18_names_and_each_survives() -> None:
    assert len(CONFIG_NAMES) == 18
    for entry in CONFIG_NAMES:
        assert kept_config({f"BALENA_{entry.name}": "x"}) == {entry.name: "x"}


def test_a_complete_configuration_has_all_names_with_their_defaults() -> None:
    complete = complete_config({}, unmanaged=False)
    assert complete == {entry.name: entry.default for entry in CONFIG_NAMES}
    assert complete["SUPERVISOR_POLL_INTERVAL"] == "900000"
    assert complete["HOST_FIREWALL_MODE"] == "off"


def test_given_values_are_echoed_unchanged() -> None:
    complete = complete_config({"SUPERVISOR_LOCAL_MODE": "1", "HOST_CONFIG_gpu_mem": "16"}, unmanaged=True)
    assert complete["SUPERVISOR_LOCAL_MODE"] == "1"
    assert complete["HOST_CONFIG_gpu_mem"] == "16"
    assert len(complete) == 19


def test_local_mode_is_true_on_an_unmanaged_device_unless_it_was_set() -> None:
    assert complete_config({}, unmanaged=True)["SUPERVISOR_LOCAL_MODE"] == "true"
    assert complete_config({}, unmanaged=False)["SUPERVISOR_LOCAL_MODE"] == "false"
    assert complete_config({"SUPERVISOR_LOCAL_MODE": "0"}, unmanaged=True)["SUPERVISOR_LOCAL_MODE"] == "0"


def test_there_is_no_firewall_mode_before_the_first_target() -> None:
    assert complete_config({}, unmanaged=True, target_set=False)["HOST_FIREWALL_MODE"] == ""
    assert complete_config({"HOST_FIREWALL_MODE": "on"}, unmanaged=True, target_set=False)["HOST_FIREWALL_MODE"] == "on"


def test_what_is_shown_can_be_posted_back_and_stays_the_same() -> None:
    stored = kept_config({"RESIN_OVERRIDE_LOCK": "1", "BALENA_SUPERVISOR_DELTA": "1"})
    shown = complete_config(stored, unmanaged=True)
    assert "OVERRIDE_LOCK" not in shown
    assert kept_config(shown) == shown
