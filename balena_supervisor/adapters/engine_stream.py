"""Answers of the engine that go on: events and the progress of a pull, as JSON objects one by one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from docker.types import CancellableStream
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError, ReadTimeoutError

from balena_supervisor.errors import EngineUnavailable

_PART_BYTES = 65536


class StreamQuiet(EngineUnavailable):
    """No byte came for the time that was agreed on when the stream was opened."""


class JsonStream:
    """Iterates over the objects of a streaming answer; for one reader, and one closer in any thread.

    The iteration ends when the engine ends the answer properly or :meth:`close` was called. It raises
    ``StreamQuiet``, or ``EngineUnavailable`` when the connection breaks.
    """

    def __init__(self, response: BaseHTTPResponse, doing: str) -> None:
        self._response = response
        self._doing = doing
        self._closed = False
        self._ended = False
        #: the time of the engine at the beginning, as the HTTP header ``Date`` gives it; ``""`` if unknown
        self.opened_at = str(response.headers.get("Date", ""))

    @property
    def done(self) -> bool:
        """Whether it was read to its end or closed."""
        return self._closed or self._ended

    @property
    def closed_early(self) -> bool:
        """Whether it was closed before the engine had ended it."""
        return self._closed and not self._ended

    def close(self) -> None:
        """End it from any thread. A reader that waits for bytes wakes up; the engine drops what it was doing."""
        self._closed = True
        with suppress(OSError, AttributeError):
            # AttributeError: the answer was read to its end, so there is no socket any more
            CancellableStream(iter(()), _Raw(self._response)).close()  # type: ignore[arg-type]  # uses raw and close

    def __iter__(self) -> Iterator[dict[str, Any]]:
        try:
            for line in _lines(self._response):
                yield json.loads(line)
            self._ended = not self._closed
        except (HTTPError, OSError, ValueError, AttributeError) as error:
            # AttributeError: urllib3 when its socket is closed under it
            if self._closed:
                return
            if any(isinstance(cause, ReadTimeoutError) for cause in (error, *error.args)):
                raise StreamQuiet(f"cannot {self._doing}: the engine sent nothing for too long") from error
            raise EngineUnavailable(f"cannot {self._doing}: the connection to the engine broke") from error
        finally:
            self._response.close()


class _Raw:
    """Shows an answer the way in which docker's stream looks for its socket."""

    def __init__(self, response: BaseHTTPResponse) -> None:
        self.raw = response
        self.close = response.close


def _lines(response: BaseHTTPResponse) -> Iterator[bytes]:
    """The lines of an answer that are not empty, each as soon as it is whole."""
    rest = b""
    for part in response.stream(_PART_BYTES):
        *whole, rest = (rest + part).split(b"\n")
        yield from (line for line in whole if line.strip())
    if rest.strip():
        yield rest
