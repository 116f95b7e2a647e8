"""``tools/dev image``: build the image of the supervisor, and say what is large in it."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import docker
from docker.errors import APIError, DockerException, ImageNotFound

from balena_supervisor import __version__
from tools.dev_parts import image_base
from tools.dev_parts.engine import EngineMissing, real_engine
from tools.dev_parts.image_base import BaseFailed
from tools.dev_parts.paths import DEV, ROOT
from tools.dev_parts.terminal import say

#: how the engine calls an architecture -> how the cloud calls it
_ARCHITECTURES = {"amd64": "amd64", "386": "i386", "arm64": "aarch64", "arm": "armv7hf"}


class BuildFailed(Exception):
    """The image could not be built; the message ends with the last lines of the build."""


class Layer(NamedTuple):
    """One layer of an image: its size on disk and the instruction that made it."""

    size_bytes: int
    made_by: str


def image(tag: str, *, no_cache: bool) -> int:
    """Build it on the engine that ``tools/dev run`` would use; returns the exit code."""
    try:
        with real_engine() as engine:
            client = docker.APIClient(base_url=engine.url, timeout=600)
            try:
                name = tag or default_name(client)
                build(client, name, no_cache=no_cache, show=say)
                for line in size_report(client, name):
                    say(line)
            finally:
                client.close()
    except (EngineMissing, BaseFailed, BuildFailed) as error:
        say(str(error))
        return 1
    return 0


def default_name(client: docker.APIClient) -> str:
    """The name that the tools expect of an image for the engine's architecture."""
    return f"balena/{architecture(client)}-supervisor:master"


def architecture(client: docker.APIClient) -> str:
    found = str(client.version()["Arch"])
    return _ARCHITECTURES.get(found, found)


def build(client: docker.APIClient, name: str, *, no_cache: bool = False, show: Any = None) -> None:
    """Build the image of this checkout. What did not change since the last time is not built again.

    The build uses the network of the machine itself: bridges of an engine need not lead anywhere. Two at a time wait
    for each other. Raises ``BaseFailed`` or ``BuildFailed``.
    """
    with _sole():
        image_base.ensure(client)
        old = _id(client, name)
        lines: list[str] = []
        try:
            for answer in client.build(
                path=str(ROOT),
                tag=name,
                rm=True,
                forcerm=True,
                decode=True,
                nocache=no_cache,
                network_mode="host",
                buildargs={"ARCH": architecture(client), "VERSION": __version__, **image_base.proxies()},
            ):
                text = str(answer.get("error") or answer.get("stream") or "").rstrip()
                lines += text.splitlines()
                if show is not None and text.startswith("Step "):
                    show(text.splitlines()[0])
                if "error" in answer:
                    raise BuildFailed("\n  ".join([f"cannot build {name}:", *lines[-30:]]))
        except DockerException as error:
            raise BuildFailed(f"cannot build {name}: {error}") from error
        if old and old != _id(client, name):
            _forget(client, old)


def _forget(client: docker.APIClient, image_id: str) -> None:
    """Remove an image whose name went to a newer one, unless it has another name or a container uses it."""
    with suppress(APIError):
        if not client.inspect_image(image_id)["RepoTags"]:  # type: ignore[no-untyped-call]  # types-docker lacks it
            client.remove_image(image_id)


def _id(client: docker.APIClient, name: str) -> str:
    try:
        return str(client.inspect_image(name)["Id"])  # type: ignore[no-untyped-call]  # types-docker lacks it
    except ImageNotFound:
        return ""


def layers(client: docker.APIClient, name: str) -> list[Layer]:
    """What the image consists of, from the base upwards."""
    history: list[dict[str, Any]] = client.history(name)  # type: ignore[no-untyped-call]  # types-docker lacks it
    return [Layer(entry["Size"], entry["CreatedBy"]) for entry in reversed(history)]


def size_report(client: docker.APIClient, name: str) -> list[str]:
    """Its size in all and by layer, for people."""
    found = layers(client, name)
    lines = [f"{name}: {_mb(sum(layer.size_bytes for layer in found))}"]
    for layer in found:
        if layer.size_bytes:
            made_by = " ".join(layer.made_by.removeprefix("/bin/sh -c ").removeprefix("#(nop) ").split())
            lines.append(f"{_mb(layer.size_bytes):>10}  {made_by[:90] or image_base.NAME}")
    return lines


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB"


@contextmanager
def _sole() -> Iterator[None]:
    folder = DEV / "image"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
