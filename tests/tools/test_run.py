"""``tools/dev run`` as a developer sees it. Each run has a folder, and so an instance, of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import docker
import pytest

from balena_supervisor.model.lock import lock_folder
from tools.dev_parts.labelled import LABEL
from tools.dev_parts.paths import instance_label
from tools.dev_parts.programs import Program

ROOT = Path(__file__).parents[2]
#: programs of a run on the simulated engine, and where they stand
STARTED = (("supervisor", "data"), ("simulated-engine", "simulated"))


@pytest.fixture
def dev_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="dev"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def run(dev_folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "tools/dev", "run", "--once", "--timeout", "60", *arguments],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        env={**os.environ, "DEV_FOLDER": str(dev_folder)},
    )


def test_the_sample_runs_on_the_simulated_engine(dev_folder: Path) -> None:
    done = run(dev_folder, "--simulated")

    assert done.returncode == 0, done.stdout
    assert "using the simulated engine" in done.stdout
    assert "all services run. API: http://127.0.0.1:" in done.stdout


def test_services_that_do_not_run_in_time_are_a_failure_with_the_reason(dev_folder: Path) -> None:
    done = run(dev_folder, "--simulated", "--timeout", "0")

    assert done.returncode == 1
    assert "not all services run after 0 s" in done.stdout
    assert f"end of {dev_folder}/data/supervisor.log" in done.stdout


def test_another_port_is_taken_when_the_usual_one_is_not_free(dev_folder: Path) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):  # somebody else has it: as good
            taken.bind(("127.0.0.1", 48484))
            taken.listen()
        done = run(dev_folder, "--simulated")

    assert done.returncode == 0, done.stdout
    assert "API: http://127.0.0.1:" in done.stdout
    assert "API: http://127.0.0.1:48484 " not in done.stdout


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
    ids=["Ctrl-C", "SIGTERM", "a closed terminal"],
)
def test_whatever_ends_a_run_leaves_no_process(dev_folder: Path, number: int, code: int) -> None:
    command = [str(ROOT / "tools/dev"), "run", "--simulated", "--timeout", "60"]
    environment = {**os.environ, "DEV_FOLDER": str(dev_folder)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as running:
        assert running.stdout is not None
        printed: list[str] = []
        for line in running.stdout:
            printed.append(line)
            if "Ctrl-C ends it" in line:
                break
        else:
            pytest.fail("".join(printed))
        pids = [Program(name, dev_folder / place).pid() for name, place in STARTED]
        assert all(pids)

        running.send_signal(number)

        assert running.wait(30) == code
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []


@pytest.mark.engine
def test_the_sample_is_pulled_and_runs_and_nothing_of_it_stays(dev_folder: Path) -> None:
    done = run(dev_folder)

    assert done.returncode == 0, done.stdout
    for service in ("store", "web", "visitor"):
        assert f"image {service}: Downloaded" in done.stdout
        assert f"service {service}: Running" in done.stdout
    assert not Path(lock_folder(instance_label(dev_folder))).parent.exists()
    client = docker.APIClient(base_url=os.environ["DOCKER_HOST"])
    try:
        labelled_so = {"label": f"{LABEL}={instance_label(dev_folder)}"}
        assert client.containers(all=True, filters=labelled_so) == []
        assert client.networks(filters=labelled_so) == []
        assert not client.volumes(filters=labelled_so)["Volumes"]
    finally:
        client.close()
