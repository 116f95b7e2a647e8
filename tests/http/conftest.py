from __future__ import annotations

import pytest

from tests.http.support import Device


@pytest.fixture
def device() -> Device:
    """An unmanaged device that has read its configuration."""
    device = Device()
    device.configure(device_type="raspberrypi4-64", device_arch="aarch64")
    return device


@pytest.fixture
def managed() -> Device:
    """A managed device with one global key and one of app 1."""
    device = Device()
    device.manage()
    return device
