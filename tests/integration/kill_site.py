"""A whole supervisor behind a gate, with an app of three services that goes to and fro between two releases.

One supervisor serves many tests, since each of them only needs the next update. Whoever is killed meanwhile is
started again by root or, when all were killed, by :meth:`KillSite.update`.
"""

from __future__ import annotations

import os
import shutil
import signal
import tarfile
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import docker
from docker.errors import NotFound

from balena_supervisor.adapters.lock_files import NAMES
from balena_supervisor.model.lock import lock_folder
from tests.integration.conftest import MakeImage, TestedSupervisor
from tests.integration.engine_gate import Call, EngineGate, Hook
from tests.integration.targets import commit_of, target
from tests.integration.test_app import containers
from tests.runtime.toy_supervisor import alive, wait_until
from tools.dev_parts import labelled
from tools.dev_parts.registry import free_port

WHOLE = "nursery"
ACTORS = ("containers", "planner", "images", "resources", "target-state", "host-config", "http", "root")
SERVICES = ("db", "web", "job")
#: what the services do, by the role that they are given
SCRIPT = """\
case $ROLE in
db) echo "$RELEASE" >> /data/log ;;
web) : > /tmp/balena/handover-complete ;;
guard) : > /tmp/balena/updates.lock ;;
esac
while :; do busybox sleep 1000 & wait $!; done
"""
_HAND_OVER = {"io.balena.update.strategy": "hand-over", "io.balena.update.handover-timeout": "60000"}


class KillSite:
    """``release`` is the one that the app is on. Everything it has on the engine carries ``instance``."""

    def __init__(self, engine: docker.APIClient, engine_url: str, folder: Path) -> None:
        self.engine = engine
        self.instance = f"test-{uuid.uuid4().hex[:12]}"
        self.app_id = 1_000_000 + uuid.uuid4().int % 1_000_000_000
        self.release = ""
        self.images: dict[str, tuple[str, str]] = {}
        self.gate = EngineGate(engine_url, folder / "gate.sock")
        self.supervisor = TestedSupervisor(
            folder / "sv", folder / "run", engine_url=self.gate.url, instance=self.instance, port=free_port()
        )
        #: what the volume held when it was looked at last
        self.known_lines: list[str] = []

    # --- what it is told --------------------------------------------------------------------------------------

    def body(self, release: str) -> dict[str, Any]:
        """The target of a release that differs in everything from the other one."""
        store, main = self.images[release]
        own: dict[str, Any] = {"front": {}, f"net-{release}": {}}
        services: dict[str, dict[str, Any]] = {
            "db": {"image": store, "volumes": ["data:/data"], "networks": ["front"]},
            "web": {"image": main, "depends_on": ["db"], "labels": _HAND_OVER, "networks": ["front"]},
            "job": {"image": main, "depends_on": ["db"], "networks": [f"net-{release}"]},
        }
        for name, fields in services.items():
            fields["environment"] = {"ROLE": name, "RELEASE": release}
        return target(self.app_id, services, volumes={"data": {}}, networks=own, release=release)

    def update(self, *hooks: Hook, pulls: bool = True, then: Callable[[], object] = lambda: None) -> None:
        """Go to the other release, while the hooks do what they are there for, and see that all is well at the end.
        Without ``pulls`` its images are there already, from an update before."""
        self.release = "b" if self.release == "a" else "a"
        with self.telling():
            if pulls:
                self.forget_images(self.release)
            try:
                self.supervisor.post_target(self.body(self.release))
            except OSError:
                # a target is acted on when it is stored: whoever is killed then may not have answered yet
                if not any(hook.reached.is_set() for hook in hooks):
                    raise
            self.end_well(*hooks)
            then()
        self.gate.forget()

    def end_well(self, *hooks: Hook, begun_anew: bool = True) -> None:
        """Once the hooks have done what they were there for, all becomes as the release says. ``begun_anew``: each
        service was started at least once since the last time."""
        for hook in hooks:
            hook.wait()
        self.restart_if_killed()
        self.wait_until_settled()
        self.check(begun_anew=begun_anew)

    @contextmanager
    def telling(self) -> Iterator[None]:
        """A failure shows the end of what the supervisor said."""
        try:
            yield
        except BaseException as error:
            lines = self.supervisor.program.tail(4000).splitlines()
            error.add_note("\n".join([line for line in lines if "GET /v2/state/status 200" not in line][-80:]))
            raise

    def restart_if_killed(self) -> None:
        if not alive(self.supervisor.program.pid() or 0):
            self.supervisor.stop()
            self.supervisor.start()

    def wait_until_settled(self) -> None:
        commit = commit_of(self.app_id, self.release)

        def settled(status: dict[str, Any]) -> bool:
            states = {c["serviceName"]: c["status"] for c in status["containers"] if c["appId"] == self.app_id}
            all_run = states == dict.fromkeys(SERVICES, "Running")
            return all_run and status.get("release") == commit and status["appState"] == "applied"

        self.supervisor.api.wait_until(settled, timeout_s=60)

    def forget_images(self, release: str) -> None:
        """Have them pulled again the next time: in local mode images are not cleaned up."""
        for name in self.images[release]:
            with suppress(NotFound):
                self.engine.remove_image(name)

        def gone(status: dict[str, Any]) -> bool:
            return not {image["name"] for image in status["images"]} & set(self.images[release])

        self.supervisor.api.wait_until(gone)

    # --- killing ----------------------------------------------------------------------------------------------

    def pids(self) -> dict[str, int]:
        """All processes, once all of them run."""

        def found() -> dict[str, int]:
            with suppress(OSError):
                actors = self.supervisor.api.get("/debug/actors?memory=0")["actors"]
                if all(actor["state"] == "running" for actor in actors):
                    return {actor["name"]: actor["pid"] for actor in actors}
            return {}

        return wait_until(found, "all actors run")

    def killing(self, victim: str) -> Callable[[Call], None]:
        """What kills the process that the victim has now, and waits until it is dead, and all that die with it."""
        pids = self.pids()
        dying = [pids[victim]]
        if victim in {"root", WHOLE}:
            dying = [pid for name, pid in pids.items() if name != WHOLE or victim == WHOLE]

        def kill(_: Call) -> None:
            os.kill(pids[victim], signal.SIGKILL)
            wait_until(lambda: not any(map(alive, dying)), f"{victim} is dead")

        return kill

    # --- what must be so --------------------------------------------------------------------------------------

    def check(self, *, begun_anew: bool) -> None:
        """Exactly what the release has, no matter what happened on the way."""
        mine = {"label": [f"io.balena.supervisor.instance={self.instance}", f"io.balena.app-id={self.app_id}"]}
        listed = self.engine.containers(all=True, filters=mine)
        store, main = (self._image_id(name) for name in self.images[self.release])
        _expect(
            sorted((entry["Names"][0].split("_")[0], entry["State"], entry["ImageID"]) for entry in listed),
            sorted((f"/{name}", "running", store if name == "db" else main) for name in SERVICES),
        )
        for name, found in self.containers().items():
            _expect((name, found["HostConfig"]["RestartPolicy"]["Name"]), (name, "always"))
            _expect([text for text in found["Config"]["Env"] if "RELEASE" in text], [f"RELEASE={self.release}"])
        networks = [network["Name"].partition("_")[2] for network in self.engine.networks(filters=mine)]
        _expect(sorted(networks), ["default", "front", f"net-{self.release}"])
        _expect(self.volumes(), [f"{self.app_id}_data"])
        _expect(self.locks(), [])
        _expect(self.supervisor.api.get("/debug/dead-letters")["dead_letters"], [])
        # the last, as it takes note: whoever checks until all is well looks again after any of the others
        self.check_volume(begun_anew=begun_anew)

    def containers(self) -> dict[str, dict[str, Any]]:
        """Name of the service -> inspect, of the app."""
        found = containers(self.engine, self.instance)
        own = str(self.app_id)
        return {name: one for name, one in found.items() if one["Config"]["Labels"]["io.balena.app-id"] == own}

    def volumes(self) -> list[str]:
        label = {"label": f"io.balena.supervisor.instance={self.instance}"}
        names = [volume["Name"] for volume in self.engine.volumes(filters=label)["Volumes"] or ()]
        return [name for name in names if name.startswith(f"{self.app_id}_")]

    def check_volume(self, *, begun_anew: bool) -> None:
        """What was in the volume before is there, and each start of the service that uses it has added a line."""
        lines = self.lines()
        added = lines[len(self.known_lines) :]
        _expect((lines[: len(self.known_lines)], set(added) <= {self.release}), (self.known_lines, True))
        _expect(bool(added) or not begun_anew, True)
        self.known_lines = lines

    def lines(self) -> list[str]:
        """What is in the volume now."""
        parts, _ = self.engine.get_archive(self.containers()["db"]["Id"], "/data/log")
        with tarfile.open(fileobj=BytesIO(b"".join(parts))) as archive:
            member = archive.extractfile("log")
            assert member is not None
            return member.read().decode().split()

    def mark(self) -> str:
        """Write a new line into the volume, and return it."""
        line = uuid.uuid4().hex
        command = ["busybox", "sh", "-c", f"echo {line} >> /data/log"]
        made = self.engine.exec_create(self.containers()["db"]["Id"], command)
        self.engine.exec_start(made["Id"])
        self.known_lines = self.lines()
        _expect(self.known_lines[-1], line)
        return line

    def locks(self) -> list[str]:
        """The lock files of the app, by whomever."""
        folder = Path(lock_folder(self.instance)) / str(self.app_id)
        return sorted(str(path) for path in folder.rglob("*.lock") if path.name in NAMES)

    def _image_id(self, name: str) -> str:
        return str(self.engine.inspect_image(name)["Id"])  # type: ignore[no-untyped-call]  # types-docker lacks it

    def close(self) -> None:
        self.supervisor.stop()
        self.gate.close()
        labelled.remove_all(self.engine, self.instance)
        labelled.remove_lock_folders(self.instance)
        for name in (name for names in self.images.values() for name in names):
            with suppress(NotFound):
                self.engine.remove_image(name, force=True)


def _expect(found: object, wanted: object) -> None:
    if found != wanted:
        raise AssertionError(f"found {found}, not {wanted}")


@contextmanager
def kill_site(engine: docker.APIClient, engine_url: str, make_image: MakeImage) -> Iterator[KillSite]:
    """A site on release ``a``."""
    folder = Path(tempfile.mkdtemp(prefix="ks"))
    (folder / "run").mkdir()
    site = KillSite(engine, engine_url, folder)
    try:
        site.images = {release: (make_image(SCRIPT), make_image(SCRIPT)) for release in "ab"}
        site.supervisor.start()
        site.update()
        yield site
    finally:
        site.close()
        shutil.rmtree(folder, ignore_errors=True)
