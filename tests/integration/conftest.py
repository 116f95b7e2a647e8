"""Fixtures of the tests on a real engine and registry. ``tools/dev test`` provides both.

The tests share the engine with each other and with other people: each supervisor has an instance label of its own and
app ids are random, since names on the engine are made of them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import APIError

from tests.integration.image_device import Device
from tests.integration.targets import runs
from tests.integration.workers import Workers
from tests.integration.workshop import Workshop
from tools.dev_parts import labelled, samples
from tools.dev_parts.engine import answers
from tools.dev_parts.paths import ROOT
from tools.dev_parts.registry import free_port
from tools.dev_parts.supervisor import Supervisor

_WAITING = "while :; do busybox sleep 1000 & wait $!; done"
MakeImage = Callable[[str], str]


class TestedSupervisor(Supervisor):
    """A whole supervisor process with what tests ask of it. ``api`` has get, post, status and wait_until."""

    __test__ = False  # pytest takes it for a class of tests by its name

    def post_target(self, body: dict[str, Any]) -> None:
        self.api.post("/v2/local/target-state", body)

    def wait_until_running(self, *services: str, timeout_s: float = 30) -> dict[str, Any]:
        """Until all is applied and exactly these services run."""
        return self.api.wait_until(lambda status: runs(status, *services), timeout_s)


@pytest.fixture(scope="session")
def engine_url() -> str:
    url = os.environ.get("DOCKER_HOST", "")
    if not answers(url):
        pytest.fail("no engine answers at DOCKER_HOST; tools/dev test provides one, or leaves this test out")
    return url


@pytest.fixture(scope="session")
def engine(engine_url: str) -> Iterator[docker.APIClient]:
    client = docker.APIClient(base_url=engine_url, timeout=60)
    yield client
    client.close()


@pytest.fixture(scope="session")
def make_image(engine: docker.APIClient, registry: str) -> Iterator[MakeImage]:
    """Make an image that runs a shell script, and have it in the registry only. Answers its name, which is new."""
    made: list[str] = []

    def make(script: str) -> str:
        name = f"{registry}/test/{uuid.uuid4().hex}:1"
        samples.push_image(engine, name, f"# {name}\n{script}")  # the comment gives it an id of its own
        made.append(name)
        return name

    yield make
    for name in made:
        try:
            engine.remove_image(name, force=True)
        except APIError as error:
            if error.status_code != 404:
                raise


@pytest.fixture(scope="session")
def sample_image(make_image: MakeImage) -> str:
    """An image in the registry, not yet on the engine, that waits and stops at once."""
    return make_image(_WAITING)


@pytest.fixture
def app_id() -> int:
    return 1_000_000 + uuid.uuid4().int % 1_000_000_000


@pytest.fixture
def instance(engine: docker.APIClient) -> Iterator[str]:
    """A label of its own; what carries it is removed at the end."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    yield name
    labelled.remove_all(engine, name)
    labelled.remove_lock_folders(name)


@pytest.fixture
def run_dir() -> Iterator[Path]:
    """A folder with a path that is short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="sv"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def stopped_supervisor(engine_url: str, instance: str, tmp_path: Path, run_dir: Path) -> Iterator[TestedSupervisor]:
    """A supervisor that the test starts itself. Its output is shown when the test fails."""
    tested = TestedSupervisor(
        tmp_path / "supervisor", run_dir, engine_url=engine_url, instance=instance, port=free_port()
    )
    yield tested
    tested.stop()
    lines = tested.program.tail(4000).splitlines()
    sys.stdout.write("\n".join([line for line in lines if "GET /v2/state/status 200" not in line][-400:]))


@pytest.fixture
def supervisor(stopped_supervisor: TestedSupervisor) -> TestedSupervisor:
    """A supervisor that runs, without a target."""
    stopped_supervisor.start()
    return stopped_supervisor


@pytest.fixture(scope="session")
def image(engine_url: str) -> str:
    """The image of the supervisor, as this checkout makes it. It stays, so that the next time is quick."""
    name = "balena-supervisor:test"
    done = subprocess.run(
        [ROOT / "tools/dev", "image", "--tag", name],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "DOCKER_HOST": engine_url},
    )
    if done.returncode:
        pytest.fail(done.stdout)
    sys.stdout.write(done.stdout)
    return name


@pytest.fixture
def device(engine: docker.APIClient, engine_url: str, image: str, instance: str, run_dir: Path) -> Iterator[Device]:
    """A container of the image that the test starts itself."""
    made = Device(engine, engine_url, image, run_dir, instance)
    yield made
    made.remove()


@pytest.fixture
def workshop(engine_url: str, registry: str) -> Iterator[Workshop]:
    made = Workshop(engine_url, registry)
    yield made
    made.clean_up()


@pytest.fixture
def workers(workshop: Workshop, tmp_path: Path) -> Iterator[Workers]:
    made = Workers(workshop, tmp_path)
    yield made
    made.stop()
