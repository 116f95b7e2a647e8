"""``balena-supervisor plan FILE`` on a simulated engine and a real database."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from balena_supervisor.__main__ import main
from balena_supervisor.adapters.engine import Engine
from balena_supervisor.db.connection import open_database
from balena_supervisor.db.image_store import ImageStore
from balena_supervisor.migrations.runner import migrate
from balena_supervisor.model.image import ImageRef
from balena_supervisor.state.networks import supervisor_network_body
from tests.fakes.engine.simulated import SimulatedEngine
from tests.integration.targets import commit_of, no_apps, target

APP_ID = 77
REFUSED = "cannot take the target in FILE:"
PORT_FORM = "[[ip:]host[-end]:]port[-end][/tcp|/udp]"
NAME_FORM = "([registry/]name[:tag][@digest])"


class Planned:
    """A device with a simulated engine, and the command as a person calls it."""

    def __init__(self, folder: Path, engine: SimulatedEngine, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.engine = engine
        self._capsys = capsys

    def plan(self, body: object) -> tuple[int, list[str], str]:
        """Exit code, lines of standard output, and standard error."""
        file = self.folder / "target.json"
        file.write_text(body if isinstance(body, str) else json.dumps(body))
        code = main(["plan", str(file)])
        printed = self._capsys.readouterr()
        return code, printed.out.splitlines(), printed.err

    def printed(self) -> str:
        return self._capsys.readouterr().err

    def make_supervisor_network(self) -> None:
        by_hand = Engine(self.engine.url)
        by_hand.create_network(supervisor_network_body())
        by_hand.close()
        self.engine.faults.clear_calls()

    def files(self) -> dict[str, str]:
        """Name and hash of everything in the folder of the database."""
        found = sorted((self.folder / "data").rglob("*"))
        return {entry.name: hashlib.sha256(entry.read_bytes()).hexdigest() for entry in found if entry.is_file()}

    def remember(self, image: str, image_id: str) -> None:
        """Write a row of an image that the engine has."""
        database = open_database(self.folder / "data/database.sqlite")
        ref = ImageRef(
            name=image,
            app_id=APP_ID,
            app_uuid=str(APP_ID),
            service_id=1,
            service_name="db",
            image_id=1,
            release_id=1,
            commit=commit_of(APP_ID),
        )
        ImageStore(database).save([(ref, image_id)])
        database.close()


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Planned]:
    (tmp_path / "data").mkdir()
    migrate(tmp_path / "data/database.sqlite", tmp_path / "config.json")
    with SimulatedEngine(tmp_path) as engine:
        for name, value in {
            "DOCKER_HOST": engine.url,
            "DATABASE_PATH": str(tmp_path / "data/database.sqlite"),
            "CONFIG_MOUNT_POINT": str(tmp_path / "config.json"),
            "ROOT_MOUNTPOINT": str(tmp_path / "root"),
            "BOOT_MOUNTPOINT": str(tmp_path / "boot"),
            "HOST_OS_VERSION_PATH": str(tmp_path / "os-release"),
        }.items():
            monkeypatch.setenv(name, value)
        yield Planned(tmp_path, engine, capsys)


def two_services() -> dict[str, Any]:
    return target(
        APP_ID,
        {
            "db": {"image": "a.io/db:1", "volumes": ["data:/data"]},
            "web": {"image": "a.io/web:1", "depends_on": ["db"]},
        },
        volumes={"data": {}},
    )


def test_a_new_app_is_shown_round_by_round_with_reasons(device: Planned) -> None:
    code, lines, errors = device.plan(two_services())
    assert (code, errors) == (0, "")
    assert lines == [
        "round 1",
        "  pull a.io/db:1: the image is not on the engine",
        "  pull a.io/web:1: the image is not on the engine",
        "  make network supervisor0: supervisor0 is missing or has other settings",
        "round 2",
        "  create network default: the network is missing",
        "  create volume data: the volume is missing",
        "  waits: db: network default is not there yet",
        "  waits: web: network default is not there yet",
        "round 3",
        "  start db: the container is missing",
        "  waits: web: depends on db, which has not been started",
        "round 4",
        "  start web: the container is missing",
        "round 5",
        f"  note release {commit_of(APP_ID)} of app {APP_ID}",
    ]


def test_what_is_there_is_not_done_again(device: Planned) -> None:
    image = device.engine.add_image("a.io/db:1")
    device.remember("a.io/db:1", image)
    device.make_supervisor_network()
    code, lines, errors = device.plan(two_services())
    assert (code, errors) == (0, "")
    assert lines[:2] == ["round 1", "  pull a.io/web:1: the image is not on the engine"]
    assert not [line for line in lines if "pull a.io/db:1" in line or "supervisor0" in line]


def test_nothing_is_changed(device: Planned) -> None:
    files, state = device.files(), device.engine.snapshot()
    assert device.plan(two_services())[0] == 0
    assert device.files() == files
    assert device.engine.snapshot() == state
    assert {call.method for call in device.engine.calls} == {"GET"}


def test_a_device_on_its_target_says_so(device: Planned) -> None:
    device.make_supervisor_network()
    assert device.plan(no_apps()) == (0, ["nothing to do: the device is on target"], "")


def test_an_app_that_requires_too_much_is_left_as_it_is(device: Planned) -> None:
    device.make_supervisor_network()
    contract = {"requires": [{"type": "sw.supervisor", "version": ">=999"}]}
    code, lines, errors = device.plan(target(APP_ID, {"web": {"image": "a.io/web:1", "contract": contract}}))
    assert (code, errors) == (0, "")
    assert lines[0] == "round 1"
    assert lines[1].startswith("  waits: app:77: web requires sw.supervisor >=999 (the device has sw.supervisor ")
    assert len(lines) == 2


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"local":\n {', "cannot read FILE: it is no JSON (Input data was truncated)\n"),
        ("[]", f"{REFUSED} local: expected an object, got undefined\n"),
        ("{}", f"{REFUSED} local: expected an object, got undefined\n"),
        (
            target(APP_ID, {"web": {"image": "a.io/web:1", "ports": ["abc"]}}),
            f'{REFUSED} local.apps.77.services.1.ports.0: expected a port mapping {PORT_FORM}, got "abc"\n',
        ),
        (
            target(APP_ID, {"web": {"image": ""}}),
            f'{REFUSED} local.apps.77.services.1.image: expected an image name {NAME_FORM}, got ""\n',
        ),
        (
            target(APP_ID, {"web": {"image": "a.io/web:1", "depends_on": ["web"]}}),
            f"{REFUSED} local.apps.77.services.1.depends_on: expected dependencies without a cycle, got web → web\n",
        ),
    ],
)
def test_what_is_no_target_is_one_clear_line(device: Planned, body: object, message: str) -> None:
    code, lines, errors = device.plan(body)
    assert (code, lines) == (1, [])
    assert errors.replace(str(device.folder / "target.json"), "FILE") == message


def test_an_engine_that_is_away_is_one_clear_line(device: Planned) -> None:
    device.engine.die()
    code, lines, errors = device.plan(two_services())
    assert (code, lines) == (1, [])
    assert errors == (
        f"cannot list networks: the engine at {device.engine.url} cannot be reached (No such file or directory)\n"
    )


def test_a_file_that_is_not_there_is_said_so(device: Planned) -> None:
    assert main(["plan", str(device.folder / "nothing.json")]) != 0
    assert "nothing.json" in device.printed()
