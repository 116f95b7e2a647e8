from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import peewee
import pytest

from balena_supervisor.db.commit_store import CommitStore
from balena_supervisor.db.config_store import ConfigStore
from balena_supervisor.db.connection import open_database
from balena_supervisor.db.models import App, DeviceConfig
from balena_supervisor.db.target_store import TargetStore
from balena_supervisor.errors import DatabaseRefused
from balena_supervisor.model.target import TargetApp, TargetService, TargetState
from balena_supervisor.state.target_format import ParsedTarget


def app(app_id: int, *names: str, source: str = "local", **fields: object) -> TargetApp:
    base = TargetApp(app_id=app_id, app_uuid=str(app_id), name=f"app {app_id}", source=source)
    if names:
        services = tuple(
            TargetService(
                service_name=name, service_id=number, image_id=number, image="x:latest",
                app_id=app_id, app_uuid=str(app_id), release_id=5, commit="c",
            )
            for number, name in enumerate(names)
        )  # fmt: skip
        base = msgspec.structs.replace(base, commit="c", release_id=5, services=services)
    return msgspec.structs.replace(base, **fields)


def parsed(
    *apps: TargetApp, name: str = "kiosk", config: dict[str, str] | None = None, force: bool = False
) -> ParsedTarget:
    return ParsedTarget(name=name, config=config or {}, apps=apps, force=force)


def test_a_fresh_database_has_no_target(database: peewee.SqliteDatabase) -> None:
    assert TargetStore(database).load("local") == TargetState(name="local")


def test_a_target_reads_back_as_it_was_saved(database: peewee.SqliteDatabase, path: Path) -> None:
    apps = (app(7, "web", "db", "a"), app(3, networks={"n": {}}, volumes={"v": {"driver": "x"}}))
    TargetStore(database).save(parsed(*apps, config={"BALENA_SUPERVISOR_DELTA": "1", "FOO": "x"}, force=True), "local")
    other = open_database(path)
    assert TargetStore(other).load("local") == TargetState(
        version=1, is_set=True, force=True, name="kiosk", config={"SUPERVISOR_DELTA": "1"}, apps=apps
    )
    other.close()


def test_the_version_grows_with_every_target_and_survives(database: peewee.SqliteDatabase, path: Path) -> None:
    store = TargetStore(database)
    assert [store.save(parsed(), "local"), store.save(parsed(), "https://api")] == [1, 2]
    other = open_database(path)
    assert TargetStore(other).save(parsed(), "local") == 3
    other.close()


def test_apps_that_left_the_target_are_removed_with_those_of_their_source_only(database: peewee.SqliteDatabase) -> None:
    store = TargetStore(database)
    store.save(parsed(app(1, source="https://api"), app(2, source="https://api")), "https://api")
    store.save(parsed(app(3), app(4)), "local")
    store.save(parsed(app(4)), "local")
    assert [item.app_id for item in store.load("local").apps] == [4]
    assert [item.app_id for item in store.load("https://api").apps] == [1, 2]
    store.save(parsed(), "local")
    assert store.load("local").apps == ()
    assert len(store.load("https://api").apps) == 2


def test_an_app_keeps_its_row_when_it_changes(database: peewee.SqliteDatabase) -> None:
    store = TargetStore(database)
    store.save(parsed(app(1, "web"), app(2, "web")), "local")
    store.save(parsed(app(2, "web"), app(1, "db")), "local")
    assert [(item.app_id, item.services[0].service_name) for item in store.load("local").apps] == [
        (1, "db"),
        (2, "web"),
    ]


def test_an_app_that_lost_its_release_keeps_nothing_of_the_old_one(database: peewee.SqliteDatabase) -> None:
    store = TargetStore(database)
    store.save(parsed(app(1, "web")), "local")
    store.save(parsed(app(1)), "local")
    assert store.load("local").apps == (app(1),)


def test_system_apps_are_part_of_every_target(database: peewee.SqliteDatabase) -> None:
    store = TargetStore(database)
    system = app(1, source="https://api", app_class="app", is_host=True)
    store.save(parsed(system, app(2, source="https://api")), "https://api")
    assert store.load("local").apps == (system,)


def test_force_lasts_until_it_is_forgotten_or_another_target_comes(database: peewee.SqliteDatabase) -> None:
    store = TargetStore(database)
    store.save(parsed(force=True), "local")
    assert store.load("local").force
    store.forget_force()
    assert store.load("local").force is False
    store.save(parsed(force=True), "local")
    store.save(parsed(), "local")
    assert store.load("local").force is False


def test_the_keys_of_a_reference_supervisor_are_written(database: peewee.SqliteDatabase) -> None:
    TargetStore(database).save(parsed(name=""), "local")
    values = ConfigStore(database).all()
    assert (values["name"], values["targetStateSet"]) == ("", "true")


def test_a_save_that_fails_changes_nothing(database: peewee.SqliteDatabase) -> None:
    store = TargetStore(database)
    store.save(parsed(app(1, "web"), config={"SUPERVISOR_DELTA": "1"}), "local")
    before = store.load("local")
    with pytest.raises((OverflowError, DatabaseRefused)):
        store.save(parsed(app(2), app(2**70, app_uuid="x"), name="new", config={}), "local")
    assert store.load("local") == before


def test_a_missing_configuration_row_is_made_again(database: peewee.SqliteDatabase) -> None:
    DeviceConfig.delete().execute(database)
    store = TargetStore(database)
    assert store.load("local").config == {}
    store.save(parsed(config={"SUPERVISOR_DELTA": "1"}), "local")
    assert store.load("local").config == {"SUPERVISOR_DELTA": "1"}


@pytest.mark.parametrize(
    "query", [App.update(services="{"), App.update(app_id=None), DeviceConfig.update(target_values="{")]
)
def test_a_damaged_row_is_an_error_since_an_app_left_out_would_be_removed(
    database: peewee.SqliteDatabase, query: peewee.Update
) -> None:
    store = TargetStore(database)
    store.save(parsed(app(1, "web")), "local")
    query.execute(database)
    with pytest.raises(DatabaseRefused):
        store.load("local")


ROLLBACK = {"SUPERVISOR_ROLLBACK": "60"}


def of_release(number: int) -> TargetApp:
    return msgspec.structs.replace(app(1, "web"), commit=f"r{number}")


def test_the_last_release_that_settled_is_kept_while_newer_ones_may_be_given_up(
    database: peewee.SqliteDatabase,
) -> None:
    store, commits = TargetStore(database), CommitStore(database)
    store.save(parsed(of_release(1), config=ROLLBACK), "local")
    assert store.load("local").previous == ()
    store.save(parsed(of_release(2), config=ROLLBACK), "local")
    assert store.load("local").previous == (), "the first has never settled"
    commits.set(1, "r2")
    store.save(parsed(of_release(3), config=ROLLBACK), "local")
    assert store.load("local").previous == (of_release(2),)
    store.save(parsed(of_release(4), config=ROLLBACK), "local")
    assert store.load("local").previous == (of_release(2),), "the third has not settled"
    commits.set(1, "r4")
    store.save(parsed(of_release(5), config=ROLLBACK), "local")
    assert store.load("local").previous == (of_release(4),)
    store.save(parsed(config=ROLLBACK), "local")
    assert store.load("local").previous == ()


def test_no_release_is_kept_where_nothing_is_rolled_back(database: peewee.SqliteDatabase) -> None:
    store = TargetStore(database)
    store.save(parsed(of_release(1)), "local")
    CommitStore(database).set(1, "r1")
    store.save(parsed(of_release(2)), "local")
    assert store.load("local").previous == ()
    assert "previousReleases" not in ConfigStore(database).all()


@pytest.mark.parametrize(
    "fields",
    [
        {"labels": {"io.balena.update.rollback": "30"}},
        {"labels": {"io.resin.update.rollback": "30"}},
        {"composition": {"labels": ["io.balena.update.rollback=30"]}},
    ],
)
def test_a_label_of_one_service_is_enough(database: peewee.SqliteDatabase, fields: dict[str, Any]) -> None:
    store = TargetStore(database)
    store.save(parsed(of_release(1)), "local")
    CommitStore(database).set(1, "r1")
    newer = of_release(2)
    service = msgspec.structs.replace(newer.services[0], **fields)
    store.save(parsed(msgspec.structs.replace(newer, services=(service,))), "local")
    assert store.load("local").previous == (of_release(1),)


def test_the_apps_of_local_mode_are_forgotten_and_no_others(database: peewee.SqliteDatabase) -> None:
    store = TargetStore(database)
    store.save(parsed(app(1, "web")), "local")
    store.save(parsed(app(2, "web", source="https://api")), "https://api")
    store.forget_apps("local")
    assert store.load("local").apps == ()
    assert len(store.load("https://api").apps) == 1
