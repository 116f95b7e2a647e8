"""Ways in which a database file is damaged."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from tests.migrations.databases import query

PAGE = 4096


def root_page(path: Path, name: str) -> int:
    (page,) = query(path, f"SELECT rootpage FROM sqlite_master WHERE name = '{name}'")[0]
    return int(page)


def overwrite(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def no_database(path: Path) -> None:
    path.write_bytes(b"this is text, and long enough to be looked at as a header of a database file" * 20)


def cut_in_half(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def cut_inside_a_page(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - PAGE - 100)


def torn_header(path: Path) -> None:
    overwrite(path, 0, bytes(512))


def torn_page(path: Path, table: str) -> None:
    """Half of it was written."""
    overwrite(path, (root_page(path, table) - 1) * PAGE, b"\xff" * 512)


def torn_app(path: Path) -> None:
    torn_page(path, "app")


def torn_config(path: Path) -> None:
    torn_page(path, "config")


def torn_schema(path: Path) -> None:
    overwrite(path, 100, b"\xff" * 400)


def damaged_index(path: Path) -> None:
    """The index of the apps' uuids is empty, though the table is not."""
    page = (root_page(path, "app_uuid_unique") - 1) * PAGE
    overwrite(path, page + 3, b"\x00\x00")


def lost_table(path: Path) -> None:
    query(path, "DROP TABLE image")


def damaged_freelist(path: Path) -> None:
    overwrite(path, 32, (3).to_bytes(4, "big") + (7).to_bytes(4, "big"))


DAMAGES: dict[str, Callable[[Path], None]] = {
    damage.__name__: damage
    for damage in (
        no_database, cut_in_half, cut_inside_a_page, torn_header, torn_app, torn_config, torn_schema, damaged_index,
        lost_table, damaged_freelist,
    )
}  # fmt: skip


def in_one_file(path: Path) -> None:
    """Without a log beside it, so that what is done to the file counts."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.execute("PRAGMA journal_mode = delete")
