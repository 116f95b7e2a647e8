"""How much room an image needs, and how much there is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balena_supervisor.model.image import DiskSpace, RemoteImage, RemoteLayer
from balena_supervisor.state.disk import (
    MB,
    START_EXPANSION,
    Expansion,
    missing_layers,
    more_than,
    needed_bytes,
    no_space,
    reserve_bytes,
    unpacked_bytes,
    usable_bytes,
)


def image(*layers: str) -> RemoteImage:
    return RemoteImage(layers=tuple(RemoteLayer(diff_id=name, size_bytes=10) for name in layers))


@pytest.mark.parametrize(
    ("chains", "missing"),
    [
        ([], "abc"),
        (["xyz"], "abc"),
        (["a"], "bc"),
        (["abx", "a"], "c"),
        (["abc"], ""),
        (["abcd"], ""),
        (["bc", "c"], "abc"),
        (["xbc"], "abc"),
        (["acb"], "bc"),
    ],
    ids=[
        "an empty engine",
        "nothing in common",
        "the base",
        "the longest counts",
        "all of it",
        "a taller image",
        "upper layers without what lies below",
        "another base below the same layers",
        "the same layers in another order",
    ],
)
def test_a_layer_is_there_only_with_all_that_lies_below_it(chains: list[str], missing: str) -> None:
    found = missing_layers(image(*"abc"), chains)
    assert "".join(layer.diff_id for layer in found) == missing


def test_a_first_image_is_taken_to_grow_by_the_start_value() -> None:
    layers = (RemoteLayer(diff_id="a", size_bytes=30 * MB), RemoteLayer(diff_id="b", size_bytes=10 * MB))
    assert needed_bytes(layers, Expansion()) == round(40 * MB * START_EXPANSION)


def test_what_is_measured_soon_counts_for_more_than_the_start_value() -> None:
    expansion = Expansion().after(compressed_bytes=50 * MB, unpacked_bytes=50 * MB)
    assert 1.0 < expansion.factor < 1.2


def test_later_measures_count_for_more_than_those_of_long_ago() -> None:
    expansion = Expansion()
    for _ in range(100):
        expansion = expansion.after(compressed_bytes=100 * MB, unpacked_bytes=100 * MB)
    for _ in range(10):
        expansion = expansion.after(compressed_bytes=100 * MB, unpacked_bytes=300 * MB)
    assert expansion.factor > 2.5


@pytest.mark.parametrize(("compressed", "unpacked"), [(0, 0), (0, 5), (5, 0), (-1, 5)])
def test_a_pull_that_brought_nothing_measures_nothing(compressed: int, unpacked: int) -> None:
    assert Expansion().after(compressed_bytes=compressed, unpacked_bytes=unpacked) == Expansion()


@given(st.lists(st.tuples(st.integers(1, 10**12), st.floats(1.0, 20.0)), max_size=50))
def test_the_factor_stays_between_what_was_measured(measures: list[tuple[int, float]]) -> None:
    expansion = Expansion()
    for compressed, factor in measures:
        expansion = expansion.after(compressed_bytes=compressed, unpacked_bytes=max(1, round(compressed * factor)))
    factors = [START_EXPANSION] + [max(1, round(c * f)) / c for c, f in measures]
    assert min(factors) * 0.999 <= expansion.factor <= max(factors) * 1.001


@pytest.mark.parametrize(
    ("total", "reserve"),
    [(64 * MB, 16 * MB), (1000 * MB, 50 * MB), (8000 * MB, 256 * MB), (500_000 * MB, 256 * MB)],
    ids=["a tiny disk", "a small disk", "an SD card", "a hard disk"],
)
def test_a_share_of_the_disk_is_left_alone_within_limits(total: int, reserve: int) -> None:
    assert reserve_bytes(total) == reserve


def test_neither_the_reserve_nor_what_other_pulls_will_write_is_to_be_had() -> None:
    space = DiskSpace(total_bytes=1000 * MB, free_bytes=300 * MB)
    assert usable_bytes(space, claimed_bytes=0) == 250 * MB
    assert usable_bytes(space, claimed_bytes=100 * MB) == 150 * MB
    assert usable_bytes(space, claimed_bytes=400 * MB) == 0


@given(st.integers(0, 10**13))
def test_what_was_not_enough_is_not_tried_again_for_a_byte_more(too_few: int) -> None:
    assert more_than(too_few) > too_few


@pytest.mark.parametrize(
    ("sizes", "new", "layers", "unpacked"),
    [
        ([5, 6, 7], 3, 3, 18),
        ([5, 6, 7], 1, 3, 7),
        ([0, 5, 0, 6, 7, 0], 2, 3, 13),
        ([5, 0, 7], 2, 3, 7),
        ([5, 0, 0], 1, 2, None),
        ([], 1, 1, None),
        ([5, 6], 0, 2, 0),
    ],
    ids=[
        "all are new",
        "one is new",
        "entries without a layer",
        "a layer without content",
        "a layer without content among entries without a layer",
        "no history",
        "nothing is new",
    ],
)
def test_what_new_layers_take_is_read_from_the_history(
    sizes: list[int], new: int, layers: int, unpacked: int | None
) -> None:
    assert unpacked_bytes(sizes, new, layers) == unpacked


@pytest.mark.parametrize(
    ("needs", "free", "text"),
    [
        (410 * MB, 120 * MB, "needs 410 MB, 120 MB free"),
        (120 * MB + 1, 120 * MB, "needs 121 MB, 120 MB free"),
        (1, 0, "needs 1 MB, 0 MB free"),
    ],
)
def test_the_reason_always_asks_for_more_than_is_free(needs: int, free: int, text: str) -> None:
    error = no_space("a.io/x:1", needs_bytes=needs, free_bytes=free)
    assert error.message == f"cannot pull image a.io/x:1: {text}"
    assert error.fields == {"cause": text, "needs_bytes": needs, "free_bytes": free}
    assert error.code == "no-space"
