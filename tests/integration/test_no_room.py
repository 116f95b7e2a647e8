"""The disk of the engine is too small for an image: it waits with its reason, and all else goes on."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import TestedSupervisor
from tests.integration.small_engine import SmallEngine, small_engine
from tests.integration.targets import no_apps, target
from tools.dev_parts import labelled
from tools.dev_parts.registry import free_port

pytestmark = [pytest.mark.engine, pytest.mark.root]
_BIG = 88001
_SMALL = 88002
_BIG_BYTES = 25_000_000
_REASON = re.compile(r"needs (\d+) MB, (\d+) MB free")


@dataclass(frozen=True)
class Site:
    supervisor: TestedSupervisor
    engine: SmallEngine

    def post(self, **images: str) -> None:
        """Two apps of one service each."""
        apps: dict[str, Any] = {}
        for app_id, service in ((_BIG, "big"), (_SMALL, "small")):
            body = target(app_id, {service: {"image": images[service], "imageId": app_id}})
            app = body["local"]["apps"][str(app_id)]
            apps[str(app_id)] = {**app, "services": {str(app_id): app["services"]["1"]}}
        self.supervisor.post_target({"local": {"name": "tested", "config": {}, "apps": apps}})

    def wait_for_room(self) -> tuple[int, int]:
        """Until the big app waits for room: how much it needs and how much there is, in MB."""
        status = self.supervisor.api.wait_until(lambda status: bool(_reasons(status)), 60)
        return _reasons(status)[0]

    def wait_until_running(self, *services: str) -> None:
        """The status tells of one app only, so each is asked for."""
        self.supervisor.api.wait_until(
            lambda _: all(self.service(name).get("status") == "Running" for name in services), 60
        )

    def service(self, name: str) -> dict[str, Any]:
        """What the state of all apps says of it; empty when it is not there yet."""
        apps: dict[str, Any] = self.supervisor.api.get("/v2/applications/state")
        services = {name: state for app in apps.values() for name, state in app["services"].items()}
        found: dict[str, Any] = services.get(name, {})
        return found


def _reasons(status: dict[str, Any]) -> list[tuple[int, int]]:
    found = [_REASON.search(entry["reason"]) for entry in status["waiting"] if entry.get("serviceName") == "big"]
    return [(int(match[1]), int(match[2])) for match in found if match is not None]


@pytest.fixture(scope="module")
def engine_with_a_small_disk() -> Iterator[SmallEngine]:
    with small_engine() as made:
        yield made


@pytest.fixture(scope="module")
def big(engine_with_a_small_disk: SmallEngine) -> str:
    return engine_with_a_small_disk.image("big", size=_BIG_BYTES)


@pytest.fixture(scope="module")
def small(engine_with_a_small_disk: SmallEngine) -> str:
    return engine_with_a_small_disk.image("small", size=100_000)


@pytest.fixture
def site(engine_with_a_small_disk: SmallEngine, tmp_path: Path, run_dir: Path) -> Iterator[Site]:
    engine = engine_with_a_small_disk
    tested = TestedSupervisor(
        tmp_path / "supervisor", run_dir, engine_url=engine.url, instance="small", port=free_port()
    )
    tested.start({"DATA_MOUNTPOINT": str(engine.data)})
    yield Site(tested, engine)
    engine.free()
    tested.post_target(no_apps())
    tested.api.wait_until(lambda status: status["appState"] == "applied" and not status["containers"], 60)
    tested.stop()
    labelled.remove_lock_folders("small")
    engine.forget_images()
    lines = tested.program.tail(4000).splitlines()
    sys.stdout.write("\n".join(line for line in lines if "GET /v" not in line))


def test_an_image_that_does_not_fit_waits_while_another_app_is_updated_and_goes_on_by_itself(
    site: Site, big: str, small: str
) -> None:
    site.engine.show_registry()
    site.engine.fill(leave_mb=50)
    site.post(big=big, small=small)
    needs, free = site.wait_for_room()
    assert _BIG_BYTES / 1_000_000 < needs < 4 * _BIG_BYTES / 1_000_000
    assert free < needs
    site.wait_until_running("small")
    site.wait_for_room()
    site.engine.free()
    site.wait_until_running("big", "small")
    pulls = [one for one in site.supervisor.api.status()["decisions"] if one["step"] == f"pull {big}"]
    assert pulls[-1]["outcome"] == "done"
    assert [one for one in pulls[:-1] if one.get("error") and not _REASON.search(one["error"])] == []


def test_a_disk_that_a_pull_has_filled_is_named_as_the_reason_and_made_room_on_later(
    site: Site, big: str, small: str
) -> None:
    """The registry does not answer the supervisor, so the size of the image is not known before."""
    site.engine.hide_registry()
    site.engine.fill(leave_mb=20)
    site.post(big=big, small=small)
    needs, free = site.wait_for_room()
    assert needs > free
    site.wait_until_running("small")
    site.engine.free()
    site.wait_until_running("big", "small")
