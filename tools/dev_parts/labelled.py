"""Remove from an engine what one supervisor instance made there, and nothing else."""

import shutil
from contextlib import suppress
from pathlib import Path

import docker
from docker.errors import APIError

LABEL = "io.balena.supervisor.instance"
_LOCKS = Path("/tmp/balena-supervisor/services")  # noqa: S108  # the place is a contract


def containers(client: docker.APIClient, instance: str) -> list[str]:
    """Ids of all containers of the instance, running or not."""
    return [entry["Id"] for entry in client.containers(all=True, filters=_filter(instance))]


def remove_all(client: docker.APIClient, instance: str) -> None:
    """Containers, then networks and volumes. What another one removes or uses meanwhile is passed over."""
    for container in containers(client, instance):
        with suppress(APIError):
            client.remove_container(container, force=True, v=True)
    for network in client.networks(filters=_filter(instance)):
        with suppress(APIError):
            client.remove_network(network["Id"])
    for volume in client.volumes(filters=_filter(instance)).get("Volumes") or []:
        with suppress(APIError):
            client.remove_volume(volume["Name"])


def remove_lock_folders(app_id: int) -> None:
    """Remove the folders for update locks of an app, which an engine on this machine makes to mount them."""
    shutil.rmtree(_LOCKS / str(app_id), ignore_errors=True)


def _filter(instance: str) -> dict[str, str]:
    return {"label": f"{LABEL}={instance}"}
