"""The sample app: three tiny images, and the target state that runs them."""

import hashlib
import io
import json
import tarfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

import docker
from docker.errors import APIError

from tools.dev_parts.packages import static_busybox
from tools.dev_parts.paths import DEV, checkout_id


def app_id(folder: Path) -> int:
    """The sample's app id with this folder ``.dev``. Names on the engine are made of it, and checkouts share one."""
    return 1_000_000_000 + int(checkout_id(folder), 16) % 1_000_000_000


APP_ID = app_id(DEV)
_WAIT = "while :; do busybox sleep 1000 & wait $!; done"

#: what the first process of each image does. A shell as process 1 ignores SIGTERM unless it traps it.
SCRIPTS = {
    "store": f"busybox mkdir -p /data; echo 'hello from the volume' > /data/index.html; echo stored; {_WAIT}",
    "web": "busybox httpd -f -p 8080 -h /data & wait $!",
    "visitor": "while :; do busybox wget -q -O - http://web:8080/; busybox sleep 10 & wait $!; done",
}


class SamplesFailed(Exception):
    """The images cannot be built or pushed."""


class Images(NamedTuple):
    """Service name -> image name, and one commit for all."""

    names: dict[str, str]
    commit: str


def sample_names(registry: str) -> Images:
    """The names only; content decides the tag, so that a changed script is a new release."""
    commit = hashlib.sha256(json.dumps(SCRIPTS).encode()).hexdigest()[:32]
    return Images({service: f"{registry}/dev/{service}:{commit[:12]}" for service in SCRIPTS}, commit)


def provide(client: docker.APIClient, registry: str) -> Images:
    """Have the images in the registry; what is there already is not built again. Raises ``SamplesFailed``."""
    images = sample_names(registry)
    for service, name in images.names.items():
        if not _in_registry(name):
            push_image(client, name, SCRIPTS[service])
    return images


def forget(client: docker.APIClient, images: Images) -> None:
    """Remove the images from the engine, so that they are pulled for everyone to see."""
    for name in images.names.values():
        try:
            client.remove_image(name)
        except APIError as error:
            if error.status_code not in {404, 409}:  # not there, or another container uses it
                raise


def push_image(client: docker.APIClient, name: str, script: str) -> None:
    """Build an image that runs the script, push it, and remove it from the engine. Raises ``SamplesFailed``."""
    build_image(client, name, script)
    repository, _, tag = name.rpartition(":")
    _follow(client.push(repository, tag=tag, stream=True, decode=True), f"push {name}")
    client.remove_image(name)


def build_image(client: docker.APIClient, name: str, script: str) -> None:
    """Build an image of busybox and a script as its first process. It stops at once on SIGTERM."""
    busybox = static_busybox()
    if busybox is None:
        raise SamplesFailed("cannot build images: no static busybox (Debian package busybox-static)")
    context = _context(busybox.read_bytes(), f"#!/bin/busybox sh\ntrap 'exit 0' TERM INT\n{script}\n".encode())
    _follow(client.build(fileobj=context, custom_context=True, tag=name, rm=True, forcerm=True, decode=True), name)


def target(images: Images, web_port: int) -> dict[str, Any]:
    """The sample as the local API takes it (format v2): ``web`` depends on ``store``, both share a volume, and all
    are in a network of their own."""
    extra: dict[str, dict[str, Any]] = {
        "store": {"volumes": ["data:/data"]},
        "web": {"volumes": ["data:/data"], "ports": [f"127.0.0.1:{web_port}:8080"], "depends_on": ["store"]},
        "visitor": {"environment": {"GREETING": "hello"}},
    }
    services = {
        str(number): {
            "serviceName": name,
            "imageId": number,
            "image": images.names[name],
            "running": True,
            "environment": {},
            "labels": {},
            "networks": ["inside"],
            **extra[name],
        }
        for number, name in enumerate(images.names, 1)
    }
    app = {"name": "sample", "commit": images.commit, "releaseId": 1, "services": services}
    app |= {"volumes": {"data": {}}, "networks": {"inside": {}}}
    return {"local": {"name": "development", "config": {}, "apps": {str(APP_ID): app}}}


def _context(busybox: bytes, script: bytes) -> io.BytesIO:
    dockerfile = b'FROM scratch\nCOPY busybox /bin/busybox\nCOPY entry /entry\nCMD ["/entry"]\n'
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in (("Dockerfile", dockerfile), ("busybox", busybox), ("entry", script)):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            archive.addfile(member, io.BytesIO(content))
    stream.seek(0)
    return stream


def _follow(lines: Any, what: str) -> None:
    for line in lines:
        if "error" in line:
            raise SamplesFailed(f"cannot make the image {what}: {line['error']}")


def _in_registry(name: str) -> bool:
    host, _, rest = name.partition("/")
    repository, _, tag = rest.rpartition(":")
    request = urllib.request.Request(
        f"http://{host}/v2/{repository}/manifests/{tag}",
        method="HEAD",
        headers={"Accept": "application/vnd.docker.distribution.manifest.v2+json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=5):  # noqa: S310  # http only
            return True
    except urllib.error.URLError:
        return False
