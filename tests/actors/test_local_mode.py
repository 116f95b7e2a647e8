"""The switch into and out of local mode, as the planner does it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from balena_supervisor.db.connection import open_database
from balena_supervisor.db.models import EngineSnapshot
from balena_supervisor.db.snapshot_store import SnapshotStore
from balena_supervisor.errors import SupervisorError
from balena_supervisor.messages import ConfigChanged, ForgetLocalApps, GetInventory, RemoveBeside
from balena_supervisor.model.inventory import Inventory
from balena_supervisor.runtime.message import Message
from tests.actors.test_planner import DEVICE, Device, target, web

NOTED = Inventory(containers=("c1",), images=("sha256:aa",), volumes=("77_data",), networks=("n1",))


class Switched(Device):
    """A device whose mode the test sets."""

    def switch(self, *, local: bool) -> None:
        configuration = msgspec.structs.replace(DEVICE, version=2, local_mode=local)
        self.workers.deliver(ConfigChanged(configuration=configuration))
        self.workers.settle()

    def asked(self) -> list[Message]:
        kinds = GetInventory | RemoveBeside | ForgetLocalApps
        return [message for _, message, _ in self.workers.post.asked if isinstance(message, kinds)]

    def store(self) -> SnapshotStore:
        return SnapshotStore(open_database(self.database))


@pytest.fixture
def device(database: Path) -> Iterator[Switched]:
    made = Switched(database)
    yield made
    made.ref.stop()


def test_what_the_engine_has_is_noted_once_before_anything_is_done_in_local_mode(device: Switched) -> None:
    device.meet(target(web()))
    device.workers.work()
    assert device.asked() == [GetInventory()]
    assert device.store().load() == Inventory()
    device.ref.stop()
    later = Switched(device.database, device.workers.world, generation=2)
    later.meet(target(web()))
    later.workers.work()
    assert later.asked() == []
    later.ref.stop()


def test_leaving_removes_what_was_not_there_before_and_forgets_the_local_apps(device: Switched) -> None:
    device.store().save(NOTED, "2026-11-28T00:00:00.000Z")
    device.meet(target(web()))
    device.workers.work()
    device.switch(local=False)
    device.workers.work()
    assert device.asked() == [RemoveBeside(kept=NOTED), ForgetLocalApps()]
    assert device.store().load() is None
    assert not device.state().waiting


def test_a_device_that_was_not_in_local_mode_removes_nothing(device: Switched) -> None:
    device.switch(local=False)
    device.workers.publish()
    device.workers.work()
    assert device.asked() == []


def test_a_snapshot_that_cannot_be_read_removes_nothing(device: Switched) -> None:
    database = open_database(device.database)
    EngineSnapshot.insert(snapshot="{broken", timestamp="").execute(database)
    device.switch(local=False)
    device.workers.publish()
    device.workers.work()
    assert device.asked() == []
    assert device.store().load() is None


def test_a_switch_that_fails_is_tried_again_and_holds_up_the_plan_meanwhile(device: Switched) -> None:
    device.store().save(NOTED, "2026-11-28T00:00:00.000Z")
    device.workers.post.refusal = SupervisorError("the engine is busy")
    device.meet(target(web()))
    device.workers.work()
    device.switch(local=False)
    assert device.workers.work() == []
    assert [wait.reason for wait in device.state().waiting] == ["the switch of local mode waits: the engine is busy"]
    assert device.store().load() == NOTED
    device.workers.post.refusal = None
    device.advance(5.1)
    device.workers.work()
    assert device.store().load() is None


def full(device: Switched, table: str) -> None:
    with sqlite3.connect(device.database) as by_hand:
        by_hand.execute(
            f"CREATE TRIGGER full BEFORE DELETE ON {table} BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END"
        )


def test_a_snapshot_that_can_neither_be_read_nor_removed_is_a_wait(device: Switched) -> None:
    EngineSnapshot.insert(snapshot="{broken", timestamp="").execute(open_database(device.database))
    full(device, "engineSnapshot")
    device.meet(target(web()))
    device.switch(local=False)
    assert device.workers.work() == []
    (wait,) = device.state().waiting
    assert "database or disk is full" in wait.reason
    with sqlite3.connect(device.database) as by_hand:
        by_hand.execute("DROP TRIGGER full")
    device.advance(5.1)
    assert device.workers.work() != []


def test_a_snapshot_that_cannot_be_removed_is_removed_when_there_is_room(device: Switched) -> None:
    device.store().save(NOTED, "2026-11-28T00:00:00.000Z")
    full(device, "engineSnapshot")
    device.meet(target(web()))
    device.workers.work()
    device.switch(local=False)
    (wait,) = device.state().waiting
    assert "database or disk is full" in wait.reason
    with sqlite3.connect(device.database) as by_hand:
        by_hand.execute("DROP TRIGGER full")
    device.advance(5.1)
    device.workers.work()
    assert device.store().load() is None
    assert not device.state().waiting


def test_a_mode_that_changes_while_the_switch_is_under_way_is_followed(device: Switched) -> None:
    device.store().save(NOTED, "2026-11-28T00:00:00.000Z")
    device.meet(target(web()))
    device.workers.work()
    device.workers.post.refusal = SupervisorError("the engine is busy")
    device.switch(local=False)
    device.switch(local=True)
    device.workers.post.refusal = None
    device.advance(5.1)
    device.workers.work()
    assert device.store().load() == NOTED
    assert not device.state().waiting
