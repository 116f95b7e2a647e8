"""One pull from a registry, watched."""

from __future__ import annotations

from collections.abc import Callable

from docker.auth import encode_header

from balena_supervisor.adapters.engine import Engine
from balena_supervisor.adapters.engine_stream import JsonStream, StreamQuiet
from balena_supervisor.adapters.pull_progress import PullProgress
from balena_supervisor.errors import EngineError, EngineUnavailable, NoSpace, SupervisorError

#: a download that gives no sign of life for so long has failed
STALL_S = 180.0
#: what the Go programs of the engine make of ENOSPC
_DISK_FULL = "no space left on device"


def registry_header(username: str, password: str, registry: str) -> str:
    """What the engine wants to be told to log in to a registry."""
    encoded: bytes | str = encode_header({"username": username, "password": password, "serveraddress": registry})
    return encoded.decode() if isinstance(encoded, bytes) else encoded


def pull(
    engine: Engine,
    repo: str,
    tag: str,
    *,
    auth_header: str = "",
    opened: Callable[[JsonStream], None] = lambda _: None,
    progress: Callable[[int], None] = lambda _: None,
    stall_s: float = STALL_S,
) -> None:
    """Pull ``repo`` at a tag or digest and wait for the end.

    ``opened`` gets the stream, so that another thread can close it; ``progress`` each new percent. Raises
    ``EngineError`` with the registry's words when it fails, ``NoSpace`` when it has filled the disk, and
    ``EngineUnavailable`` when it stalls, is closed or breaks.
    """
    known = PullProgress()
    name = f"{repo}{'@' if ':' in tag else ':'}{tag}"
    try:
        stream = engine.pull_image(repo, tag, auth_header=auth_header, stall_s=stall_s)
    except EngineError as error:
        raise _failure(error.message, str(error.fields.get("cause", "")), error.fields.get("status", 500)) from error
    opened(stream)
    try:
        for event in stream:
            if "error" in event:
                cause = str((event.get("errorDetail") or {}).get("message") or event["error"])
                raise _failure(f"cannot pull image {name}: {cause}", cause)
            if known.feed(event):
                progress(known.percent)
    except StreamQuiet as error:
        raise EngineUnavailable(f"cannot pull image {name}: no progress within {stall_s:g} s") from error
    finally:
        stream.close()
    if stream.closed_early:
        raise EngineUnavailable(f"cannot pull image {name}: it was given up")


def _failure(message: str, cause: str, status: int = 500) -> SupervisorError:
    """The engine tells of a full disk in words only (20.10 and 24)."""
    if _DISK_FULL in cause:
        return NoSpace(message, cause=cause)
    return EngineError(message, status=status, cause=cause)
