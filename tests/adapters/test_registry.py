"""What is asked of a registry before a pull, and what comes of strange answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from balena_supervisor.adapters.registry import LOOKUP_S, MOST_BYTES, Login, remote_image
from balena_supervisor.model.image import Platform, RemoteImage, RemoteLayer
from tests.fakes.ports import FakeClock
from tests.fakes.registry import INDEX, FakeRegistry, fake_registry

AMD64 = Platform(architecture="amd64")
LOGIN = ("d_1234", "key")
LAYERS = {"sha256:a": 10, "sha256:b": 20}
IMAGE = RemoteImage(layers=tuple(RemoteLayer(diff_id=name, size_bytes=size) for name, size in LAYERS.items()))


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with fake_registry() as made:
        made.add("v2/app", "1", LAYERS)
        yield made


def ask(
    registry: FakeRegistry, reference: str = "1", *, platform: Platform = AMD64, login: Login | None = None, **more: Any
) -> RemoteImage | None:
    return remote_image(registry.address, "v2/app", reference, platform=platform, login=login, **more)


def test_the_layers_of_a_tag_are_told_with_their_sizes(registry: FakeRegistry) -> None:
    assert ask(registry) == IMAGE
    assert IMAGE.size_bytes == 30


def test_the_layers_of_a_digest_are_told(registry: FakeRegistry) -> None:
    assert ask(registry, registry.add("v2/app", "2", {"sha256:c": 5})) == RemoteImage(
        layers=(RemoteLayer(diff_id="sha256:c", size_bytes=5),)
    )


@pytest.mark.parametrize(
    ("platform", "layer"),
    [
        (Platform(architecture="amd64"), "amd64"),
        (Platform(architecture="arm64"), "arm64"),
        (Platform(architecture="arm", variant="v7"), "armv7"),
        (Platform(architecture="arm", variant="v6"), "armv6"),
        (Platform(architecture="riscv64"), ""),
        (Platform(architecture="arm", variant="v5"), ""),
    ],
    ids=["amd64", "arm64 whose entry names a variant", "armv7", "armv6", "not offered", "an arm that is too old"],
)
def test_of_an_index_the_image_for_the_engine_is_taken(registry: FakeRegistry, platform: Platform, layer: str) -> None:
    offered = [
        ("unknown", "unknown", ""),
        ("windows", "amd64", ""),
        ("linux", "arm", "v6"),
        ("linux", "arm", "v7"),
        ("linux", "arm64", "v8"),
        ("linux", "amd64", ""),
    ]
    entries = []
    for system, architecture, variant in offered:
        name = f"{system}-{architecture}{variant}".replace("linux-", "").replace("arm64v8", "arm64")
        digest = registry.add("v2/app", f"for-{name}", {name: 7})
        words = {"os": system, "architecture": architecture} | ({"variant": variant} if variant else {})
        entries.append({"digest": digest, "size": 1, "platform": words})
    registry.add_manifest("v2/app", "all", {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})
    found = ask(registry, "all", platform=platform)
    assert [one.diff_id for one in (found.layers if found else ())] == ([layer] if layer else [])


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_a_registry_that_wants_a_login_gets_that_of_the_device(registry: FakeRegistry, auth: str) -> None:
    registry.auth, registry.login = auth, LOGIN
    assert ask(registry, login=LOGIN) == IMAGE
    assert ask(registry, login=("d_1234", "wrong")) is None
    assert ask(registry) is None


def test_a_token_is_had_without_a_login_where_that_is_enough(registry: FakeRegistry) -> None:
    registry.auth = "bearer"
    assert ask(registry) == IMAGE


def test_blobs_may_be_somewhere_else_where_the_login_is_not_told(registry: FakeRegistry) -> None:
    with fake_registry() as store:
        store.content = dict(registry.content)
        registry.auth, registry.login, registry.redirect = "basic", LOGIN, f"http://localhost:{store.address[10:]}"
        assert ask(registry, login=LOGIN) == IMAGE
        assert [authorization for _, authorization in store.asked] == [""]


def _deep() -> bytes:
    return b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b"{}"),
        (500, b"{}"),
        (200, b""),
        (200, b"<html>"),
        (200, b"[]"),
        (200, b"{}"),
        (200, b"null"),
        (200, _deep()),
        (200, b'{"config": {"digest": "sha256:unknown"}, "layers": []}'),
        (200, b'{"config": {"digest": 7}, "layers": []}'),
        (200, b'{"config": {"digest": "x"}, "layers": [{"digest": "a", "size": "big"}]}'),
        (200, b'{"manifests": [{"digest": "sha256:unknown", "platform": {"os": "linux", "architecture": "amd64"}}]}'),
        (200, b'{"schemaVersion": 1, "fsLayers": [{"blobSum": "sha256:a"}]}'),
        (200, b" " * (MOST_BYTES + 1)),
        (401, b""),
    ],
)
def test_a_strange_manifest_means_that_nothing_is_known(registry: FakeRegistry, status: int, body: bytes) -> None:
    registry.content["v2/app/manifests/1"] = (status, body)
    assert ask(registry) is None


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"rootfs": {}},
        {"rootfs": {"diff_ids": ["sha256:a"]}},
        {"rootfs": {"diff_ids": [1, 2]}},
        [],
    ],
)
def test_a_strange_configuration_means_that_nothing_is_known(registry: FakeRegistry, config: Any) -> None:
    digest = registry.add_blob("v2/app", json.dumps(config))
    registry.add("v2/app", "strange", LAYERS, config={"digest": digest})
    assert ask(registry, "strange") is None


def test_sizes_below_nothing_are_not_believed(registry: FakeRegistry) -> None:
    registry.add("v2/app", "strange", {"sha256:a": -5})
    assert ask(registry, "strange") is None


def test_nobody_at_the_address_means_that_nothing_is_known(registry: FakeRegistry) -> None:
    registry.address = "127.0.0.1:1"
    assert ask(registry) is None


@pytest.mark.parametrize("host", ["[", "127.0.0.1:port", "localhost:99999", "127.0.0.1:1/x?y"])
def test_a_name_that_leads_nowhere_means_that_nothing_is_known(host: str) -> None:
    assert remote_image(host, "v2/app", "1", platform=AMD64) is None


def test_a_registry_that_takes_too_long_is_given_up(registry: FakeRegistry) -> None:
    class Running(FakeClock):
        def monotonic(self) -> float:
            self.advance(LOOKUP_S)
            return super().monotonic()

    assert ask(registry, clock=Running()) is None
