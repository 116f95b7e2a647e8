"""Room beside the database for a full disk: SQLite cannot even be opened without its two log files, and a target may be
what makes room."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

#: the log files of a start take some 40 KiB, a database that is made anew some 200
SIZE_BYTES = 256 * 1024


class Ballast:
    """A file of that size beside the database. It is given up at a start or for a target that has no room, and put back
    later."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(f"{database.name}.ballast")

    def is_there(self) -> bool:
        return self._path.exists()

    def free_bytes(self) -> int:
        """What the supervisor may still write on this disk."""
        disk = os.statvfs(self._path.parent)
        return (disk.f_bavail if os.geteuid() else disk.f_bfree) * disk.f_frsize

    def give_up_if_full(self) -> bool:
        """True when the disk has no room and the ballast has made some."""
        if not self.is_there() or self.free_bytes() >= SIZE_BYTES:
            return False
        self._path.unlink(missing_ok=True)
        return True

    def put_back(self) -> bool:
        """Whether it stands now. It takes only room that is left over."""
        if self.is_there():
            return True
        if self.free_bytes() < 2 * SIZE_BYTES:
            return False
        try:
            self._allocate()
        except OSError:
            self._path.unlink(missing_ok=True)
            return False
        return True

    def _allocate(self) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, SIZE_BYTES)
        finally:
            with suppress(OSError):
                os.close(descriptor)
