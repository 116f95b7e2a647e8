from __future__ import annotations

import pytest

from balena_supervisor.actors.container_picture import ContainerPicture
from balena_supervisor.model.service import Container


def container(container_id: str, status: str = "Running", service_name: str = "main") -> Container:
    return Container(
        container_id=container_id,
        name=f"{service_name}_1_1_a",
        app_id=1,
        app_uuid="aa",
        service_id=1,
        service_name=service_name,
        image_id=1,
        release_id=1,
        commit="a",
        status=status,
        created_at="2026",
    )


def statuses(picture: ContainerPicture) -> dict[str, str]:
    return {one.container_id: one.status for one in picture.containers()}


def test_a_look_that_began_later_counts_whenever_it_arrives() -> None:
    picture = ContainerPicture()
    assert picture.show(2, "x", container("x", "exited"))
    assert not picture.show(1, "x", container("x", "Running"))
    assert statuses(picture) == {"x": "exited"}


def test_an_equal_look_is_no_change() -> None:
    picture = ContainerPicture()
    picture.show(1, "x", container("x"))
    assert not picture.show(2, "x", container("x"))


def test_an_old_answer_does_not_bring_back_what_is_gone() -> None:
    picture = ContainerPicture()
    picture.show(1, "x", container("x"))
    assert picture.show(3, "x", None)
    assert not picture.show(2, "x", container("x"))
    assert statuses(picture) == {}
    assert "x" not in picture


def test_what_a_listing_does_not_have_is_gone() -> None:
    picture = ContainerPicture()
    picture.show(1, "x", container("x"))
    assert picture.show_all(2, [container("y")])
    assert statuses(picture) == {"y": "Running"}


@pytest.mark.parametrize("listed", [[], [container("x", "Installed")]])
def test_a_listing_that_began_before_a_look_does_not_undo_it(listed: list[Container]) -> None:
    picture = ContainerPicture()
    picture.show(5, "x", container("x"))
    assert not picture.show_all(4, listed)
    assert statuses(picture) == {"x": "Running"}


def test_containers_stand_in_a_stable_order() -> None:
    picture = ContainerPicture()
    for name in ("c", "a", "b"):
        picture.show(1, name, container(name, service_name=name))
    assert [one.service_name for one in picture.of_app(1)] == ["a", "b", "c"]
    assert picture.of_app(2) == ()
