"""The host's login manager, which reboots it or shuts it down (spec device-api 12). Over D-Bus."""

from __future__ import annotations

import os

from balena_supervisor.errors import Unavailable

_NAME = "org.freedesktop.login1"
_PATH = "/org/freedesktop/login1"
_MANAGER = "org.freedesktop.login1.Manager"
_DEFAULT_ADDRESS = "unix:path=/run/dbus/system_bus_socket"
_TIMEOUT_S = 20.0
_METHODS = {"reboot": "Reboot", "shutdown": "PowerOff"}


def go_down(verb: str) -> None:
    """Reboot or shut the host down. Raises ``Unavailable`` when there is no bus, or it refuses.

    The library is loaded here: it is needed once in the life of a process, and costs memory. It would remember the
    address of the bus (``DBUS_SYSTEM_BUS_ADDRESS``) for ever, so it is given one each time.
    """
    try:
        import dbus  # noqa: PLC0415  # see above
        import dbus.bus  # noqa: PLC0415
    except ImportError as error:
        raise Unavailable(f"cannot {verb} the host: D-Bus cannot be spoken here ({error})", what="dbus") from error
    address = os.environ.get("DBUS_SYSTEM_BUS_ADDRESS", "") or _DEFAULT_ADDRESS
    try:
        bus = dbus.bus.BusConnection(address)
    except dbus.DBusException as error:
        text = f"cannot {verb} the host: no system bus at {address} ({error.get_dbus_message()})"
        raise Unavailable(text, what="dbus") from error
    try:
        manager = dbus.Interface(bus.get_object(_NAME, _PATH, introspect=False), _MANAGER)
        manager.get_dbus_method(_METHODS[verb])(False, timeout=_TIMEOUT_S)  # not interactive
    except dbus.DBusException as error:
        text = f"cannot {verb} the host: {error.get_dbus_message() or error.get_dbus_name()}"
        raise Unavailable(text, what="login1") from error
    finally:
        bus.close()
