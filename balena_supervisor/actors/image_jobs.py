"""How the steps on images are carried out on the engine (spec apply-loop 4.3 to 4.8). Runs in the pools."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress

from balena_supervisor.actors.engine_listing import Unreadable, has_lost_a_layer, read_containers, read_images
from balena_supervisor.actors.image_room import Claim, Login, Room
from balena_supervisor.adapters.engine import Engine
from balena_supervisor.adapters.engine_pull import STALL_S, pull, registry_header
from balena_supervisor.adapters.engine_stream import JsonStream
from balena_supervisor.db.image_store import ImageStore
from balena_supervisor.errors import EngineError, EngineUnavailable, ImageBroken, NotFound, Withdrawn
from balena_supervisor.model.device import Configuration
from balena_supervisor.model.image import ImageDetails, ImageRef, ImageRow, ImageState
from balena_supervisor.model.target import TargetState
from balena_supervisor.runtime import output
from balena_supervisor.state.image_lookup import (
    EngineImage,
    available_rows,
    find_image,
    has_tag,
    image_from_listing,
    names_to_remove,
)
from balena_supervisor.state.image_name import parse, tag_target
from balena_supervisor.state.own_services import is_supervisor_service
from balena_supervisor.state.take_back import images_of


class ImageJobs:
    """The work on engine and table ``image``; for use from several threads."""

    def __init__(
        self,
        engine: Engine,
        store: ImageStore,
        *,
        own_image: str,
        instance: str,
        unreadable: Unreadable,
        stall_s: float = STALL_S,
        room: Room | None = None,
    ) -> None:
        self._engine = engine
        self._store = store
        self._own_image = own_image
        self._instance = instance
        self._unreadable = unreadable
        self._stall_s = stall_s
        self._room = room
        #: by engine id, which never means anything else
        self._details: dict[str, ImageDetails] = {}
        self._pulls: dict[JsonStream, str] = {}
        #: the images of the target; None until there is one
        self._wanted: frozenset[str] | None = None
        self._closed = False
        self._lock = threading.Lock()

    def close(self) -> None:
        """Give up all downloads. The engine stops them when their connection closes."""
        with self._lock:
            self._closed = True
            pulls = tuple(self._pulls)
        for stream in pulls:
            stream.close()

    def want(self, names: frozenset[str]) -> None:
        """Give up the downloads of all other images, also those still to begin: the target has changed."""
        with self._lock:
            self._wanted = names
            unwanted = [stream for stream, name in self._pulls.items() if name not in names]
        for stream in unwanted:
            stream.close()
        if self._room is not None:
            self._room.keep_only(names)

    # --- looking ----------------------------------------------------------------------------------------------

    def look(self, target: TargetState) -> ImageState:
        """Read rows and images, without tasks. Rows first: one that is saved meanwhile then has its image listed."""
        rows = self._store.rows()
        return read_images(
            self._engine,
            rows,
            target,
            self._unreadable,
            own_image=self._own_image,
            instance=self._instance,
            known=self._details,
        )

    def repair(self) -> None:
        """At start: complete the rows, tag their images again, and delete rows that have none, and those of the
        supervisor's own service (spec apply-loop 4.3)."""
        rows = self._store.rows()
        images = self._images()
        available = {row.id for row in available_rows(rows, images)}
        for row in rows:
            image = find_image(row.ref.name, images, rows)
            if row.id not in available or is_supervisor_service(row.ref.app_uuid, row.ref.service_name):
                self._store.delete([row.id])
                continue
            if image is not None and not row.docker_image_id:
                self._store.set_docker_id(row.id, image.id)
            if image is not None:
                with suppress(EngineError, NotFound):
                    self._tag(image, row.ref.name)

    def of_containers(self) -> list[tuple[ImageRef, str]]:
        """After the database was made anew: rows, with engine ids, for the images of all containers that have none."""
        containers = read_containers(self._engine, self._instance, lambda _what, _error: None)
        rows = {(row.docker_image_id, row.ref.service_name, row.ref.commit) for row in self._store.rows()}
        found = images_of(containers, self._images())
        return [(ref, image) for ref, image in found if (image, ref.service_name, ref.commit) not in rows]

    # --- steps ------------------------------------------------------------------------------------------------

    def pull(
        self, ref: ImageRef, configuration: Configuration, progress: Callable[[int], None], *, anew: bool = False
    ) -> None:
        """Make the image present under its tag and save its row. What the engine has is not pulled, unless ``anew``
        or when it has lost a layer.

        Raises ``Withdrawn`` when the target does not want it, or no longer, and ``NoSpace``.
        """
        image = find_image(ref.name, self._images(), self._store.rows())
        if anew or (image is not None and self._has_lost_a_layer(image.id)):
            self._refuse_unwanted(ref.name)
            self._drop(ref.name, image)
            image = None
        if image is None:
            self._download(ref.name, configuration, progress)
            image = self._pulled(ref.name)
        self._tag(image, ref.name)
        self._store.save([(ref, image.id)])

    def save(self, refs: Sequence[ImageRef]) -> None:
        """Tag images that are there and save their rows in one transaction."""
        rows = self._store.rows()
        images = self._images()
        found: list[tuple[ImageRef, str]] = []
        for ref in refs:
            image = find_image(ref.name, images, rows)
            if image is None:
                raise NotFound(f"cannot save image {ref.name}: the engine does not have it", name=ref.name)
            self._tag(image, ref.name)
            found.append((ref, image.id))
        self._store.save(found)

    def remove(self, row: ImageRow) -> None:
        """Remove the names of the image, unless another row has the same name, and the row at last."""
        rows = self._store.rows()
        if all(other.id != row.id for other in rows):
            return
        others = [other for other in rows if other.id != row.id]
        if all(other.ref.name != row.ref.name for other in others):
            for _ in ("tags", "digests that are left"):
                for name in names_to_remove(row, self._images(), others):
                    with suppress(NotFound):
                        self._engine.remove_image(name)
        self._store.delete([row.id])

    def clean_up(self, image_ids: Sequence[str], target: TargetState) -> dict[str, str]:
        """Remove images by id that still nobody needs. Returns those that could not be removed, with the reason."""
        still = self.look(target).cleanup
        failed: dict[str, str] = {}
        for image_id in image_ids:
            if image_id not in still:
                continue
            try:
                with suppress(NotFound):
                    self._engine.remove_image(image_id, force=True)
            except EngineError as error:
                failed[image_id] = error.message
        return failed

    # --- parts ------------------------------------------------------------------------------------------------

    def _images(self) -> list[EngineImage]:
        return [image_from_listing(entry) for entry in self._engine.list_images()]

    def _tag(self, image: EngineImage, name: str) -> None:
        if not has_tag(image, name):
            repo, tag = tag_target(name)
            self._engine.tag_image(image.id, repo, tag)

    def _pulled(self, name: str) -> EngineImage:
        """What a pull has brought. An engine does not fetch a layer that it believes to have, though it has lost it."""
        image = find_image(name, self._images())
        known = name if image is None else image.id  # one whose layer is forgotten has a name, and is in no list
        if self._has_lost_a_layer(known):
            cause = "the engine has lost a layer of it, believes to have it, and does not fetch it again"
            raise ImageBroken(f"cannot pull image {name}: {cause}", status=500, cause=cause, image=known)
        if image is None:
            raise NotFound(f"cannot pull image {name}: the engine does not have it after the pull", name=name)
        return image

    def _has_lost_a_layer(self, known: str) -> bool:
        """``known`` is an engine id or a name."""
        try:
            self._engine.inspect_image(known)
        except NotFound:
            return False
        except EngineError as error:
            if not has_lost_a_layer(error):
                raise
            return True
        return False

    def _drop(self, name: str, image: EngineImage | None) -> None:
        """Take all names of a broken image away, since the engine forgets it with the last one only. By force: what
        is broken is of no use to a container that stands still, and one that runs does not need the names."""
        output.log("warn", "images", "a broken image is dropped, to be pulled anew", image=name)
        for one in (*image.tags, *image.digests) if image is not None else (name,):
            with suppress(EngineError, NotFound):
                self._engine.remove_image(one, force=True)

    def _download(self, image: str, configuration: Configuration, progress: Callable[[int], None]) -> None:
        self._refuse_unwanted(image)
        name = parse(image)
        login = _login(name.registry, configuration)
        with self._claimed(image, login) as claim:

            def told(percent: int) -> None:
                claim.percent = percent
                progress(percent)

            progress(0)
            try:
                pull(
                    self._engine,
                    name.repo,
                    name.digest or name.tag or "latest",
                    auth_header=registry_header(*login, name.registry) if login else "",
                    opened=lambda stream: self._opened(stream, image),
                    progress=told,
                    stall_s=self._stall_s,
                )
            except EngineUnavailable:
                self._refuse_unwanted(image)
                raise

    def _claimed(self, image: str, login: Login | None) -> AbstractContextManager[Claim]:
        return nullcontext(Claim()) if self._room is None else self._room.claimed(image, login)

    def _refuse_unwanted(self, image: str) -> None:
        wanted = self._wanted
        if wanted is not None and image not in wanted:
            raise Withdrawn(f"the target does not want image {image} any more")

    def _opened(self, stream: JsonStream, image: str) -> None:
        with self._lock:
            self._pulls = {one: name for one, name in self._pulls.items() if not one.done} | {stream: image}
            unwanted = self._closed or (self._wanted is not None and image not in self._wanted)
        if unwanted:
            stream.close()


def _login(registry: str, configuration: Configuration) -> Login | None:
    if not registry or not configuration.managed:
        return None
    return f"d_{configuration.uuid}", configuration.device_api_key
