"""Room on the disk of the engine for what is pulled: asked for before each pull, and kept account of."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from balena_supervisor.actors.engine_listing import layers_of
from balena_supervisor.adapters.engine import Engine
from balena_supervisor.clock import Clock
from balena_supervisor.errors import EngineError, NoSpace, NotFound, SupervisorError
from balena_supervisor.model.image import DiskSpace, Platform, RemoteImage, RemoteLayer
from balena_supervisor.state.disk import (
    Expansion,
    missing_layers,
    more_than,
    needed_bytes,
    no_space,
    unpacked_bytes,
    usable_bytes,
)
from balena_supervisor.state.image_name import DEFAULT_TAG, digest_of, parse

#: a tag may move on to another image; a digest never does
TAG_KNOWN_S = 600.0
#: After a disk has become full in the middle of a pull, a download in vain is spared until there is more room than
#: there was. It is tried all the same after that time, since something else may have filled the disk for a moment;
#: sooner where the disk cannot be seen.
FULL_S = 3600.0
FULL_UNSEEN_S = 600.0
#: an image that has waited so long is tried in spite of the estimate, which may be wrong: some images hardly grow
ESTIMATE_S = 3600.0

Login = tuple[str, str]


class LookUp(Protocol):
    """Asks a registry what a pull would bring; None when it does not tell."""

    def __call__(
        self, registry: str, repository: str, reference: str, *, platform: Platform, login: Login | None
    ) -> RemoteImage | None: ...


class Disk(Protocol):
    """The disk of the engine, as :class:`EngineDisk` tells of it."""

    def platform(self) -> Platform: ...

    def space(self) -> DiskSpace | None: ...

    def layer_sizes(self, image: str) -> list[int]: ...


@dataclass(frozen=True, kw_only=True)
class RoomPorts:
    look_up: LookUp
    disk: Callable[[Engine], Disk]


class Claim:
    """The room of one pull under way. ``percent`` is how far it is."""

    def __init__(self, missing: tuple[RemoteLayer, ...] = (), needs_bytes: int = 0, usable: int | None = None) -> None:
        self.missing = missing
        self.needs_bytes = needs_bytes
        #: the room that there was at its beginning; None when the disk cannot be seen
        self.usable_bytes = usable
        self.percent = 0
        #: whether there was no other pull all the time
        self.alone = True

    @property
    def rest_bytes(self) -> int:
        """What it will still write."""
        return self.needs_bytes * (100 - self.percent) // 100


class _Full(NamedTuple):
    """A pull that has ended with a full disk: the room that there was at its beginning, and when it ended."""

    usable_bytes: int | None
    at: float
    alone: bool


class Room:
    """Lets a pull begin only when what it brings has room beside all others. For many threads."""

    def __init__(self, engine: Engine, ports: RoomPorts, clock: Clock) -> None:
        self._engine = engine
        self._disk = ports.disk(engine)
        self._look_up = ports.look_up
        self._clock = clock
        self._lock = threading.Lock()
        self._expansion = Expansion()
        self._claims: list[Claim] = []
        #: name -> what the registry told of it, and when
        self._remote: dict[str, tuple[RemoteImage, float]] = {}
        #: by name
        self._full: dict[str, _Full] = {}
        #: name -> since when there has been no room for it
        self._refused: dict[str, float] = {}
        #: by engine id, which never means anything else
        self._chains: dict[str, tuple[str, ...]] = {}

    def keep_only(self, names: frozenset[str]) -> None:
        """Forget what was known of images that nobody wants any more."""
        with self._lock:
            self._remote = {name: known for name, known in self._remote.items() if name in names}
            self._full = {name: known for name, known in self._full.items() if name in names}
            self._refused = {name: since for name, since in self._refused.items() if name in names}

    @contextmanager
    def claimed(self, name: str, login: Login | None) -> Iterator[Claim]:
        """Keep room for a pull while it lasts. Raises ``NoSpace`` before it begins, and when it has filled the disk."""
        remote: RemoteImage | None = None
        missing: tuple[RemoteLayer, ...] = ()
        with suppress(SupervisorError):  # then it is not known, and the pull itself says what is wrong
            remote = self._ask(name, login)
            missing = () if remote is None else missing_layers(remote, self._all_chains())
        claim = self._claim(name, missing)
        try:
            yield claim
        except NoSpace as error:
            raise self._filled(name, claim, error) from error
        finally:
            with self._lock:
                self._claims.remove(claim)
        with suppress(SupervisorError):
            self._measure(name, claim, remote)

    # --- before -----------------------------------------------------------------------------------------------

    def _ask(self, name: str, login: Login | None) -> RemoteImage | None:
        if self._disk.space() is None:
            return None
        now = self._clock.monotonic()
        with self._lock:
            known = self._remote.get(name)
        if known is not None and (digest_of(name) or now - known[1] < TAG_KNOWN_S):
            return known[0]
        image = parse(name)
        reference = image.digest or image.tag or DEFAULT_TAG
        remote = self._look_up(image.registry, image.repository, reference, platform=self._disk.platform(), login=login)
        if remote is not None:
            with self._lock:
                self._remote[name] = remote, now
        return remote

    def _all_chains(self) -> list[tuple[str, ...]]:
        listed = {str(entry["Id"]) for entry in self._engine.list_images()}
        chains: dict[str, tuple[str, ...]] = {}
        for image_id in listed:
            with suppress(EngineError, NotFound):  # it is broken or has just gone
                chains[image_id] = self._chains.get(image_id) or layers_of(self._engine.inspect_image(image_id))
        self._chains = chains
        return list(chains.values())

    def _claim(self, name: str, missing: tuple[RemoteLayer, ...]) -> Claim:
        with self._lock:
            needs = needed_bytes(missing, self._expansion)
            usable = self._usable()
            full = self._full.get(name)
            if full is not None:
                needs = self._needs_after(full, needs, usable, name)
            if usable is not None and needs > usable and not self._may_fit(name, missing, usable):
                raise no_space(name, needs_bytes=needs, free_bytes=usable)
            claim = Claim(missing, needs, usable)
            self._claims.append(claim)
            if len(self._claims) > 1:
                for one in self._claims:
                    one.alone = False
            return claim

    def _may_fit(self, name: str, missing: tuple[RemoteLayer, ...], usable: int) -> bool:
        """Whether it is to be tried although it should need more. Alone, and once: then it is known to be too large."""
        now = self._clock.monotonic()
        waited_s = now - self._refused.setdefault(name, now)
        packed_bytes = sum(layer.size_bytes for layer in missing)
        return waited_s >= ESTIMATE_S and packed_bytes <= usable and not self._claims and name not in self._full

    def _usable(self) -> int | None:
        with suppress(SupervisorError):
            space = self._disk.space()
            if space is not None:
                return usable_bytes(space, claimed_bytes=sum(claim.rest_bytes for claim in self._claims))
        return None

    def _needs_after(self, full: _Full, needs: int, usable: int | None, name: str) -> int:
        """What it needs at least, since the disk has become full while it was pulled.

        With others at the same time it may not have been its fault, which shows when it is pulled alone.
        """
        age_s = self._clock.monotonic() - full.at
        if full.usable_bytes is None or usable is None:
            if age_s < FULL_UNSEEN_S:
                raise _full_unseen(name)
            return needs
        if not full.alone:
            return max(needs, more_than(usable)) if self._claims else needs
        return max(needs, more_than(full.usable_bytes)) if age_s < FULL_S else needs

    # --- after ------------------------------------------------------------------------------------------------

    def _filled(self, name: str, claim: Claim, error: NoSpace) -> NoSpace:
        with self._lock:
            self._full[name] = _Full(claim.usable_bytes, self._clock.monotonic(), claim.alone)
        if claim.usable_bytes is None:
            return error
        needs = max(claim.needs_bytes, more_than(claim.usable_bytes))
        return no_space(name, needs_bytes=needs, free_bytes=claim.usable_bytes)

    def _measure(self, name: str, claim: Claim, remote: RemoteImage | None) -> None:
        """How much the layers have grown that the pull has brought."""
        with self._lock:
            self._remote.pop(name, None)
            self._full.pop(name, None)
            self._refused.pop(name, None)
        if remote is None or not claim.missing:
            return
        pulled = self._engine.inspect_image(name)
        if layers_of(pulled) != tuple(layer.diff_id for layer in remote.layers):
            return
        sizes = self._disk.layer_sizes(str(pulled["Id"]))
        unpacked = unpacked_bytes(sizes, len(claim.missing), len(remote.layers))
        if unpacked is not None:
            compressed = sum(layer.size_bytes for layer in claim.missing)
            with self._lock:
                self._expansion = self._expansion.after(compressed_bytes=compressed, unpacked_bytes=unpacked)


def _full_unseen(name: str) -> NoSpace:
    cause = "no space left on device"
    return NoSpace(f"cannot pull image {name}: {cause}", cause=cause)
