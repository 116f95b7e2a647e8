"""A device that is updated again and again: its releases, what kills its processes, and what it holds."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import docker

from tests.integration.conftest import TestedSupervisor
from tests.integration.targets import commit_of, target
from tests.runtime.toy_supervisor import alive, wait_until
from tools.bench_parts.memory import family, pss_of_family
from tools.dev_parts.labelled import LABEL

SERVICES = ("db", "web", "api", "job", "cache")
#: An actor's own death is the common case. The nursery and root live long enough in between to show what they hoard.
VICTIMS = (
    *("host-config", "target-state", "images", "containers", "resources", "planner", "http", "http-arbiter") * 4,
    *("root", "nursery"),
)
LIMIT_S = 90.0
#: so many readings of the memory in a row that are as near as this are what is really in use
_STEADY_READINGS = 25
_STEADY_MB = 0.3


@dataclass
class Releases:
    """One release after the other of an app with about five services, each a little different from the last.

    ``expected`` is what :func:`seen` must find once it is applied.
    """

    app_id: int
    images: list[str]
    random: Random
    number: int = 0
    services: dict[str, dict[str, Any]] = field(default_factory=dict)

    def next(self) -> dict[str, Any]:
        self.number += 1
        names = {1: SERVICES, 2: (*SERVICES, "extra")}.get(self.number % 3, SERVICES[:-1])
        before = self.services
        changed = set(names) if self.number % 4 == 1 else set(self.random.sample(names, 2))
        self.services = {
            name: self._service(name) if name in changed or name not in before else before[name] for name in names
        }
        self.services["job"] = {**self.services["job"], "networks": [f"net{self.number % 5}"]}
        self.services["web"] = {**self.services["web"], "depends_on": ["db"]}
        return target(
            self.app_id, self.services, volumes=self._volumes(), networks=self._networks(), release=self.release
        )

    @property
    def release(self) -> str:
        return f"r{self.number % 3}"

    @property
    def commit(self) -> str:
        return commit_of(self.app_id, self.release)

    def expected(self, image_ids: dict[str, str]) -> dict[str, Any]:
        services = {
            name: {
                "image": image_ids[fields["image"]],
                "update": fields["environment"]["UPDATE"],
                "networks": [f"{self.app_id}_{network}" for network in fields["networks"]],
                "commit": self.commit,
                "running": True,
            }
            for name, fields in self.services.items()
        }
        networks = sorted(f"{self.app_id}_{name}" for name in ("default", *self._networks()))
        volumes = {f"{self.app_id}_{name}": body["labels"]["of"] for name, body in self._volumes().items()}
        return {"containers": services, "networks": networks, "volumes": volumes}

    def _service(self, name: str) -> dict[str, Any]:
        image = self.random.choice(self.images)
        volumes = {"db": ["data:/data"], "api": ["data:/data"], "job": ["scratch:/scratch"]}
        return {
            "image": image,
            "environment": {"UPDATE": str(self.number)},
            "networks": ["front"],
            "volumes": volumes.get(name, []),
        }

    def _networks(self) -> dict[str, Any]:
        """One stays and one comes and goes, with one service on it: engine 20.10 may count wrongly what is connected
        when several containers leave a network at once and their stop is repeated; it then never lets it go."""
        return {"front": {}, f"net{self.number % 5}": {"labels": {"of": str(self.number // 7)}}}

    def _volumes(self) -> dict[str, Any]:
        return {"data": {"labels": {"of": "all"}}, "scratch": {"labels": {"of": str(self.number // 6)}}}


def seen(engine: docker.APIClient, instance: str) -> dict[str, Any]:
    """All that the engine has of an instance, in the form of :meth:`Releases.expected`."""
    label = {"label": f"{LABEL}={instance}"}
    containers: dict[str, Any] = {}
    for entry in engine.containers(all=True, filters=label):
        inspect = engine.inspect_container(entry["Id"])
        name = inspect["Config"]["Labels"]["io.balena.service-name"]
        environment = dict(line.split("=", 1) for line in inspect["Config"]["Env"])
        assert name not in containers, f"two containers of {name}"
        containers[name] = {
            "image": inspect["Image"],
            "update": environment["UPDATE"],
            "networks": sorted(inspect["NetworkSettings"]["Networks"]),
            "commit": inspect["Name"].split("_")[-1],
            "running": inspect["State"]["Running"],
        }
    volumes = engine.volumes(filters=label)["Volumes"] or ()
    return {
        "containers": containers,
        "networks": sorted(network["Name"] for network in engine.networks(filters=label)),
        "volumes": {volume["Name"]: volume["Labels"].get("of") for volume in volumes},
    }


@dataclass
class Device:
    """A running supervisor as seen from outside, through /proc, its files and its API."""

    supervisor: TestedSupervisor
    run_dir: Path
    dead_letters: list[dict[str, Any]] = field(default_factory=list)

    def pids(self) -> dict[str, int]:
        """The process of each actor, once all of them run."""

        def all_run() -> dict[str, int]:
            with suppress(OSError):
                actors = self.supervisor.api.get("/debug/actors")["actors"]
                if all(actor["state"] == "running" for actor in actors):
                    return {actor["name"]: int(actor["pid"]) for actor in actors}
            return {}

        return wait_until(all_run, "all actors run", LIMIT_S)

    def wait_for_steps(self, known: set[tuple[int, str]], number: int, commit: str) -> None:
        """Until so many more steps were sent than are known, or there are no more of them in this update."""

        def sent(status: dict[str, Any]) -> bool:
            fresh = decisions(status) - known
            return len(fresh) >= number or (status["appState"] == "applied" and status.get("release") == commit)

        self.supervisor.api.wait_until(sent, LIMIT_S)

    def kill(self, name: str, pid: int) -> None:
        """Kill one process. After its first one the host starts the container of the supervisor again."""
        nursery = self.supervisor.program.pid()
        assert nursery is not None
        members = family(nursery)
        if pid in members:
            os.kill(pid, signal.SIGKILL)
        if name == "nursery":
            wait_until(lambda: not any(map(alive, members)), "all processes are gone", LIMIT_S)
            self.supervisor.stop()
            self.supervisor.start(timeout_s=LIMIT_S)

    def post(self, body: dict[str, Any]) -> None:
        """As clients do: again, until it is accepted."""

        def accepted() -> bool:
            try:
                self.supervisor.post_target(body)
            except OSError:
                return False
            return True

        wait_until(accepted, "the target is accepted", LIMIT_S)

    def wait_for(self, commit: str, services: int) -> None:
        def settled(status: dict[str, Any]) -> bool:
            states = [container["status"] for container in status["containers"]]
            on_release = status.get("release") == commit
            return status["appState"] == "applied" and on_release and states == ["Running"] * services

        self.supervisor.api.wait_until(settled, LIMIT_S)

    def note_dead_letters(self) -> None:
        """Keep those that are new; root forgets them when it dies."""
        for letter in self.supervisor.api.get("/debug/dead-letters")["dead_letters"]:
            if letter not in self.dead_letters:
                self.dead_letters.append(letter)

    def memory_mb(self) -> float:
        """Of all processes, once it does not change any more."""
        pid = self.pids()["nursery"]
        readings: list[float] = []

        def steady() -> bool:
            readings.append(pss_of_family(pid).all_mb)
            last = readings[-_STEADY_READINGS:]
            return len(last) == _STEADY_READINGS and max(last) - min(last) < _STEADY_MB

        wait_until(steady, "the memory is steady", LIMIT_S)
        return readings[-1]

    def held(self) -> Counter[tuple[str, str]]:
        """Descriptors and threads of each process."""
        return Counter(
            {
                (name, what): _count(Path(f"/proc/{pid}/{folder}"))
                for name, pid in self.pids().items()
                for what, folder in (("descriptors", "fd"), ("threads", "task"))
            }
        )

    def strays(self) -> list[str]:
        """Processes of the supervisor that are none of its actors, and dead ones that nobody has reaped."""
        known = self.pids()
        mark = f"SUPERVISOR_RUN_DIR={self.run_dir}".encode()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                pid = int(process.name)
                ours = mark in (process / "environ").read_bytes() or pid in family(known["nursery"])
                if ours and pid not in known.values():
                    found.append((process / "stat").read_text())
        return found

    def files(self) -> set[str]:
        """Every file below the folders of the supervisor, without those of SQLite that come and go."""
        places = (self.supervisor.folder, self.run_dir, Path(os.environ["TMPDIR"]))
        paths = {str(path.relative_to(place)) for place in places for path in place.rglob("*")}
        return {path for path in paths if not path.endswith(("-wal", "-shm"))}

    def rows(self) -> Counter[str]:
        """How many rows each table has."""
        with closing(self._database()) as database:
            names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            counts = {name: database.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in names}
            return Counter(counts)

    def global_key(self) -> str:
        with closing(self._database()) as database:
            (key,) = database.execute("SELECT key FROM apiSecret WHERE serviceName IS NULL").fetchone()
            return str(key)

    def database_bytes(self) -> int:
        files = self.supervisor.folder.glob("database.sqlite*")
        return sum(file.stat().st_size for file in files)

    def _database(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{self.supervisor.folder}/database.sqlite?mode=ro", uri=True)


def decisions(status: dict[str, Any]) -> set[tuple[int, str]]:
    """Number and time of each step in the log of the planner, which begins anew with every planner."""
    return {(entry["number"], entry["at"]) for entry in status["decisions"]}


def say(text: str) -> None:
    """Shown at once with ``pytest -s``, else when the test fails."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _count(folder: Path) -> int:
    return sum(1 for _ in folder.iterdir())


def kills(updates: int, seed: int) -> Iterator[tuple[str, int]]:
    """The process to kill in each update, and after how many steps of the planner; -1 is before the target comes."""
    random = Random(seed)  # noqa: S311  # the same each time
    for _ in range(updates):
        yield random.choice(VICTIMS), random.choice((-1, 0, 0, *range(1, 13)))
