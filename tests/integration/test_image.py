"""The image that the Dockerfile makes, on a real engine."""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.integration.image_device import Device
from tests.integration.targets import runs, target
from tests.runtime.toy_supervisor import wait_until
from tools.dev_parts.image import layers

# a first build makes the base from Debian's packages
pytestmark = [
    pytest.mark.engine,
    pytest.mark.root,
    pytest.mark.timeout(1800),
]

ROOT = Path(__file__).parents[2]
_LIBRARIES = "/usr/src/app/lib/python3.11/site-packages"


@pytest.fixture
def running(device: Device) -> Device:
    device.start()
    return device


@pytest.fixture(scope="module")
def idle(engine: docker.APIClient, engine_url: str, image: str) -> Iterator[Device]:
    """One that runs and has nothing to do, for tests that only look."""
    with tempfile.TemporaryDirectory(prefix="sv") as folder:
        made = Device(engine, engine_url, image, Path(folder), f"test-{Path(folder).name}")
        try:
            made.start()
            yield made
        finally:
            made.remove()


def files_of(engine: docker.APIClient, image: str, path: str) -> dict[str, bytes]:
    """Path below the parent of ``path`` -> content, of the files in a folder of an image."""
    container = engine.create_container(image)["Id"]
    try:
        stream, _ = engine.get_archive(container, path)
        with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as archive:
            return {m.name: _content(archive, m) for m in archive.getmembers() if m.isfile()}
    finally:
        engine.remove_container(container)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None
    return file.read()


def test_the_image_is_small(
    image: str, engine: docker.APIClient, record_property: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    found = layers(engine, image)
    size_mb = sum(layer.size_bytes for layer in found) / 1e6
    record_property("image size in MB", size_mb)
    with capsys.disabled():
        print(f"image: {size_mb:.1f} MB, {len([layer for layer in found if layer.size_bytes])} layers")  # noqa: T201

    assert size_mb < 200


def test_the_image_holds_the_whole_package_with_its_byte_code(image: str, engine: docker.APIClient) -> None:
    installed = files_of(engine, image, f"{_LIBRARIES}/balena_supervisor")
    ours = [path for path in (ROOT / "balena_supervisor").rglob("*") if path.is_file()]
    expected = {str(path.relative_to(ROOT)): path.read_bytes() for path in ours if path.parent.name != "__pycache__"}
    compiled = {Path(name) for name in installed if name.endswith(".pyc")}

    assert {name: text for name, text in installed.items() if not name.endswith(".pyc")} == expected
    assert compiled == {
        Path(name).parent / "__pycache__" / f"{Path(name).stem}.cpython-311{level}.pyc"
        for name in expected
        for level in ("", ".opt-2")
        if name.endswith(".py")
    }


def test_the_image_says_how_to_check_its_health_and_what_it_is(image: str, engine: docker.APIClient) -> None:
    config = engine.inspect_image(image)["Config"]  # type: ignore[no-untyped-call]  # types-docker lacks it
    environment = dict(entry.split("=", 1) for entry in config["Env"])

    assert config["Healthcheck"] == {
        "Test": ["CMD-SHELL", "wget http://127.0.0.1:${LISTEN_PORT:-48484}/v1/healthy -O - -q"],
        "Interval": 300 * 10**9,
        "StartPeriod": 60 * 10**9,
        "Timeout": 30 * 10**9,
        "Retries": 3,
    }
    assert environment["LED_FILE"] == "/dev/null"
    assert environment["SUPERVISOR_IMAGE"].endswith("-supervisor")
    assert config["Volumes"] is None


def test_the_image_has_every_library_and_nothing_that_only_builds_or_tests(idle: Device) -> None:
    linked = idle.run("sh", "-c", "find /usr/src/app -name '*.so' -exec ldd {} +").output
    assert "libdbus-1.so.3 =>" in linked
    assert "not found" not in linked
    for name in ("pip", "setuptools", "pytest", "tests"):
        assert idle.run("bin/python", "-c", f"import {name}").code == 1
    assert idle.run("sh", "-c", "command -v gcc || ls /usr/include/dbus-1.0").code != 0


def test_it_is_healthy_by_its_own_check_and_ends_on_sigterm(running: Device, engine: docker.APIClient) -> None:
    assert running.api.get("/ping") == "OK"
    wait_until(lambda: running.state()["Health"]["Status"] == "healthy", "it is healthy", timeout_s=30)
    (_, check) = running.inspect()["Config"]["Healthcheck"]["Test"]
    assert running.run("sh", "-c", f"LISTEN_PORT=1; {check}").code != 0

    engine.stop(running.name, timeout=5)  # then comes SIGKILL, which is 137

    assert running.state()["ExitCode"] == 143


def test_an_app_runs_on_while_the_container_stops_restarts_and_is_killed(
    running: Device, engine: docker.APIClient, instance: str, app_id: int, sample_image: str
) -> None:
    def apps() -> list[tuple[str, str]]:
        listed = engine.containers(filters={"label": f"io.balena.supervisor.instance={instance}"})
        return [(entry["Id"], engine.inspect_container(entry["Id"])["State"]["StartedAt"]) for entry in listed]

    running.api.post("/v2/local/target-state", target(app_id, {"main": {"image": sample_image}}))
    running.api.wait_until(lambda status: runs(status, "main"))
    before = apps()
    goal = running.api.get("/v2/local/target-state")
    assert len(before) == 1

    engine.stop(running.name, timeout=5)
    assert apps() == before
    engine.start(running.name)
    running.api.wait_until(lambda status: runs(status, "main"))
    engine.restart(running.name, timeout=5)
    running.api.wait_until(lambda status: runs(status, "main"))
    running.kill()
    running.api.wait_until(lambda status: runs(status, "main"))

    assert running.state()["Running"]
    assert apps() == before
    assert running.api.get("/v2/local/target-state") == goal


def test_a_config_json_that_cannot_be_written_is_left_as_it_is(idle: Device) -> None:
    before = (idle.folder / "config.json").read_text()

    idle.api.wait_until(lambda status: status["appState"] == "applied")

    assert "config.json cannot be written" in idle.output()
    assert (idle.folder / "config.json").read_text() == before
    assert idle.run("sh", "-c", "echo x > /boot/config.json").code != 0


def test_people_can_ask_it_from_inside(idle: Device) -> None:
    asked = idle.run("balena-supervisor", "actors")

    assert asked.code == 0, asked.output
    assert "planner" in asked.output


def test_a_pushed_change_is_picked_up_when_developing(device: Device, engine: docker.APIClient) -> None:
    device.environment["LIVEPUSH"] = "1"
    device.start()
    package = f"{_LIBRARIES}/balena_supervisor"
    changed = device.read(f"{package}/__init__.py").replace('"20.', '"99.')

    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo("__init__.py")
        member.size = len(changed)  # its time is 1970: clocks of two machines differ
        tar.addfile(member, io.BytesIO(changed.encode()))
    engine.put_archive(device.name, package, archive.getvalue())

    wait_until(lambda: version(device).startswith("99."), "the changed version answers", timeout_s=30)
    engine.stop(device.name, timeout=5)
    assert device.state()["ExitCode"] == 143


def version(device: Device) -> str:
    try:
        return str(device.api.get("/v2/version")["version"])
    except OSError:
        return ""
