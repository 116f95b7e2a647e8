"""Images of the simulated engine and what its registry offers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.fakes.engine import references
from tests.fakes.engine.basics import ApiError, Json, has_labels, id_from, now_ns, parse_filters, rfc3339_nano
from tests.fakes.engine.events import EventLog
from tests.fakes.engine.references import Reference

EMPTY_CONFIG: Json = {
    "Hostname": "",
    "Domainname": "",
    "User": "",
    "AttachStdin": False,
    "AttachStdout": False,
    "AttachStderr": False,
    "Tty": False,
    "OpenStdin": False,
    "StdinOnce": False,
    "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
    "Cmd": ["/bin/sh"],
    "Image": "",
    "Volumes": None,
    "WorkingDir": "",
    "Entrypoint": None,
    "OnBuild": None,
    "Labels": None,
}


@dataclass
class Image:
    id: str
    config: Json
    size: int
    created_ns: int
    layers: tuple[str, ...] = ()
    references: list[Reference] = field(default_factory=list)

    @property
    def short_id(self) -> str:
        return self.id.removeprefix("sha256:")[:12]

    @property
    def tags(self) -> list[str]:
        return [reference.text for reference in self.references if not reference.digest]

    @property
    def digests(self) -> list[str]:
        return [reference.text for reference in self.references if reference.digest]

    def view(self) -> Json:
        return {
            "Id": self.id,
            "RepoTags": self.tags,
            "RepoDigests": self.digests,
            "Parent": "",
            "Comment": "",
            "Created": rfc3339_nano(self.created_ns),
            "Container": "",
            "ContainerConfig": self.config,
            "DockerVersion": "20.10.24",
            "Author": "",
            "Config": self.config,
            "Architecture": "amd64",
            "Os": "linux",
            "Size": self.size,
            "VirtualSize": self.size,
            "GraphDriver": {"Data": None, "Name": "overlay2"},
            "RootFS": {"Type": "layers", "Layers": list(self.layers)},
            "Metadata": {"LastTagTime": rfc3339_nano(self.created_ns)},
        }

    def summary(self, shown: list[Reference]) -> Json:
        """A row of the list; ``shown`` are the references that passed the filter."""
        tags: list[str] | None = [r.text for r in shown if not r.digest] or None
        digests: list[str] | None = [r.text for r in shown if r.digest] or None
        if not tags and not digests:
            tags, digests = ["<none>:<none>"], ["<none>@<none>"]
        return {
            "Containers": -1,
            "Created": self.created_ns // 1_000_000_000,
            "Id": self.id,
            "Labels": self.config.get("Labels"),
            "ParentId": "",
            "RepoDigests": digests,
            "RepoTags": tags,
            "SharedSize": -1,
            "Size": self.size,
            "VirtualSize": self.size,
        }


class Images:
    """Images by id. ``users`` tells which containers use an image: (id, is running)."""

    def __init__(self, events: EventLog) -> None:
        self._events = events
        self._all: dict[str, Image] = {}
        self.users: Callable[[str], list[tuple[str, bool]]] = lambda _: []

    def add(self, name: str, config: Json, size: int, digest: str = "", layers: tuple[str, ...] = ()) -> Image:
        """Make an image present under a name and, when given, a digest. The same content has the same id."""
        full = {**EMPTY_CONFIG, **config}
        image_id = "sha256:" + id_from(json.dumps([full, size, layers or name], sort_keys=True))
        image = self._all.setdefault(
            image_id, Image(image_id, full, size, now_ns(), layers or (f"sha256:{id_from(name)}",))
        )
        reference = references.parse(name)
        if not reference.digest:
            self._point(reference, image)
        for stated in filter(None, (digest, reference.digest)):
            self._point(Reference(reference.repository, "", stated), image)
        return image

    def _point(self, reference: Reference, image: Image) -> None:
        for other in self._all.values():
            if reference in other.references:
                other.references.remove(reference)
        image.references.append(reference)

    def by_reference(self, reference: Reference) -> Image | None:
        return next((image for image in self._all.values() if reference in image.references), None)

    def find(self, name: str) -> Image | None:
        """By full id, reference, or beginning of an id."""
        if name in self._all:
            return self._all[name]
        if found := self.by_reference(references.parse(name)):
            return found
        hexes = name.removeprefix("sha256:")
        candidates = [i for i in self._all.values() if len(hexes) >= 1 and i.id[7:].startswith(hexes)]
        return candidates[0] if len(candidates) == 1 else None

    def get(self, name: str) -> Image:
        if image := self.find(name):
            return image
        shown = name if name.startswith("sha256:") else references.parse(name).text
        raise ApiError(404, f"No such image: {shown}")

    def inspect(self, name: str) -> Json:
        if image := self.find(name):
            return image.view()
        raise ApiError(404, f"no such image: {name}: No such image: {references.parse(name).text}")

    def listing(self, filters: str) -> list[Json]:
        wanted = parse_filters(filters, {"reference", "dangling", "label", "before", "since"})
        rows = []
        for image in sorted(self._all.values(), key=lambda i: -i.created_ns):
            shown = image.references
            if "reference" in wanted:
                shown = [r for r in shown if any(references.pattern_matches(p, r) for p in wanted["reference"])]
                if not shown:
                    continue
            if "dangling" in wanted:
                only = wanted["dangling"][0] in {"true", "1"}
                # as in 20.10: an image that only has a digest counts as dangling
                if (only and any(not r.digest for r in shown)) or (not only and not shown):
                    continue
            if has_labels(wanted.get("label", []), image.config.get("Labels")):
                rows.append(image.summary(shown))
        return rows

    def tag(self, name: str, repository: str, tag: str) -> None:
        image = self.get(name)
        name_given = f"{repository}:{tag}" if tag else repository
        self._point(references.parse(name_given), image)
        self._tell("tag", image, name_given)

    def remove(self, name: str, *, force: bool) -> list[Json]:
        """Untag by a reference, and remove the image with its last one; by id, remove it with its only repository."""
        image = self.get(name)
        by_id = image.id[7:].startswith(name.removeprefix("sha256:"))
        if by_id:
            self._check_removable_by_id(image, force=force)
            gone = list(image.references)
        else:
            gone = self._check_untag(image, name, force=force)
        answer: list[Json] = []
        for reference in gone:
            image.references.remove(reference)
            self._tell("untag", image, image.id)
            answer.append({"Untagged": reference.text})
        if not image.references and not self.users(image.id):
            del self._all[image.id]
            self._tell("delete", image, image.id)
            answer.append({"Deleted": image.id})
        return answer

    def _check_removable_by_id(self, image: Image, *, force: bool) -> None:
        if len({r.repository for r in image.references}) > 1 and not force:
            raise ApiError(
                409,
                f"conflict: unable to delete {image.short_id} (must be forced) - "
                "image is referenced in multiple repositories",
            )
        for container_id, running in self.users(image.id):
            if running or not force:
                how, state = ("cannot be forced", "running") if running else ("must be forced", "stopped")
                raise ApiError(
                    409,
                    f"conflict: unable to delete {image.short_id} ({how}) - "
                    f"image is being used by {state} container {container_id[:12]}",
                )

    def _check_untag(self, image: Image, name: str, *, force: bool) -> list[Reference]:
        reference = references.parse(name)
        rest = [r for r in image.references if r != reference]
        gone = [reference]
        # the digests of a repository go with its last tag
        if not reference.digest and all(r.digest for r in rest if r.repository == reference.repository):
            gone += [r for r in rest if r.repository == reference.repository]
        users = self.users(image.id)
        if users and not force and len(gone) == len(image.references):
            raise ApiError(
                409,
                f'conflict: unable to remove repository reference "{name}" (must force) - '
                f"container {users[0][0][:12]} is using its referenced image {image.short_id}",
            )
        return gone

    def _tell(self, action: str, image: Image, name: str) -> None:
        self._events.emit("image", action, image.id, {**(image.config.get("Labels") or {}), "name": name})
