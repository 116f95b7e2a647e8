"""Bodies: what is read, what is refused, and how (spec device-api 1.1, decision D21)."""

from __future__ import annotations

import io
from typing import Any

import pytest
from gunicorn.http.errors import InvalidChunkSize

from balena_supervisor.http.answer import Refused
from balena_supervisor.http.body import LIMIT_BYTES, parse_json
from tests.http.support import Device

PATH = "/v2/local/target-state"
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"", {}),
        (b" \r\n", {}),
        (b"{}", {}),
        (b"[]", []),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b' {"a": ["\xc3\xa9", null, 1.5]}\n', {"a": ["é", None, 1.5]}),
    ],
)
def test_objects_and_lists_are_read(raw: bytes, value: Any) -> None:
    assert parse_json(raw) == value


@pytest.mark.parametrize(
    ("raw", "place"),
    [
        (b"{", "line 1, column 2"),
        (b'{"a": 1,\n  "b": }', "line 2, column 8"),
        (b'{"a": 1} x', "line 1, column 10"),
        (b"\n\n  5", "line 3, column 3"),
        (b'"text"', "line 1, column 1"),
        (b"null", "line 1, column 1"),
        (b"true", "line 1, column 1"),
        (b'{"a": NaN}', "line 1, column 7"),
        (b'{"NaN": "\\"NaN",\n"a": [1, -Infinity]}', "line 2, column 10"),
        (b'{"a": ' + b"9" * 5000 + b"}", "line 1, column 7"),
        (b"[" * 100_000, "line 1, column 1"),
        (b'{"a": \xff}', "line 1, column 7"),
        (b"PK\x03\x04", "line 1, column 1"),
    ],
)
def test_what_is_no_json_object_is_400_with_its_place(raw: bytes, place: str) -> None:
    with pytest.raises(Refused) as caught:
        parse_json(raw)
    assert caught.value.answer.status == 400
    assert place in caught.value.answer.body.decode()


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        (b'{"a": {"b": "\\ud800"}}', "a.b: expected a text of whole characters"),
        (b'{"a": 1, "\\udfff": 1}', "\\\\udfff: expected a text of whole characters"),
        (b'{"a": [0, 99999999999999999999999]}', "a.1: expected a number of at most 64 bits"),
        (b"[-9223372036854775809]", "0: expected a number of at most 64 bits"),
    ],
)
def test_a_value_that_no_actor_could_be_sent_is_named(raw: bytes, line: str) -> None:
    with pytest.raises(Refused) as caught:
        parse_json(raw)
    assert (caught.value.answer.status, line in caught.value.answer.body.decode()) == (400, True)


@pytest.mark.parametrize("method", ["POST", "GET", "PATCH"])
def test_malformed_json_is_400_on_every_route(device: Device, method: str) -> None:
    for path in (PATH, "/v2/version", "/v2/nothing"):
        answer = device.client.simulate_request(method, path, body="{", headers=JSON)
        assert (answer.status_code, answer.json["status"]) == (400, "failed")
        assert "line 1, column 2" in answer.json["message"]


def test_ping_does_not_look_at_a_body(device: Device) -> None:
    assert device.client.simulate_get("/ping", body="{", headers=JSON).status_code == 200


@pytest.mark.parametrize("content_type", ["text/plain", "application/vnd.x+json", "multipart/form-data; boundary=x"])
def test_another_content_type_counts_as_an_empty_body(device: Device, content_type: str) -> None:
    answer = device.client.simulate_post(PATH, body="{", headers={"Content-Type": content_type})
    assert (answer.status_code, "local" in answer.json["message"]) == (400, True)


def test_a_form_is_read_as_texts(device: Device) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = device.client.simulate_post(PATH, body="local=1&force=true", headers=headers)
    assert (answer.status_code, answer.json["message"]) == (
        400,
        "cannot set a local target: local: must be an object",
    )


@pytest.mark.parametrize("content_type", ["application/json", "application/x-www-form-urlencoded"])
def test_a_body_over_the_limit_is_413(device: Device, content_type: str) -> None:
    headers = {"Content-Type": content_type, "Content-Length": str(LIMIT_BYTES + 1)}
    answer = device.client.simulate_post(PATH, body=b"{", headers=headers)
    assert (answer.status_code, answer.json["status"]) == (413, "failed")


def test_a_chunked_body_over_the_limit_is_413(device: Device) -> None:
    answer = device.client.simulate_post(
        PATH,
        headers={**JSON, "Transfer-Encoding": "chunked"},
        extras={"wsgi.input": io.BytesIO(b"[" + b" " * LIMIT_BYTES + b"]")},
    )
    assert answer.status_code == 413


def test_a_chunked_body_is_read(device: Device) -> None:
    headers = {**JSON, "Transfer-Encoding": "chunked"}
    answer = device.client.simulate_post(PATH, headers=headers, extras={"wsgi.input": io.BytesIO(b'{"a": }')})
    assert (answer.status_code, "column 7" in answer.json["message"]) == (400, True)


def test_a_body_that_ends_early_is_400(device: Device) -> None:
    headers = {**JSON, "Content-Length": "100"}
    answer = device.client.simulate_post(PATH, headers=headers, extras={"wsgi.input": io.BytesIO(b'{"a": 1}')})
    assert (answer.status_code, "8 of 100 bytes" in answer.json["message"]) == (400, True)


class _Broken(io.BytesIO):
    def read(self, _size: int | None = -1, /) -> bytes:
        raise InvalidChunkSize(b"zz")


def test_chunks_of_no_length_are_400(device: Device) -> None:
    headers = {**JSON, "Transfer-Encoding": "chunked"}
    answer = device.client.simulate_post(PATH, headers=headers, extras={"wsgi.input": _Broken()})
    assert (answer.status_code, answer.json["status"]) == (400, "failed")


class _Slow(io.BytesIO):
    def read(self, _size: int | None = -1, /) -> bytes:
        raise TimeoutError


def test_a_body_that_comes_too_slowly_is_408(device: Device) -> None:
    headers = {**JSON, "Content-Length": "100"}
    answer = device.client.simulate_post(PATH, headers=headers, extras={"wsgi.input": _Slow()})
    assert (answer.status_code, answer.json["status"]) == (408, "failed")
