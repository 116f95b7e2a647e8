from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import peewee
import pytest

from balena_supervisor.db.connection import open_database
from balena_supervisor.migrations.runner import migrate


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "database.sqlite"
    migrate(path, tmp_path / "config.json")
    return path


@pytest.fixture
def database(path: Path) -> Iterator[peewee.SqliteDatabase]:
    database = open_database(path)
    yield database
    database.close()
