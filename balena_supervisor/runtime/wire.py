"""What travels on the sockets between the post office and the actors: MessagePack frames.

A frame is one MessagePack array whose first element is ``VERSION.name``; the rest are the fields of one of the types
below, in order. Frames are cut from the stream by msgpack's streaming ``Unpacker``, which enforces the size limit
before anything is built, and then checked strictly by msgspec. The body of a message stays opaque bytes on the whole
way: only the receiver decodes it.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgpack  # type: ignore[import-untyped]  # it has no stubs
import msgspec

from balena_supervisor.errors import ErrorRecord, RemoteError

VERSION = 1
#: the largest frame, in bytes
MAX_FRAME_BYTES = 16 * 1024 * 1024
#: how much is read from a socket at a time, in bytes
CHUNK_BYTES = 64 * 1024
#: what the buffer of a reader starts with; most frames are smaller
_BUFFER_BYTES = 16 * 1024
#: what an envelope may need besides the body, in bytes
_ENVELOPE_ROOM = 4096


class MalformedStream(Exception):
    """The bytes are no MessagePack or a frame is over the limit. Nothing after it can be read."""


class MalformedFrame(Exception):
    """One whole MessagePack object that is no frame of this version. The next one can be read."""


def _tag(name: str) -> str:
    return f"{VERSION}.{name.lower()}"


class Frame(msgspec.Struct, frozen=True, array_like=True, tag_field="frame", tag=_tag):
    """Base of all frames."""


# --- from an actor's process to the post office --------------------------------------------------------------------


class Hello(Frame, frozen=True):
    """The first frame of a connection: whose mailbox this is, and which start of its process."""

    name: str
    generation: int


class Ready(Frame, frozen=True):
    """``on_start`` has returned; deliveries may begin."""


class Failed(Frame, frozen=True):
    """The actor died of an exception and its process is about to exit."""

    reason: str


class Envelope(Frame, frozen=True):
    """A message on its way. ``timeout_s`` is the time left to answer; ``asked`` says whether an answer is awaited.

    ``id`` is the sender's number of it in :class:`Send` and the post office's in :class:`Deliver`.
    """

    id: int
    sender: str
    recipient: str
    kind: str
    type: str
    body: bytes
    tries: int = 0
    timeout_s: float | None = None
    asked: bool = False
    key: str = ""
    retained: bool = False


class Send(Envelope, frozen=True):
    """Please deliver. The recipient of an event is ``*``: its subscribers."""


class Holding(Frame, frozen=True):
    """The handler has returned ``Pending``: the message stays in hand and the next one may come."""

    id: int


class Settled(Frame, frozen=True):
    """A delivered message is done. ``code`` is empty, or ``handler-failed``, ``unknown-message``,
    ``malformed-message``; then ``body`` is an ``ErrorRecord``. Otherwise ``body`` is the answer when one was asked."""

    id: int
    code: str = ""
    body: bytes = b""


class Beat(Frame, frozen=True):
    """A heartbeat, sent by root and sent back once it has passed through the actor's inbox."""

    number: int


class Stack(Frame, frozen=True):
    """Asked by root with an empty text; answered with the stack of every thread."""

    number: int
    text: str = ""


# --- from the post office to an actor's process --------------------------------------------------------------------


class Begin(Frame, frozen=True):
    """Deliveries begin; the first ``snapshots`` of them are retained events."""

    snapshots: int


class Deliver(Envelope, frozen=True):
    """A message to handle."""


class Reply(Frame, frozen=True):
    """The answer to the ask ``id``: the encoded answer, or an ``ErrorRecord`` when it failed."""

    id: int
    ok: bool
    body: bytes


class Stop(Frame, frozen=True):
    """Finish the message in hand, then exit."""


FromActor = Hello | Ready | Failed | Send | Holding | Settled | Beat | Stack
ToActor = Begin | Deliver | Reply | Beat | Stack | Stop

_encoder = msgspec.msgpack.Encoder(enc_hook=str)


def encode(frame: Frame) -> bytes:
    return _encoder.encode(frame)


def encode_body(value: object) -> bytes:
    """The body of a message or an answer. Raises ``RemoteError`` with code ``frame-too-large``."""
    body = msgspec.msgpack.encode(value)
    if len(body) > MAX_FRAME_BYTES - _ENVELOPE_ROOM:
        message = f"cannot send {type(value).__name__}: {len(body)} bytes are more than a frame holds"
        raise RemoteError(ErrorRecord("frame-too-large", message, {"size_bytes": len(body)}))
    return body


def encode_error(record: ErrorRecord) -> bytes:
    """An error record; a field that cannot travel goes as its text."""
    return _encoder.encode(record)


def decode_error(body: bytes) -> ErrorRecord:
    """Something in any case: an error that cannot be read is still an error."""
    try:
        return msgspec.msgpack.decode(body, type=ErrorRecord)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return ErrorRecord("malformed-message", f"cannot read the error: {error}")


class FrameReader:
    """Cuts a byte stream into frames. ``frames`` is the union of those this side takes."""

    def __init__(self, frames: object) -> None:
        self._frames = frames
        self._start()

    def _start(self) -> None:
        """With an empty buffer. It only ever grows, so a large frame is forgotten by starting again."""
        self._fed = 0
        self._cut = 0
        self._largest = 0
        self._unpacker = msgpack.Unpacker(
            raw=False,
            read_size=_BUFFER_BYTES,
            max_buffer_size=MAX_FRAME_BYTES + CHUNK_BYTES,
            max_bin_len=MAX_FRAME_BYTES,
            max_str_len=MAX_FRAME_BYTES,
            max_array_len=32,
            max_map_len=0,
            max_ext_len=0,
        )

    def feed(self, chunk: bytes) -> Iterator[Frame | MalformedFrame]:
        """The frames that ``chunk`` (at most ``CHUNK_BYTES``) completes; a malformed one as a value.

        Raises :class:`MalformedStream` where the stream cannot be read any further.
        """
        self._fed += len(chunk)
        try:
            self._unpacker.feed(chunk)
        except (msgpack.UnpackException, ValueError) as error:
            raise MalformedStream(f"a frame is over {MAX_FRAME_BYTES} bytes") from error
        while True:
            try:
                thing = self._unpacker.unpack()
            except msgpack.OutOfData:
                if not self.inside_a_frame and self._largest > CHUNK_BYTES:
                    self._start()
                return
            except (msgpack.UnpackException, ValueError) as error:
                raise MalformedStream(f"not MessagePack within the limits: {error}") from error
            end = self._unpacker.tell()
            self._largest = max(self._largest, end - self._cut)
            self._cut = end
            yield self._frame(thing)

    @property
    def inside_a_frame(self) -> bool:
        """Whether the last chunk ended within a frame."""
        return self._fed != self._cut

    def _frame(self, thing: object) -> Frame | MalformedFrame:
        try:
            frame: Frame = msgspec.convert(thing, self._frames)
        except msgspec.ValidationError as error:
            return MalformedFrame(str(error))
        return frame
