"""Pulling: what the registry of the simulated engine offers, and the progress lines of a pull."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.fakes.engine import references
from tests.fakes.engine.basics import ApiError, Json, id_from
from tests.fakes.engine.events import EventLog
from tests.fakes.engine.images import Images
from tests.fakes.engine.references import Reference

DEFAULT_LAYERS = (3_000_000, 500_000)


@dataclass
class RemoteImage:
    """``layers`` are compressed sizes in bytes. A pull waits half way through its first layer until ``gate`` is set;
    with ``error`` it ends there with that text. ``login`` is (user, password), if the registry wants one."""

    name: str
    config: Json = field(default_factory=dict)
    layers: tuple[int, ...] = DEFAULT_LAYERS
    digest: str = ""
    error: str = ""
    login: tuple[str, str] | None = None
    gate: threading.Event = field(default_factory=threading.Event)


def layer_digest(image_digest: str, number: int) -> str:
    """The digest that the content of a layer has once it is pulled, counted from the lowest."""
    return f"sha256:{id_from(f'{image_digest} {number}')}"


class Registry:
    """All registries of the world. ``any_image`` makes every name pullable. Delays end when ``closing`` is set."""

    def __init__(
        self, images: Images, events: EventLog, condition: threading.Condition, closing: threading.Event
    ) -> None:
        self._images = images
        self._events = events
        self._condition = condition
        self._closing = closing
        self._remote: dict[Reference, RemoteImage] = {}
        self.any_image = False
        #: seconds between two lines of a pull
        self.line_delay_s = 0.0
        #: name and decoded ``X-Registry-Auth`` of each pull, in order
        self.logins: list[tuple[str, Json]] = []

    def offer(self, remote: RemoteImage) -> RemoteImage:
        reference = references.parse(remote.name)
        remote.digest = reference.digest or remote.digest or f"sha256:{id_from('manifest ' + remote.name)}"
        self._remote[reference] = remote
        self._remote[Reference(reference.repository, "", remote.digest)] = remote
        return remote

    def offer_as(self, name: str, digest: str, config: Json) -> None:
        """Offer an image under a digest that is known from elsewhere."""
        remote = self.offer(RemoteImage(name, config, digest=digest))
        remote.gate.set()

    def pull(self, name: str, auth_header: str) -> Iterator[bytes]:
        """Check what the engine checks before its first line, and give the lines. Called with the lock held."""
        reference = references.parse(name)
        login = _decode(auth_header)
        self.logins.append((reference.text, login))
        remote = self._remote.get(reference)
        if remote is None and self.any_image:
            remote = self.offer(RemoteImage(reference.text))
            remote.gate.set()
        if remote is None:
            raise _unknown(reference)
        if remote.login and (login.get("username"), login.get("password")) != remote.login:
            place = (
                f"https://{reference.registry}/v2/{reference.remote_path}/manifests/{reference.tag or reference.digest}"
            )
            raise ApiError(500, f'Head "{place}": no basic auth credentials')
        present = self._images.by_reference(reference)
        return self._lines(reference, remote, present=present is not None)

    def _lines(self, reference: Reference, remote: RemoteImage, *, present: bool) -> Iterator[bytes]:
        yield _line({"status": f"Pulling from {reference.remote_path}", "id": reference.tag or reference.text})
        if not present:
            yield from self._layers(remote)
            if remote.error:
                yield _line({"errorDetail": {"message": remote.error}, "error": remote.error})
                return
        if self._closing.is_set():
            return
        layers = tuple(layer_digest(remote.digest, number) for number in range(len(remote.layers)))
        with self._condition:
            image = self._images.add(reference.text, remote.config, 2 * sum(remote.layers), remote.digest, layers)
            attributes = {**(image.config.get("Labels") or {}), "name": reference.repository}
            self._events.emit("image", "pull", reference.text, attributes)
        yield _line({"status": f"Digest: {remote.digest}"})
        news = "Image is up to date" if present else "Downloaded newer image"
        yield _line({"status": f"Status: {news} for {reference.text}"})

    def _layers(self, remote: RemoteImage) -> Iterator[bytes]:
        ids = [id_from(f"{remote.digest} {n} packed")[:12] for n in range(len(remote.layers))]
        for layer in ids:
            yield _line({"status": "Pulling fs layer", "progressDetail": {}, "id": layer})
        for number, (layer, size) in enumerate(zip(ids, remote.layers, strict=True)):
            for part in (size // 4, size // 2):
                yield _progress("Downloading", layer, part, size)
                self._closing.wait(self.line_delay_s)
            if number == 0:
                self._wait_for(remote.gate.is_set)
                if remote.error or self._closing.is_set():
                    return
            yield _progress("Downloading", layer, size, size)
            yield _line({"status": "Verifying Checksum", "progressDetail": {}, "id": layer})
            yield _line({"status": "Download complete", "progressDetail": {}, "id": layer})
        for layer, size in zip(ids, remote.layers, strict=True):
            for part in (size // 2, size):
                yield _progress("Extracting", layer, part, size)
                self._closing.wait(self.line_delay_s)
            yield _line({"status": "Pull complete", "progressDetail": {}, "id": layer})

    def _wait_for(self, ready: Callable[[], bool]) -> None:
        with self._condition:
            self._condition.wait_for(lambda: ready() or self._closing.is_set())

    def resume(self, name: str = "") -> None:
        """Open the gate of one remote image, or of all."""
        with self._condition:
            for reference, remote in self._remote.items():
                if not name or reference == references.parse(name):
                    remote.gate.set()
            self._condition.notify_all()


def _decode(auth_header: str) -> Json:
    if not auth_header:
        return {}
    padded = auth_header + "=" * (-len(auth_header) % 4)
    login: Json = json.loads(base64.urlsafe_b64decode(padded) or b"{}")
    return login


def _unknown(reference: Reference) -> ApiError:
    if reference.registry:
        return ApiError(404, f"manifest for {reference.text} not found: manifest unknown: manifest unknown")
    return ApiError(
        404,
        f"pull access denied for {reference.repository}, repository does not exist or may require 'docker login': "
        "denied: requested access to the resource is denied",
    )


def _line(content: Json) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode() + b"\r\n"


def _progress(status: str, layer: str, current: int, total: int) -> bytes:
    bar = f"[{'=' * (50 * current // max(total, 1))}>]  {current}B/{total}B"
    detail = {"current": current, "total": total}
    return _line({"status": status, "progressDetail": detail, "progress": bar, "id": layer})
