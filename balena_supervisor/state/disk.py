"""How much room an image takes on the disk of the engine, and how much of the disk is to be had for images."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import msgspec

from balena_supervisor.errors import NoSpace
from balena_supervisor.model.image import DiskSpace, RemoteImage, RemoteLayer

MB = 1_000_000
#: A layer of programs packs to 35 to 50 % of its size, so this is on the careful side. It is soon replaced by what is
#: measured: a figure that is too great only matters for the first images on a disk that is nearly full.
START_EXPANSION = 2.5
#: how many compressed bytes the start value counts for, and after how many older measures fade
START_WEIGHT_BYTES = 5 * MB
FADE_BYTES = 500 * MB
#: What images never take: the database and the writable layers, logs and volumes of the apps need room too, and an
#: engine writes a layer compressed before it unpacks it.
RESERVE_SHARE = 0.05
RESERVE_LEAST_BYTES = 16 * MB
RESERVE_MOST_BYTES = 256 * MB


class Expansion(msgspec.Struct, frozen=True, kw_only=True):
    """By how much layers grow when they are unpacked, measured on the images that this engine has pulled."""

    compressed_bytes: float = START_WEIGHT_BYTES
    unpacked_bytes: float = START_WEIGHT_BYTES * START_EXPANSION

    @property
    def factor(self) -> float:
        return self.unpacked_bytes / self.compressed_bytes

    def after(self, *, compressed_bytes: int, unpacked_bytes: int) -> Expansion:
        """With one more measure. Sums of nothing tell nothing."""
        if compressed_bytes <= 0 or unpacked_bytes <= 0:
            return self
        compressed = self.compressed_bytes + compressed_bytes
        fade = min(1.0, FADE_BYTES / compressed)
        return Expansion(
            compressed_bytes=compressed * fade, unpacked_bytes=(self.unpacked_bytes + unpacked_bytes) * fade
        )


def missing_layers(image: RemoteImage, chains: Iterable[Sequence[str]]) -> tuple[RemoteLayer, ...]:
    """The layers that a pull brings. ``chains`` are the digests of the layers of the images on the engine.

    A layer is kept on top of another, so it is only there when all that lie below it are the same, too.
    """
    present = max((_shared(image, chain) for chain in chains), default=0)
    return image.layers[present:]


def _shared(image: RemoteImage, chain: Sequence[str]) -> int:
    pairs = zip(image.layers, chain, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0].diff_id == pair[1], pairs))


def needed_bytes(layers: Iterable[RemoteLayer], expansion: Expansion) -> int:
    """What these layers will take on the disk."""
    return round(sum(layer.size_bytes for layer in layers) * expansion.factor)


def usable_bytes(space: DiskSpace, *, claimed_bytes: int) -> int:
    """What is to be had for another image. ``claimed_bytes`` is what the pulls under way will still write."""
    return max(0, space.free_bytes - reserve_bytes(space.total_bytes) - claimed_bytes)


def reserve_bytes(total_bytes: int) -> int:
    """What images leave of a disk of that size."""
    return round(min(max(total_bytes * RESERVE_SHARE, RESERVE_LEAST_BYTES), RESERVE_MOST_BYTES))


def more_than(bytes_that_were_too_few: int) -> int:
    """What an image is taken to need for which so much was not enough, whatever its manifest lets expect."""
    return bytes_that_were_too_few + bytes_that_were_too_few // 10 + MB


def unpacked_bytes(sizes: Sequence[int], new_layers: int, all_layers: int) -> int | None:
    """What the upper ``new_layers`` of an image take on the engine.

    ``sizes`` is its history from the lowest entry to the top. Entries that only changed the configuration have no
    layer and the size 0; None when it cannot be told which these are.
    """
    filled = [size for size in sizes if size] if len(sizes) != all_layers else list(sizes)
    if len(filled) != all_layers:
        return None
    return sum(filled[all_layers - new_layers :])


def no_space(name: str, *, needs_bytes: int, free_bytes: int) -> NoSpace:
    """The reason for which an image waits. Rounded so that it always needs more than is free."""
    cause = f"needs {-(-needs_bytes // MB)} MB, {free_bytes // MB} MB free"
    return NoSpace(f"cannot pull image {name}: {cause}", cause=cause, needs_bytes=needs_bytes, free_bytes=free_bytes)
