"""Remove from an engine what one supervisor instance made there, and nothing else."""

import shutil
from contextlib import suppress
from pathlib import Path

import docker
from docker.errors import APIError

from balena_supervisor.model.lock import lock_folder

LABEL = "io.balena.supervisor.instance"


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


def remove_lock_folders(instance: str) -> None:
    """Remove the folders for update locks of the instance, which an engine on this machine makes to mount them."""
    shutil.rmtree(Path(lock_folder(instance)).parent, ignore_errors=True)


def _filter(instance: str) -> dict[str, str]:
    return {"label": f"{LABEL}={instance}"}
