"""Writing a small file so that a power cut leaves the old or the new content (spec cloud-and-host 2.8)."""

from __future__ import annotations

import errno
import os
from pathlib import Path

#: A file that is a mount point of its own cannot be replaced, only written.
_CANNOT_BE_REPLACED = frozenset({errno.EBUSY, errno.EXDEV})


def write_safely(path: Path, content: bytes) -> None:
    """Replace the content: a temporary file beside it, synced, renamed over it; then the folder is synced and the
    file read back. The mode of an existing file is kept. Raises ``OSError``.
    """
    temporary = path.with_name(path.name + ".new")
    mode = path.stat().st_mode & 0o7777 if path.exists() else 0o600
    try:
        _write_and_sync(temporary, content, mode)
        try:
            temporary.replace(path)
        except OSError as error:
            if error.errno not in _CANNOT_BE_REPLACED:
                raise
            _write_and_sync(path, content, mode)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)
    if path.read_bytes() != content:
        raise OSError(errno.EIO, "the file does not hold what was written", str(path))


def _write_and_sync(path: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
