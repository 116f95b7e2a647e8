"""Starting the whole supervisor: what can be wrong before the first process is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from balena_supervisor.errors import DatabaseRefused
from balena_supervisor.supervise import make_folder


def test_the_folder_of_the_database_is_made_with_its_parents(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


def test_a_folder_that_cannot_be_made_is_told_in_plain_words(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a file")
    with pytest.raises(DatabaseRefused, match=r"cannot make the folder of the database .*/a: File exists"):
        make_folder(tmp_path / "a")
    with pytest.raises(DatabaseRefused, match="Not a directory"):
        make_folder(tmp_path / "a" / "b")
