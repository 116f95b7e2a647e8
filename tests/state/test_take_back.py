from __future__ import annotations

from typing import Any

import pytest

from balena_supervisor.model.service import Container, ServiceConfig
from balena_supervisor.model.target import ServiceKey
from balena_supervisor.state.image_lookup import EngineImage
from balena_supervisor.state.take_back import commits_of, images_of, keys_of

KEY, OTHER = "a" * 32, "b" * 32
USES_API = {"io.balena.features.supervisor-api": "1"}
DIGEST = "sha256:" + "0" * 64


def container(name: str = "web", *, labels: dict[str, str] | None = None, key: str = KEY, **fields: Any) -> Container:
    environment = {"BALENA_SUPERVISOR_API_KEY": key} if key else {}
    defaults: dict[str, Any] = {
        "container_id": "c1", "name": name, "app_id": 7, "app_uuid": "7", "service_id": 1, "service_name": name,
        "image_id": 2, "release_id": 3, "commit": "r1", "status": "Running", "created_at": "2026-01-01T00:00:00Z",
        "docker_image_id": "sha256:1",
        "config": ServiceConfig(labels=USES_API if labels is None else labels, environment=environment),
    }  # fmt: skip
    return Container(**{**defaults, **fields})


@pytest.mark.parametrize(
    ("containers", "keys"),
    [
        ([], []),
        ([container()], [KEY]),
        ([container(labels={})], []),
        ([container(labels={"io.balena.features.supervisor-api": "0"})], []),
        ([container(key="")], []),
        ([container(key="mine")], []),
        ([container(key="A" * 32)], []),
        ([container(status="exited")], [KEY]),
        ([container(), container(key=OTHER, container_id="c2", created_at="2026-01-02T00:00:00Z")], [OTHER]),
        ([container(key=OTHER, container_id="c2", created_at="2026-01-02T00:00:00Z"), container()], [OTHER]),
        ([container(), container(key=OTHER, status="exited", created_at="2026-01-02T00:00:00Z")], [KEY]),
        ([container(), container("db", key=OTHER)], [KEY, OTHER]),
    ],
)
def test_the_key_of_a_service_is_that_of_its_running_container(containers: list[Container], keys: list[str]) -> None:
    names = ("web", "db")
    assert keys_of(containers) == tuple(ServiceKey(7, name, key) for name, key in zip(names, keys, strict=False))


def test_a_key_under_the_old_name_counts_too() -> None:
    config = ServiceConfig(labels=USES_API, environment={"RESIN_SUPERVISOR_API_KEY": KEY})
    assert keys_of([container(config=config)]) == (ServiceKey(7, "web", KEY),)


@pytest.mark.parametrize(
    ("commits", "expected"), [([], {}), (["r1", "r1"], {7: "r1"}), (["r1", "r2"], {}), (["r1", ""], {}), ([""], {})]
)
def test_an_app_is_on_the_release_that_all_its_containers_have(commits: list[str], expected: dict[int, str]) -> None:
    assert commits_of([container(commit=commit) for commit in commits]) == expected


@pytest.mark.parametrize(
    ("tags", "digests", "name"),
    [
        (("a.io/web:1",), (), "a.io/web:1"),
        (("a.io/web:1",), (f"a.io/web@{DIGEST}",), "a.io/web:1"),
        (("a.io/web:latest",), (f"a.io/web@{DIGEST}",), f"a.io/web@{DIGEST}"),
        (("web:latest",), (), "web:latest"),
        ((), (), "sha256:1"),
    ],
)
def test_an_image_gets_the_name_that_a_target_most_likely_has(
    tags: tuple[str, ...], digests: tuple[str, ...], name: str
) -> None:
    image = EngineImage(id="sha256:1", tags=tags, digests=digests)
    ((row, image_id),) = images_of([container()], [image])
    assert (row.name, image_id) == (name, "sha256:1")
    assert (row.app_id, row.service_name, row.image_id, row.release_id, row.commit) == (7, "web", 2, 3, "r1")


def test_an_image_that_the_engine_does_not_have_gets_no_row() -> None:
    assert images_of([container()], [EngineImage(id="sha256:2")]) == ()
