"""Frames on the stream: whole, in pieces, truncated, too large, rubbish."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from balena_supervisor.errors import ErrorRecord, RemoteError
from balena_supervisor.runtime import wire

SEND = wire.Send(7, "a", "b", "command", "Work", b"\x80", 0, 1.5, True, "", False)
FRAMES: list[wire.Frame] = [
    wire.Hello("one", 3),
    wire.Ready(),
    wire.Failed("why"),
    SEND,
    wire.Holding(1),
    wire.Settled(1, "handler-failed", b"x"),
    wire.Beat(4),
    wire.Stack(5, "text"),
]


def reader() -> wire.FrameReader:
    return wire.FrameReader(wire.FromActor)


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: type(frame).__name__)
def test_a_frame_comes_out_as_it_went_in(frame: wire.Frame) -> None:
    assert list(reader().feed(wire.encode(frame))) == [frame]


@given(st.integers(1, 40))
def test_a_stream_may_come_in_pieces_of_any_size(size: int) -> None:
    stream = b"".join(wire.encode(frame) for frame in FRAMES)
    under_test = reader()
    got = [frame for at in range(0, len(stream), size) for frame in under_test.feed(stream[at : at + size])]
    assert got == FRAMES
    assert not under_test.inside_a_frame


def test_a_truncated_frame_is_known_as_such() -> None:
    under_test = reader()
    assert list(under_test.feed(wire.encode(SEND)[:-1])) == []
    assert under_test.inside_a_frame


@pytest.mark.parametrize(
    "thing",
    [
        1,
        "text",
        [],
        ["1.send"],
        ["2.hello", "one", 1],
        ["1.hello", "one", "1"],
        ["1.hello", 1, 1],
        ["1.deliver", 1, "a", "b", "command", "Work", b""],
        [None] * 20,
    ],
    ids=repr,
)
def test_a_whole_object_that_is_no_frame_spoils_only_itself(thing: object) -> None:
    got = list(reader().feed(msgspec.msgpack.encode(thing) + wire.encode(SEND)))
    assert isinstance(got[0], wire.MalformedFrame)
    assert got[1:] == [SEND]


@pytest.mark.parametrize(
    "stream",
    [
        b"\xc1",
        b"\x91" * 5000,
        msgspec.msgpack.encode({"a": 1}),
        msgspec.msgpack.encode([0] * 33),
        msgspec.msgpack.encode("\ud7ff")[:1] + b"\xff\xff\xff",
    ],
    ids=["reserved byte", "nesting", "map", "long array", "no UTF-8"],
)
def test_a_stream_that_is_no_messagepack_within_the_limits_is_refused(stream: bytes) -> None:
    with pytest.raises(wire.MalformedStream):
        list(reader().feed(stream))


@given(st.binary(max_size=200))
def test_rubbish_is_refused_or_malformed_and_nothing_else(rubbish: bytes) -> None:
    try:
        got = list(reader().feed(rubbish))
    except wire.MalformedStream:
        return
    assert all(isinstance(frame, wire.MalformedFrame | wire.Frame) for frame in got)


def test_a_frame_over_the_limit_is_refused_before_it_is_there() -> None:
    under_test = reader()
    assert list(under_test.feed(b"\x92\xa61.send\xc6\xff\xff\xff\xff")) == []

    def flood() -> None:
        for _ in range(wire.MAX_FRAME_BYTES // wire.CHUNK_BYTES + 2):
            assert list(under_test.feed(b"x" * wire.CHUNK_BYTES)) == []

    with pytest.raises(wire.MalformedStream):
        flood()


def test_a_body_of_nearly_the_limit_passes_and_one_over_it_fails_at_its_sender() -> None:
    body = wire.encode_body("x" * (wire.MAX_FRAME_BYTES - 8192))
    stream = wire.encode(wire.Send(1, "a", "b", "command", "Work", body))
    under_test = reader()
    size = wire.CHUNK_BYTES
    got = [frame for at in range(0, len(stream), size) for frame in under_test.feed(stream[at : at + size])]
    got += under_test.feed(wire.encode(SEND))
    assert got[1:] == [SEND]
    with pytest.raises(RemoteError) as caught:
        wire.encode_body("x" * wire.MAX_FRAME_BYTES)
    assert caught.value.code == "frame-too-large"


def test_an_error_travels_although_a_field_of_it_cannot() -> None:
    record = ErrorRecord("c", "m", {"thing": ValueError("x"), "number": 1})
    assert wire.decode_error(wire.encode_error(record)) == ErrorRecord("c", "m", {"thing": "x", "number": 1})
