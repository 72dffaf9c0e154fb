"""aws-chunked bodies, decoded as a state machine without I/O: bytes in, payload views out.

    signed      <hex size>;chunk-signature=<hex>\\r\\n<bytes>\\r\\n ... 0;chunk-signature=<hex>\\r\\n [trailers] \\r\\n
    unsigned    <hex size>\\r\\n<bytes>\\r\\n ... 0\\r\\n <trailers> \\r\\n
    trailers    <name>:<value>\\r\\n ... [x-amz-trailer-signature:<hex>\\r\\n]

A signed chunk's bytes become visible only after its signature has been verified, so a chunk may have at most 16 MiB (SDKs send 64 KiB to
1 MiB). A chunk that lies whole in what is fed is hashed in place and handed on without a copy; one that does not is collected first.
Unsigned payload is never copied. Measured on one core, chunks of 64 KiB in reads of 1 MiB: unsigned 10 GB/s,
signed 1.2 GB/s (SHA-256 alone: 1.45).

https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html and sigv4-streaming-trailers.html
"""

from __future__ import annotations

import enum
import hashlib
import re
from collections.abc import Mapping

from appliance.auth.errors import SignatureMismatchError
from appliance.auth.identity import Authentication
from appliance.auth.signing import chunk_signature, equal, trailer_signature
from appliance.auth.sigv4 import (
    STREAMING_SIGNED,
    STREAMING_SIGNED_TRAILER,
    STREAMING_UNSIGNED_TRAILER,
)
from appliance.model.errors import IncompleteBodyError
from appliance.model.objects import PUT_SIZE_MAX
from appliance.s3.wire.errors import (
    ChunkTooLargeError,
    InvalidRequestError,
    MalformedChunkError,
    MalformedTrailerError,
    MissingContentLengthError,
)

SIGNED_CHUNK_BYTES_MAX = 16 * 1024**2
_LINE_BYTES_MAX = 256
_TRAILERS_BYTES_MAX = 4096
TRAILER_SIGNATURE = "x-amz-trailer-signature"

_SIZE_LINE = re.compile(rb"([0-9a-fA-F]{1,16})(?:;chunk-signature=([0-9a-f]{64}))?\Z")
_TRAILER_LINE = re.compile(rb"([!-9;-~]{1,64}):([\x20-\x7e\t]*)\Z")


class _State(enum.Enum):
    """What comes next."""

    SIZE = enum.auto()
    DATA = enum.auto()
    DATA_END = enum.auto()
    TRAILERS = enum.auto()
    END = enum.auto()


class ChunkedDecoder:
    """Decodes one body. After any error it must not be fed again.

    `decoded_length` is x-amz-decoded-content-length in bytes; `trailer_names` are lower-case, and all of them must come.
    """

    def __init__(
        self,
        authentication: Authentication,
        *,
        decoded_length: int,
        trailer_names: frozenset[str] = frozenset(),
    ) -> None:
        self.trailers: dict[str, str] = {}
        self._authentication = authentication
        self._signed = authentication.payload != STREAMING_UNSIGNED_TRAILER
        self._trailer_names = trailer_names
        self._has_trailers = authentication.payload != STREAMING_SIGNED
        self._previous = authentication.signature
        self._remaining = decoded_length
        self._state = _State.SIZE
        self._line = bytearray()  # a line that has begun
        self._left = 0  # bytes of the chunk still to come
        self._chunk = bytearray()  # of a signed chunk, what has come
        self._hash = hashlib.sha256()
        self._signature = ""  # that the chunk claims
        self._trailers_hash = hashlib.sha256()
        self._trailer_bytes = 0
        self._skip_empty_line = False

    @property
    def finished(self) -> bool:
        """The terminating line has come; every signature and the length hold, and `trailers` are complete."""
        return self._state is _State.END

    def feed(self, data: bytes | bytearray | memoryview) -> list[memoryview]:
        """Payload that is now known good, in order; the views (of `data`, or of the decoder's own) are valid until the next call.

        Raises SignatureMismatchError, MalformedChunkError, MalformedTrailerError, ChunkTooLargeError, IncompleteBodyError.
        """
        view = memoryview(data)
        out: list[memoryview] = []
        offset = 0
        while offset < len(view):
            match self._state:
                case _State.DATA:
                    offset = self._take_data(view, offset, out)
                case _State.END:
                    raise MalformedChunkError("There are bytes after the last chunk of this body.")
                case _:
                    offset = self._take_line(view, offset)
        return out

    def finish(self) -> None:
        """The HTTP body has ended. Raises IncompleteBodyError unless the decoded one has ended with it."""
        if self._state is not _State.END:
            raise IncompleteBodyError("The aws-chunked body ended before its last chunk.")

    # --- lines ---------------------------------------------------------------------------

    def _take_line(self, view: memoryview, offset: int) -> int:
        """Consume up to and including a line feed, and act on the line if it is complete."""
        limit = _TRAILERS_BYTES_MAX if self._state is _State.TRAILERS else _LINE_BYTES_MAX
        piece = bytes(view[offset : offset + limit])
        end = piece.find(b"\n")
        if end < 0:
            self._line += piece
            if len(self._line) >= limit:
                raise self._malformed("A line is too long.")
            return offset + len(piece)
        line = bytes(self._line) + piece[:end]
        self._line.clear()
        if line.endswith(b"\r"):
            self._act_on_line(line[:-1])
        elif self._state is _State.TRAILERS and line:
            # Some SDKs (MinIO's) write "name:value\n\r\n", as AWS's example of what is signed can be read.
            self._take_trailer(line)
            self._skip_empty_line = True
        else:
            raise self._malformed("A line does not end with CR LF.")
        return offset + end + 1

    def _act_on_line(self, line: bytes) -> None:
        if self._skip_empty_line and not line:
            self._skip_empty_line = False
        elif self._state is _State.SIZE:
            self._begin_chunk(line)
        elif self._state is _State.DATA_END:
            if line:
                raise MalformedChunkError("A chunk is longer than its size says.")
            self._state = _State.SIZE
        elif line:
            self._skip_empty_line = False
            self._take_trailer(line)
        else:
            self._end()

    def _malformed(self, reason: str) -> Exception:
        if self._state is _State.TRAILERS:
            return MalformedTrailerError(reason)
        return MalformedChunkError(reason)

    # --- chunks --------------------------------------------------------------------------

    def _begin_chunk(self, line: bytes) -> None:
        match = _SIZE_LINE.match(line)
        if match is None or (match[2] is not None) is not self._signed:
            raise MalformedChunkError("A chunk's size line is not well-formed.")
        size = int(match[1], 16)
        if self._signed:
            self._signature = match[2].decode("ascii")
        if size > self._remaining:
            raise IncompleteBodyError(
                "The body holds more bytes than the x-amz-decoded-content-length header says."
            )
        if self._signed and size > SIGNED_CHUNK_BYTES_MAX:
            raise ChunkTooLargeError
        self._remaining -= size
        self._left = size
        self._state = _State.DATA
        if size == 0:
            self._end_of_data()

    def _end_of_data(self) -> None:
        if self._remaining:
            raise IncompleteBodyError(
                "The body holds fewer bytes than the x-amz-decoded-content-length header says."
            )
        if self._signed:
            self._verify_chunk()
        self._state = _State.TRAILERS

    def _take_data(self, view: memoryview, offset: int, out: list[memoryview]) -> int:
        piece = view[offset : offset + self._left]
        self._left -= len(piece)
        if not self._signed:
            out.append(piece)
        else:
            self._hash.update(piece)
            if self._left == 0 and not self._chunk:
                self._verify_chunk()
                out.append(piece)
            else:
                self._chunk += piece
                if self._left == 0:
                    self._verify_chunk()
                    out.append(memoryview(self._chunk))
                    # Not cleared: `out` views it.
                    self._chunk = bytearray()
        if self._left == 0:
            self._state = _State.DATA_END
        return offset + len(piece)

    def _verify_chunk(self) -> None:
        facts = self._authentication
        computed = chunk_signature(
            facts.signing_key, facts.timestamp, facts.scope, self._previous, self._hash.hexdigest()
        )
        if not equal(computed, self._signature):
            raise SignatureMismatchError(
                "The signature of a chunk does not match what was computed.",
                SignatureProvided=self._signature,
            )
        self._previous = computed
        self._hash = hashlib.sha256()

    # --- trailers --------------------------------------------------------------------------

    def _take_trailer(self, line: bytes) -> None:
        self._trailer_bytes += len(line)
        match = _TRAILER_LINE.match(line)
        if match is None or not self._has_trailers or self._trailer_bytes > _TRAILERS_BYTES_MAX:
            raise MalformedTrailerError
        name = match[1].decode("ascii").lower()
        value = match[2].decode("ascii").strip(" \t")
        wanted = name in self._trailer_names or (self._signed and name == TRAILER_SIGNATURE)
        if not wanted or name in self.trailers or TRAILER_SIGNATURE in self.trailers:
            raise MalformedTrailerError(f"The trailer {name} was not announced, or comes twice.")
        self.trailers[name] = value
        if name != TRAILER_SIGNATURE:
            self._trailers_hash.update(f"{name}:{value}\n".encode())

    def _end(self) -> None:
        claimed = self.trailers.pop(TRAILER_SIGNATURE, None)
        missing = self._trailer_names - self.trailers.keys()
        if missing:
            raise MalformedTrailerError(f"The trailer {min(missing)} was announced but is missing.")
        if self._signed and self._has_trailers:
            self._verify_trailers(claimed)
        self._state = _State.END

    def _verify_trailers(self, claimed: str | None) -> None:
        if claimed is None:
            raise MalformedTrailerError(f"The trailer {TRAILER_SIGNATURE} is missing.")
        facts = self._authentication
        computed = trailer_signature(
            facts.signing_key,
            facts.timestamp,
            facts.scope,
            self._previous,
            self._trailers_hash.hexdigest(),
        )
        if not equal(computed, claimed):
            raise SignatureMismatchError(
                "The signature of the trailers does not match what was computed.",
                SignatureProvided=claimed,
            )


_STREAMING = frozenset({STREAMING_SIGNED, STREAMING_SIGNED_TRAILER, STREAMING_UNSIGNED_TRAILER})


def decoded_length(headers: Mapping[str, str]) -> int:
    """x-amz-decoded-content-length in bytes. Raises MissingContentLengthError, InvalidRequestError."""
    value = headers.get("x-amz-decoded-content-length")
    if value is None:
        raise MissingContentLengthError(
            "You must provide the x-amz-decoded-content-length HTTP header."
        )
    if not value.isascii() or not value.isdigit() or len(value) > len(str(PUT_SIZE_MAX * 1024)):
        raise InvalidRequestError("The value of x-amz-decoded-content-length is not a number.")
    return int(value)


def announced_trailers(headers: Mapping[str, str]) -> frozenset[str]:
    """Lower-case names in x-amz-trailer."""
    names = headers.get("x-amz-trailer", "").lower().split(",")
    return frozenset(name.strip() for name in names) - {""}


def decoder_for(
    authentication: Authentication, headers: Mapping[str, str]
) -> ChunkedDecoder | None:
    """The decoder of a request's body; None where the body is plain. Raises MissingContentLengthError, InvalidRequestError."""
    names = announced_trailers(headers)
    if authentication.payload not in _STREAMING:
        if names:
            raise InvalidRequestError(
                "x-amz-trailer needs x-amz-content-sha256 to announce a body with trailers."
            )
        return None
    if names and authentication.payload == STREAMING_SIGNED:
        raise InvalidRequestError(f"x-amz-trailer does not fit {STREAMING_SIGNED}.")
    return ChunkedDecoder(
        authentication, decoded_length=decoded_length(headers), trailer_names=names
    )
