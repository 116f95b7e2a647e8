"""What the database knows, read at once and without writing, for commands that only look."""

from __future__ import annotations

from pathlib import Path

import msgspec
import peewee

from balena_supervisor.db.commit_store import CommitStore
from balena_supervisor.db.config_store import ConfigStore
from balena_supervisor.db.connection import refusing
from balena_supervisor.db.image_store import ImageStore
from balena_supervisor.db.key_store import KeyStore
from balena_supervisor.model.image import ImageRow


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """Empty when there is no database yet. ``keys`` maps app id and service name to the key of the service."""

    config: dict[str, str] = {}
    commits: dict[int, str] = {}
    images: tuple[ImageRow, ...] = ()
    keys: dict[tuple[int, str], str] = {}


def read_stored(path: Path) -> Stored:
    """Read the database of a supervisor that may be running. Raises ``DatabaseRefused``."""
    if not path.is_file():
        return Stored()
    # Without this even a reader leaves files beside the database. There is a log file exactly while a supervisor runs
    # or when it was killed; then there is something to read in it.
    mode = "mode=ro" if Path(f"{path}-wal").exists() else "mode=ro&immutable=1"
    database = peewee.SqliteDatabase(f"{path.absolute().as_uri()}?{mode}", uri=True)
    with refusing("read", path):
        database.connect()
    try:
        return Stored(
            config=ConfigStore(database).all(),
            commits=CommitStore(database).all(),
            images=ImageStore(database).rows(),
            keys={
                (stored.app_id, stored.service_name): stored.key
                for stored in KeyStore(database).all()
                if stored.service_name is not None
            },
        )
    finally:
        database.close()
