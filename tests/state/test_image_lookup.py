from __future__ import annotations

import pytest

from balena_supervisor.model.image import ImageRef, ImageRow
from balena_supervisor.model.target import TargetApp, TargetService, TargetState
from balena_supervisor.state.image_lookup import (
    EngineImage,
    available_rows,
    cleanup_candidates,
    find_image,
    has_tag,
    image_from_listing,
    names_of_interest,
    names_to_remove,
)
from balena_supervisor.state.labels import INSTANCE

D1, D2 = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"


def image(name: str, *, tags: tuple[str, ...] = (), digests: tuple[str, ...] = ()) -> EngineImage:
    return EngineImage(id=name, tags=tags, digests=digests)


def row(number: int, name: str, docker_image_id: str | None = None) -> ImageRow:
    ref = ImageRef(
        name=name,
        app_id=1,
        app_uuid="aa",
        service_id=number,
        service_name=f"s{number}",
        image_id=number,
        release_id=1,
        commit="a",
    )
    return ImageRow(id=number, ref=ref, docker_image_id=docker_image_id)


@pytest.mark.parametrize(
    ("name", "images", "rows", "found"),
    [
        pytest.param("a.io/x:1", [image("A", tags=("a.io/x:1",))], [], "A", id="tag"),
        pytest.param("a.io/x", [image("A", tags=("a.io/x:latest",))], [], "A", id="default tag"),
        pytest.param("a.io/x:1", [image("A", tags=("a.io/x:2",))], [], None, id="another tag"),
        pytest.param("docker.io/library/x:1", [image("A", tags=("x:1",))], [], "A", id="official image"),
        pytest.param("docker.io/x/y:1", [image("A", tags=("x/y:1",))], [], "A", id="Docker Hub"),
        pytest.param("sha256:ab", [image("sha256:ab")], [], "sha256:ab", id="id"),
        pytest.param(f"a.io/x@{D1}", [image("A", digests=(f"a.io/x@{D1}",))], [], "A", id="digest"),
        pytest.param(f"a.io/x@{D1}", [image("A", digests=(f"b.io/y@{D1}",))], [], "A", id="digest kept elsewhere"),
        pytest.param(f"a.io/x@{D1}", [image("A", tags=("a.io/x:latest",))], [], "A", id="tag stands for a digest"),
        pytest.param(
            f"a.io/x@{D1}",
            [image("B", tags=("a.io/x:latest",), digests=(f"a.io/x@{D2}",))],
            [],
            None,
            id="the tag has moved on to another digest",
        ),
        pytest.param(f"a.io/x@{D1}", [image("A")], [row(1, f"b.io/y@{D1}", "A")], "A", id="row of the digest"),
        pytest.param("a.io/x:1", [image("A")], [row(1, "a.io/x:1", "A")], "A", id="row of the name"),
        pytest.param("a.io/x:1", [image("A")], [row(1, "a.io/x:1", "gone")], None, id="row whose image is gone"),
        pytest.param(
            "a.io/x:1",
            [image("A"), image("B", tags=("a.io/x:1",))],
            [row(1, "a.io/x:1", "A")],
            "B",
            id="a tag that has moved wins over the row",
        ),
        pytest.param("a.io/x:1", [image("A")], [row(1, "a.io/y:1", "A")], None, id="row of another name"),
        pytest.param("not a name", [image("A")], [], None, id="no name"),
        pytest.param("", [image("A")], [row(1, "", "A")], None, id="empty"),
    ],
)
def test_which_image_a_name_means(
    name: str, images: list[EngineImage], rows: list[ImageRow], found: str | None
) -> None:
    result = find_image(name, images, rows)
    assert (result.id if result else None) == found


@pytest.mark.parametrize(
    ("images", "available"),
    [
        ([], []),
        ([image("A")], [1]),
        ([image("Z", tags=("a.io/x:1",))], [1]),
        ([image("Z", digests=(f"c.io/z@{D1}",))], [2]),
        ([image("A"), image("Z", tags=("a.io/y:latest",))], [1, 2]),
    ],
)
def test_a_row_is_available_by_id_tag_or_digest(images: list[EngineImage], available: list[int]) -> None:
    rows = [row(1, "a.io/x:1", "A"), row(2, f"a.io/y@{D1}")]
    assert [one.id for one in available_rows(rows, images)] == available


@pytest.mark.parametrize(
    ("images", "others", "names"),
    [
        pytest.param([], [], (), id="nothing there"),
        pytest.param([image("A", tags=("a.io/x:1",))], [], ("a.io/x:1",), id="its tag"),
        pytest.param(
            [image("A", tags=("a.io/x:1",), digests=(f"a.io/x@{D1}",))],
            [],
            ("a.io/x:1", f"a.io/x@{D1}"),
            id="its tag, then its digest",
        ),
        pytest.param(
            [image("A", tags=("a.io/x:1", "a.io/x:2", "b.io/y:1"), digests=(f"a.io/x@{D1}",))],
            [],
            ("a.io/x:1",),
            id="no other tag, and no digest that another tag has",
        ),
        pytest.param(
            [image("A", tags=("a.io/x:1", "b.io/y:1"))], [row(2, "b.io/y:1", "A")], ("a.io/x:1",), id="shared image"
        ),
    ],
)
def test_names_by_which_a_tagged_image_is_removed(
    images: list[EngineImage], others: list[ImageRow], names: tuple[str, ...]
) -> None:
    assert names_to_remove(row(1, "a.io/x:1", "A"), images, others) == names


@pytest.mark.parametrize(
    ("images", "others", "names"),
    [
        pytest.param(
            [image("A", tags=("a.io/x:latest",), digests=(f"a.io/x@{D1}",))],
            [],
            ("a.io/x:latest", f"a.io/x@{D1}"),
            id="tags and digest",
        ),
        pytest.param(
            [
                image("A", digests=(f"a.io/x@{D1}",)),
                image("B", tags=("a.io/x:latest",), digests=(f"a.io/x@{D2}",)),
            ],
            [row(2, f"a.io/x@{D2}", "B")],
            (f"a.io/x@{D1}",),
            id="the tag is on the image of another row",
        ),
        pytest.param(
            [image("A", tags=("a.io/x:latest",), digests=(f"a.io/x@{D1}",))],
            [row(2, "a.io/x:latest", "A")],
            (f"a.io/x@{D1}",),
            id="another row means it by its tag",
        ),
    ],
)
def test_names_by_which_an_image_with_a_digest_is_removed(
    images: list[EngineImage], others: list[ImageRow], names: tuple[str, ...]
) -> None:
    assert names_to_remove(row(1, f"a.io/x@{D1}", "A"), images, others) == names


@pytest.mark.parametrize(
    ("own_image", "candidates"),
    [
        ("", ("dangling",)),
        ("balena/armv7-supervisor:v2", ("dangling", "older", "resin")),
        ("balena/armv7-supervisor:missing", ("dangling",)),
        ("a.io/x:1", ("dangling",)),
    ],
)
def test_what_is_cleaned_up(own_image: str, candidates: tuple[str, ...]) -> None:
    images = [
        image("dangling"),
        image("in a row"),
        image("digest only", digests=(f"a.io/y@{D1}",)),
        image("app", tags=("a.io/x:1",)),
        image("own", tags=("balena/armv7-supervisor:v2",)),
        image("older", tags=("balena/armv7-supervisor:v1",)),
        image("resin", tags=("resin/armv7-supervisor:v1",)),
    ]
    rows = [row(1, "a.io/z:1", "in a row")]
    assert cleanup_candidates(images, rows, own_image=own_image, instance="") == candidates


def test_an_instance_cleans_up_its_own_images_only() -> None:
    images = [EngineImage(id="mine", labels={INSTANCE: "me"}), EngineImage(id="theirs")]
    assert cleanup_candidates(images, [], own_image="", instance="me") == ("mine",)


def test_the_own_image_is_spared_even_when_it_has_lost_its_name_of_another_version() -> None:
    images = [image("own", tags=("balena/x:v2", "balena/x:v1"))]
    assert cleanup_candidates(images, [], own_image="balena/x:v2", instance="") == ()


def test_a_listing_without_names_reads_as_empty() -> None:
    entry = {"Id": "A", "RepoTags": ["<none>:<none>"], "RepoDigests": None, "Labels": None}
    assert image_from_listing(entry) == image("A")
    assert not has_tag(image_from_listing(entry), "a.io/x:1")


def test_names_of_interest_are_normalised_and_come_once() -> None:
    service = TargetService(
        service_name="s",
        service_id=1,
        image_id=1,
        image="a.io/x",
        app_id=1,
        app_uuid="aa",
        release_id=1,
        commit="a",
    )
    target = TargetState(apps=(TargetApp(app_id=1, app_uuid="aa", name="a", services=(service,)),))
    rows = [row(1, "a.io/x:latest"), row(2, f"a.io/y:1@{D1}"), row(3, ""), row(4, "no name")]
    assert names_of_interest(rows, target) == ("a.io/x:latest", f"a.io/y@{D1}")
