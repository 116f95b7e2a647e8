"""What the tests of actors share."""

from __future__ import annotations

from pathlib import Path

import pytest

from balena_supervisor.migrations.runner import migrate


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """The path of an empty database of the present form."""
    path = tmp_path / "database.sqlite"
    migrate(path, tmp_path / "config.json")
    return path
