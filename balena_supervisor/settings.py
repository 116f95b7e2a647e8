"""Where everything is: the environment variables of the process, read once at start (spec cloud-and-host 1.3)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from balena_supervisor import __version__
from balena_supervisor.errors import InvalidValue
from balena_supervisor.model import lock

DEFAULT_PORT = 48484


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The places and switches that the environment gives. A missing config.json is an unmanaged device."""

    root_mountpoint: Path
    boot_mountpoint: Path
    state_mountpoint: Path
    data_mountpoint: Path
    config_json_path: Path
    apps_json_path: Path
    database_path: Path
    docker_host: str
    docker_socket: str
    own_container_id: str
    own_image: str
    led_file: Path
    host_os_version_path: Path
    version: str
    #: where the sockets of the actors are; a folder of mode 0700
    run_dir: Path
    #: addresses to listen on; empty means all, IPv6 and IPv4
    listen_address: str
    #: overrides the port of config.json, for development
    listen_port: int | None
    #: limits everything on the engine to this label; unset on devices
    instance: str
    #: seconds without a heartbeat after which an actor is killed
    hang_limit_s: float

    @property
    def target_config_path(self) -> Path:
        """Where services of the host find the configuration of the target."""
        return self.root_mountpoint / "tmp/balena-supervisor/target-state-config"

    @property
    def lock_folder(self) -> Path:
        """Where the folders of services with their update locks are, as this process sees them."""
        return self.root_mountpoint / lock.lock_folder(self.instance).removeprefix("/")


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the environment. A variable that is empty, ``null`` or ``undefined`` counts as unset.

    Raises ``InvalidValue`` that names the variable.
    """
    env = os.environ if environment is None else environment

    def text(name: str, default: str) -> str:
        value = env.get(name, "")
        return default if value in {"", "null", "undefined"} else value

    def number(name: str, default: float) -> float:
        value = text(name, str(default))
        try:
            return float(value)
        except ValueError:
            raise InvalidValue(f"cannot read {name}: {value!r} is not a number", field=name) from None

    root = Path(text("ROOT_MOUNTPOINT", "/mnt/root"))
    boot = Path(text("BOOT_MOUNTPOINT", "/mnt/boot"))
    data = Path(text("DATA_MOUNTPOINT", "/mnt/data"))
    instance = text("SUPERVISOR_INSTANCE", "")
    socket = text("DOCKER_SOCKET", "/var/run/docker.sock")
    extra = text("SUPERVISOR_TAG_EXTRA", "")
    port = number("LISTEN_PORT", 0)
    return Settings(
        root_mountpoint=root,
        boot_mountpoint=boot,
        state_mountpoint=Path(text("STATE_MOUNTPOINT", "/mnt/state")),
        data_mountpoint=data,
        config_json_path=Path(text("CONFIG_MOUNT_POINT", str(boot / "config.json"))),
        apps_json_path=Path(text("APPS_JSON_PATH", str(data / "apps.json"))),
        database_path=Path(text("DATABASE_PATH", "/data/database.sqlite")),
        docker_host=text("DOCKER_HOST", f"unix://{socket}"),
        docker_socket=socket,
        own_container_id=text("SUPERVISOR_CONTAINER_ID", ""),
        own_image=text("SUPERVISOR_IMAGE", ""),
        led_file=Path(text("LED_FILE", "/sys/class/leds/led0/brightness")),
        host_os_version_path=Path(text("HOST_OS_VERSION_PATH", str(root / "etc/os-release"))),
        version=f"{__version__}+{extra}" if extra else __version__,
        run_dir=Path(text("SUPERVISOR_RUN_DIR", f"/run/balena-supervisor{'-' + instance if instance else ''}")),
        listen_address=text("LISTEN_ADDRESS", ""),
        listen_port=int(port) or None,
        instance=instance,
        hang_limit_s=number("SUPERVISOR_HANG_LIMIT_S", 60),
    )


def listen_port(settings: Settings) -> int:
    """The port of the local API: of the environment, else ``listenPort`` of config.json, else the default.

    A config.json that is missing or cannot be read is not fatal.
    """
    if settings.listen_port is not None:
        return settings.listen_port
    try:
        port = json.loads(settings.config_json_path.read_text()).get("listenPort", DEFAULT_PORT)
    except (OSError, ValueError, AttributeError):
        return DEFAULT_PORT
    return port if isinstance(port, int) and not isinstance(port, bool) and 0 < port < 65536 else DEFAULT_PORT
