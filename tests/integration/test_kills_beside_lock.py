"""Whoever is killed while a user holds the lock of an app: nothing of that app is stopped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from balena_supervisor.model.lock import lock_folder
from tests.integration.conftest import MakeImage
from tests.integration.engine_gate import Call
from tests.integration.kill_site import ACTORS, SCRIPT, WHOLE, KillSite, kill_site
from tests.integration.targets import target
from tests.runtime.toy_supervisor import wait_until

pytestmark = [pytest.mark.engine, pytest.mark.root]

KILLED = (*ACTORS, "http-arbiter", WHOLE)


class Guarded:
    """A second app beside that of the site. Its only service makes a lock as soon as it runs."""

    def __init__(self, site: KillSite, image: str) -> None:
        self.site = site
        self.app_id = site.app_id + 1
        self.number = 0
        self._image = image
        self._passed: list[Call] = []
        self.update()
        wait_until(self.lock.exists, "the lock")
        wait_until(lambda: self.site.supervisor.api.status()["appState"] == "applied", "all is applied")
        self.before = self.container()

    @property
    def lock(self) -> Path:
        return Path(lock_folder(self.site.instance)) / str(self.app_id) / "guard/updates.lock"

    def update(self, victim: str = "") -> None:
        """Both apps go to another release, as far as they can, and the victim is killed when the first one starts
        its second service."""
        site = self.site
        left, site.release = site.release, "b" if site.release == "a" else "a"
        self.number += 1
        body = site.body(site.release)
        fields = {"image": self._image, "environment": {"ROLE": "guard", "RELEASE": str(self.number)}}
        body["local"]["apps"] |= target(self.app_id, {"guard": fields}, release=f"guard{self.number}")["local"]["apps"]
        hooks = [site.gate.hook("POST /containers/*/start", 2, "after", site.killing(victim))] if victim else []
        with site.telling():
            site.supervisor.post_target(body)
            for hook in hooks:
                hook.wait()
            site.restart_if_killed()
            wait_until(self.site_is_well, "the other app is on its release", timeout_s=60)
            site.forget_images(left)
        self._passed += site.gate.calls()
        site.gate.forget()

    def site_is_well(self) -> bool:
        try:
            self.site.check(begun_anew=True)
        except (AssertionError, OSError, KeyError):
            return False
        return True

    def container(self) -> dict[str, Any]:
        label = {"label": f"io.balena.app-id={self.app_id}"}
        (listed,) = self.site.engine.containers(all=True, filters=label)
        found: dict[str, Any] = self.site.engine.inspect_container(listed["Id"])
        return found

    def touched(self) -> list[Call]:
        """Changing calls for its first container, but for those that have made it."""
        own = f"/containers/{self.before['Id']}"
        return [call for call in self._passed if call.path.startswith(own) and call.path != f"{own}/start"]

    def locks_in_why(self) -> list[dict[str, Any]]:
        apps = self.site.supervisor.api.get("/v2/state/why")["apps"]
        return [lock for app in apps if app["appId"] == self.app_id for lock in app["locks"]]


@pytest.fixture(scope="module")
def guarded(engine: docker.APIClient, engine_url: str, make_image: MakeImage) -> Iterator[Guarded]:
    with kill_site(engine, engine_url, make_image) as site:
        yield Guarded(site, make_image(SCRIPT))


@pytest.mark.parametrize("victim", KILLED)
def test_an_app_whose_lock_a_user_holds_is_never_stopped(guarded: Guarded, victim: str) -> None:
    guarded.update(victim)
    now = guarded.container()
    assert (now["Id"], now["State"], now["Name"]) == tuple(guarded.before[key] for key in ("Id", "State", "Name"))
    assert guarded.touched() == []
    assert guarded.lock.stat().st_uid == 0
    wait_until(guarded.locks_in_why, "why tells of the lock")
    (lock,) = guarded.locks_in_why()
    assert (lock["holder"], lock["path"]) == ("user", str(guarded.lock))
    assert 0 <= lock["ageSeconds"] < 3600


def test_it_is_updated_when_the_user_has_removed_the_lock(guarded: Guarded) -> None:
    guarded.update()
    guarded.lock.unlink()
    wait_until(lambda: guarded.site.supervisor.api.status()["appState"] == "applied", "all is applied", timeout_s=60)
    assert f"RELEASE={guarded.number}" in guarded.container()["Config"]["Env"]
