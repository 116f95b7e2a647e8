"""Reading the body of a request (spec device-api 1.1): JSON and forms up to a limit, anything else counts as empty."""

from __future__ import annotations

import json
import re
from typing import Any, BinaryIO, NoReturn
from urllib.parse import parse_qsl

import falcon
import msgspec
from gunicorn.http.errors import ParseException

from balena_supervisor.http.answer import Refused, failed
from balena_supervisor.state.violations import Violations

LIMIT_BYTES = 10 * 1024 * 1024
_STEP_BYTES = 256 * 1024
#: Texts, which are skipped, and the numbers that are not JSON or have more digits than Python reads.
_TEXT_OR_NO_NUMBER = re.compile(r'"(?:[^"\\]|\\.)*"|(-?Infinity|NaN|-?[0-9]{4301,})')


def read_body(req: falcon.Request) -> Any:
    """The decoded body: an object or a list, ``{}`` without a body or with another content type.

    Raises ``Refused``: 413 over the limit, 400 with line and column when it is no JSON object or list, 400 with the
    path of a value that the actors cannot send to each other.
    """
    chunked = req.get_header("Transfer-Encoding") is not None
    if not chunked and not req.content_length:
        return {}
    kind = (req.content_type or "").split(";")[0].strip().lower()
    if kind not in {"application/json", "application/x-www-form-urlencoded"}:
        return {}
    raw = _read(req.env["wsgi.input"], None if chunked else req.content_length)
    if kind == "application/json":
        return parse_json(raw)
    try:
        return dict(parse_qsl(raw.decode(), keep_blank_values=True, max_num_fields=1000))
    except ValueError as error:
        raise Refused(failed(400, f"cannot read the form: {error}")) from error


def parse_json(raw: bytes) -> Any:
    """An object or a list; nothing but blanks is ``{}``. Raises ``Refused`` (400)."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        _malformed(raw[: error.start].decode(errors="replace"), error.start, "not UTF-8", error)
    start = len(text) - len(text.lstrip(" \t\r\n"))
    if start == len(text):
        return {}
    if text[start] not in "[{":
        _malformed(text, start, "an object or a list is needed", None)
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        _malformed(text, error.pos, error.msg, error)
    except RecursionError as error:
        _malformed(text, start, "nested too deeply", error)
    except ValueError as error:
        places = (match.start(1) for match in _TEXT_OR_NO_NUMBER.finditer(text) if match[1])
        _malformed(text, next(places, start), "not a number that JSON can hold", error)
    _check_portable(value)
    return value


def _check_portable(value: Any) -> None:
    """Refuse what cannot travel between the actors: whole numbers over 64 bits, halves of surrogate pairs."""
    try:
        msgspec.msgpack.encode(value)
    except (ValueError, OverflowError, RecursionError) as error:
        violations = Violations()
        violations.portable((), value)
        message = "; ".join(violations.lines) or str(error)
        raise Refused(failed(400, f"cannot read the body: {message}")) from error


def _read(stream: BinaryIO, length: int | None) -> bytes:
    """The whole body; ``length`` is None for a chunked one."""
    if length is not None and length > LIMIT_BYTES:
        raise _too_large()
    parts = bytearray()
    while length is None or len(parts) < length:
        want = _STEP_BYTES if length is None else min(_STEP_BYTES, length - len(parts))
        try:
            part = stream.read(want)
        except TimeoutError as error:
            raise Refused(failed(408, "cannot read the body: it came too slowly")) from error
        except ParseException as error:
            raise Refused(failed(400, f"cannot read the body: {error}")) from error
        except OSError as error:
            raise Refused(failed(503, f"cannot read the body: {error.strerror or error}")) from error
        if not part:
            break
        parts += part
        if len(parts) > LIMIT_BYTES:
            raise _too_large()
    if length is not None and len(parts) < length:
        raise Refused(failed(400, f"cannot read the body: it ended after {len(parts)} of {length} bytes"))
    return bytes(parts)


def _too_large() -> Refused:
    return Refused(failed(413, f"cannot read the body: more than {LIMIT_BYTES // (1024 * 1024)} MiB"))


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _malformed(text: str, position: int, problem: str, cause: Exception | None) -> NoReturn:
    before = text[:position]
    line = before.count("\n") + 1
    column = position - (before.rfind("\n") + 1) + 1
    message = f"cannot read the body: {problem} (line {line}, column {column})"
    raise Refused(failed(400, message)) from cause
