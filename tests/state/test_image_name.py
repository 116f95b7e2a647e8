from __future__ import annotations

import pytest

from balena_supervisor.errors import InvalidValue
from balena_supervisor.state import image_name
from balena_supervisor.state.image_name import ImageName

D = "sha256:" + "1" * 64
OTHER = "sha256:" + "2" * 64


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("alpine", ImageName("", "alpine")),
        ("alpine:3", ImageName("", "alpine", "3")),
        ("library/alpine", ImageName("", "library/alpine")),
        ("localhost/a", ImageName("localhost", "a")),
        ("localhost", ImageName("", "localhost")),
        ("localhost:5000/a:1", ImageName("localhost:5000", "a", "1")),
        ("a.io/x/y", ImageName("a.io", "x/y")),
        ("a.io/x/y:1", ImageName("a.io", "x/y", "1")),
        (f"a.io/x/y:1@{D}", ImageName("a.io", "x/y", "1", D)),
        (f"a.io/x/y@{D}", ImageName("a.io", "x/y", None, D)),
        ("x.y:1", ImageName("", "x.y", "1")),
    ],
)
def test_a_name_is_taken_apart(name: str, expected: ImageName) -> None:
    assert image_name.parse(name) == expected


@pytest.mark.parametrize(
    "name",
    ["", " ", ":", "@", "/", "a/", "a:", ":1", "a@", "a@sha256:12", f"a@{D}x", f"@{D}", "a b", "a:1:2", "a//b", "a\n",
     "a.io/", "a:b/", "a/b:c/d", "a@sha256:" + "g" * 64],
)  # fmt: skip
def test_what_is_no_image_name_is_refused_with_its_text(name: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        image_name.parse(name)
    assert f"Could not parse the image: {name}" in caught.value.message


@pytest.mark.parametrize(
    ("name", "normal", "target", "with_tag"),
    [
        ("a.io/x/y", "a.io/x/y:latest", ("a.io/x/y", "latest"), "a.io/x/y:latest"),
        ("a.io/x/y:1", "a.io/x/y:1", ("a.io/x/y", "1"), "a.io/x/y:1"),
        (f"a.io/x/y:1@{D}", f"a.io/x/y@{D}", ("a.io/x/y", "1"), "a.io/x/y:1"),
        (f"a.io/x/y@{D}", f"a.io/x/y@{D}", ("a.io/x/y", None), "a.io/x/y:latest"),
        ("x", "x:latest", ("x", "latest"), "x:latest"),
    ],
)
def test_the_forms_of_a_name(name: str, normal: str, target: tuple[str, str | None], with_tag: str) -> None:
    assert image_name.normalise(name) == normal
    assert image_name.normalise(normal) == normal
    assert image_name.tag_target(name) == target
    assert image_name.name_with_tag(name) == with_tag


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("a:1", "a:1", True),
        ("a:1", "a:2", False),
        (f"a.io/a@{D}", f"b.io/b@{D}", True),
        (f"a@{D}", f"a@{OTHER}", False),
        (f"a@{D}", "a:latest", False),
        ("", "", True),
        ("a", "b", False),
    ],
)
def test_images_are_the_same_by_name_or_digest(one: str, other: str, same: bool) -> None:
    assert image_name.same_image(one, other) is same
    assert image_name.same_image(other, one) is same
