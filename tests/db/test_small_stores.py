from __future__ import annotations

import itertools
from typing import Any

import msgspec
import peewee
import pytest

from balena_supervisor.db.commit_store import CommitStore
from balena_supervisor.db.image_store import ImageStore
from balena_supervisor.db.key_store import KeyStore, StoredKey, random_key
from balena_supervisor.db.models import ApiSecret, Image
from balena_supervisor.errors import DatabaseRefused
from balena_supervisor.model.image import ImageRef, ImageRow

REF = ImageRef(name="a:1", app_id=1, app_uuid="u", service_id=2, service_name="s", image_id=3, release_id=4, commit="c")


def keys(database: peewee.SqliteDatabase) -> KeyStore:
    numbers = itertools.count(1)
    return KeyStore(database, lambda: f"key-{next(numbers)}")


def changes_of(database: Any) -> object:
    return database.connection().total_changes


def test_commits_are_kept_by_app(database: peewee.SqliteDatabase) -> None:
    store = CommitStore(database)
    assert store.all() == {}
    store.set(1, "a")
    store.set(2, "b")
    store.set(1, "c")
    assert store.all() == {1: "c", 2: "b"}


def test_an_equal_commit_is_not_written_again(database: peewee.SqliteDatabase) -> None:
    store = CommitStore(database)
    store.set(1, "a")
    changes = changes_of(database)
    store.set(1, "a")
    assert changes_of(database) == changes


def test_images_are_listed_in_the_order_in_which_they_came(database: peewee.SqliteDatabase) -> None:
    store = ImageStore(database)
    other = msgspec.structs.replace(REF, commit="d")
    store.save([(REF, "sha256:1"), (other, None)])
    assert store.rows() == (
        ImageRow(id=1, ref=REF, docker_image_id="sha256:1"),
        ImageRow(id=2, ref=other, docker_image_id=None),
    )


@pytest.mark.parametrize("field", ImageRef.__struct_fields__)
def test_a_row_is_the_same_only_if_every_value_is(database: peewee.SqliteDatabase, field: str) -> None:
    store = ImageStore(database)
    value = getattr(REF, field)
    other = msgspec.structs.replace(REF, **{field: value + 1 if isinstance(value, int) else value + "x"})
    store.save([(REF, None), (REF, None), (other, None), (REF, None)])
    assert [row.ref for row in store.rows()] == [REF, other]


def test_saving_again_only_adds_the_engine_id(database: peewee.SqliteDatabase) -> None:
    store = ImageStore(database)
    store.save([(REF, None)])
    store.save([(REF, "sha256:1")])
    store.save([(REF, None)])
    assert store.rows() == (ImageRow(id=1, ref=REF, docker_image_id="sha256:1"),)


def test_engine_ids_can_be_set_and_rows_deleted(database: peewee.SqliteDatabase) -> None:
    store = ImageStore(database)
    store.save([(msgspec.structs.replace(REF, image_id=number), None) for number in range(3)])
    store.set_docker_id(2, "sha256:2")
    store.delete([1, 3, 99])
    store.delete([])
    assert [(row.id, row.docker_image_id) for row in store.rows()] == [(2, "sha256:2")]
    store.set_docker_id(2, None)
    assert store.rows()[0].docker_image_id is None


def test_a_save_that_fails_half_way_leaves_no_row(database: peewee.SqliteDatabase) -> None:
    store = ImageStore(database)
    too_large = msgspec.structs.replace(REF, image_id=2**70)
    with pytest.raises((OverflowError, DatabaseRefused)):
        store.save([(REF, None), (too_large, None)])
    assert store.rows() == ()


def test_a_row_of_an_old_supervisor_may_lack_values(database: peewee.SqliteDatabase) -> None:
    Image.insert(name="a:1").execute(database)
    assert ImageStore(database).rows() == (
        ImageRow(
            id=1,
            ref=ImageRef(
                name="a:1", app_id=0, app_uuid="", service_id=0, service_name="", image_id=0, release_id=0, commit=""
            ),
        ),
    )


def test_a_key_has_32_hex_digits_and_is_never_the_same() -> None:
    one, other = random_key(), random_key()
    assert len(one) == 32
    assert int(one, 16) != int(other, 16)


def test_keys_are_made_once(database: peewee.SqliteDatabase) -> None:
    store = keys(database)
    assert [store.global_key(), store.service_key(1, "a"), store.service_key(1, "b"), store.service_key(2, "a")] == [
        "key-1",
        "key-2",
        "key-3",
        "key-4",
    ]
    again = KeyStore(database)
    assert [again.service_key(2, "a"), again.global_key()] == ["key-4", "key-1"]
    assert again.all()[:2] == (
        StoredKey(app_id=0, service_name=None, key="key-1", scopes=[{"type": "global"}]),
        StoredKey(app_id=1, service_name="a", key="key-2", scopes=[{"type": "app", "appId": 1}]),
    )


@pytest.mark.parametrize(
    "scopes",
    ["[]", "x", None, '[{"type":"app","appId":2}]', '[{"type":"app","appId":1},{"type":"global"}]', "{}", "[5]"],
)
def test_a_key_with_other_scopes_is_replaced(database: peewee.SqliteDatabase, scopes: str | None) -> None:
    store = keys(database)
    store.service_key(1, "a")
    store.service_key(2, "a")
    ApiSecret.update(scopes=scopes).where(ApiSecret.app_id == 1).execute(database)
    assert store.service_key(1, "a") == "key-3"
    assert [row.key for row in store.all()] == ["key-3", "key-2"]
    assert store.service_key(1, "a") == "key-3"


def test_equal_scopes_in_another_order_keep_the_key(database: peewee.SqliteDatabase) -> None:
    store = keys(database)
    store.service_key(1, "a")
    ApiSecret.update(scopes='[{"appId": 1, "type": "app"}]').execute(database)
    assert store.service_key(1, "a") == "key-1"


def test_a_damaged_global_key_is_replaced(database: peewee.SqliteDatabase) -> None:
    store = keys(database)
    store.global_key()
    ApiSecret.update(key=None).execute(database)
    assert store.global_key() == "key-2"
    assert len(store.all()) == 1
