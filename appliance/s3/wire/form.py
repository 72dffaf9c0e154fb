"""multipart/form-data bodies of browser uploads (PostObject), decoded as a state machine without I/O: bytes in, views of the file out.

    --boundary\\r\\n Content-Disposition: form-data; name="key"\\r\\n \\r\\n value \\r\\n
    --boundary\\r\\n Content-Disposition: form-data; name="file"; filename="x"\\r\\n \\r\\n bytes \\r\\n
    --boundary--\\r\\n

Fields come before the file and are kept, within AWS's limit of 20 KiB; the file is handed on as it arrives; what comes after it is
ignored, as AWS ignores it, but the closing boundary must come: without it nobody knows whether the file is whole. A field that comes
twice is refused: which of the two was signed for would be a guess.

https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTForms.html and RFC 7578
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping

from appliance.model.errors import IncompleteBodyError
from appliance.model.names import key_text
from appliance.s3.wire.errors import (
    FormFieldsTooLargeError,
    InvalidArgumentValueError,
    MalformedFormError,
    NotAFormError,
    OneFileError,
)

FIELDS_BYTES_MAX = 20 * 1024
_PART_HEADERS_BYTES_MAX = 4096
_BOUNDARY_CHARS_MAX = 200  # RFC 2046 says 70; leave room
_IGNORED_BYTES_MAX = 64 * 1024  # after the file
FILE = "file"
# A browser may say anything in these and expect it to be ignored.
IGNORED_PREFIX = "x-ignore-"

_BOUNDARY = re.compile(r';\s*boundary=(?:"([^"\r\n]+)"|([^\s;,"]+))', re.IGNORECASE)
_PARAMETER = re.compile(rb';\s*([A-Za-z*]+)=(?:"([^"]*)"|([^\s;"]*))')
_TRANSPARENT = frozenset({b"", b"7bit", b"8bit", b"binary"})


class _State(enum.Enum):
    """What comes next."""

    FIRST = enum.auto()  # the first boundary
    DELIMITED = enum.auto()  # what follows a boundary: CR LF, or "--"
    HEADERS = enum.auto()
    FIELD = enum.auto()
    DATA = enum.auto()  # the file
    IGNORED = enum.auto()  # a part after the file
    END = enum.auto()


def boundary_of(headers: Mapping[str, str]) -> bytes:
    """The boundary in Content-Type. Raises NotAFormError, MalformedFormError."""
    value = headers.get("content-type", "")
    if value.partition(";")[0].strip().lower() != "multipart/form-data":
        raise NotAFormError
    match = _BOUNDARY.search(value)
    boundary = (match[1] or match[2]) if match else ""
    if not boundary or len(boundary) > _BOUNDARY_CHARS_MAX:
        raise MalformedFormError("The Content-Type of this form names no usable boundary.")
    return boundary.encode("latin-1")


class FormDecoder:
    """Decodes one body. After any error it must not be fed again.

    `fields` (lower-case names) and `filename` are complete once `in_file`. The interface is that of `chunked.ChunkedDecoder`.
    """

    def __init__(self, boundary: bytes) -> None:
        self.fields: dict[str, str] = {}
        self.filename = ""
        self.trailers: Mapping[str, str] = {}
        self._delimiter = b"\r\n--" + boundary
        # The first boundary stands at the beginning of a line, which may be the first.
        self._pending = b"\r\n"
        self._state = _State.FIRST
        self._name = ""
        self._taken = 0  # bytes before the file, or after it, that are done with
        self._file_seen = False

    @property
    def in_file(self) -> bool:
        """The file has begun (it may have ended too)."""
        return self._file_seen

    def feed(self, data: bytes | bytearray | memoryview) -> list[memoryview]:
        """Bytes of the file, in order; the views stay valid.

        Raises MalformedFormError, FormFieldsTooLargeError, OneFileError, InvalidArgumentValueError (a field that comes twice).
        """
        out: list[memoryview] = []
        self._pending += bytes(data)
        while self._state is not _State.END and self._step(out):
            pass
        if self._state is _State.END:
            self._pending = b""  # an epilogue says nothing
        elif self._state is not _State.DATA:
            self._check_length(self._taken + len(self._pending))
        return out

    def finish(self) -> None:
        """The HTTP body has ended. Raises OneFileError (no file), IncompleteBodyError."""
        if self._state is not _State.END:
            raise IncompleteBodyError("The form ended before its closing boundary.")
        if not self._file_seen:
            raise OneFileError

    # --- steps: each takes what it can from `_pending`, and says whether another may follow ------------------------

    def _step(self, out: list[memoryview]) -> bool:
        match self._state:
            case _State.DATA:
                return self._take_data(out)
            case _State.DELIMITED:
                return self._take_line_end()
            case _State.HEADERS:
                return self._take_headers()
            case _:
                return self._take_content()

    def _take(self, count: int) -> bytes:
        piece, self._pending = self._pending[:count], self._pending[count:]
        self._taken += count
        self._check_length(self._taken)
        return piece

    def _take_line_end(self) -> bool:
        if len(self._pending) < 2:
            return False
        if self._pending.startswith(b"--"):
            self._state = _State.END
            return False
        # White space may pad a boundary line (RFC 2046 section 5.1.1).
        end = self._pending.find(b"\r\n")
        if self._pending[: max(end, 0)].strip(b" \t") or (
            end < 0 and self._pending.strip(b" \t\r")
        ):
            raise MalformedFormError("A boundary of this form is followed by something else.")
        if end < 0:
            return False
        self._take(end + 2)
        self._state = _State.HEADERS
        return True

    def _take_headers(self) -> bool:
        end = self._pending.find(b"\r\n\r\n")
        begun = end if end >= 0 else len(self._pending) - 3
        if begun > _PART_HEADERS_BYTES_MAX:
            raise MalformedFormError("The headers of a part of this form are too large.")
        if end < 0:
            return False
        name, filename = _disposition(self._take(end))
        # The empty line's own line break may already be that of the next boundary.
        self._take(2)
        self._begin_part(name, filename)
        if self._state is _State.DATA:
            self._pending = self._pending[2:]
        return True

    def _begin_part(self, name: str, filename: str) -> None:
        self._name = name
        if self._file_seen:
            if name == FILE:
                raise OneFileError
            self._state = _State.IGNORED
        elif name == FILE:
            self._file_seen = True
            self._taken = 0
            self.filename = filename
            self._state = _State.DATA
        else:
            self._state = _State.FIELD

    def _take_content(self) -> bool:
        """A preamble, a field or an ignored part: whatever ends at the next boundary."""
        end = self._pending.find(self._delimiter)
        if end < 0:
            return False
        content = self._take(end)
        self._take(len(self._delimiter))
        if self._state is _State.FIELD:
            self._keep(content.removeprefix(b"\r\n"))
        self._state = _State.DELIMITED
        return True

    def _keep(self, content: bytes) -> None:
        name = self._name
        if name.startswith(IGNORED_PREFIX):
            return
        if name in self.fields:
            raise InvalidArgumentValueError(f"The form has two fields named {name}.", name, "")
        self.fields[name] = key_text(content)

    def _take_data(self, out: list[memoryview]) -> bool:
        view = memoryview(self._pending)
        end = self._pending.find(self._delimiter)
        if end >= 0:
            out.append(view[:end])
            self._pending = self._pending[end + len(self._delimiter) :]
            self._state = _State.DELIMITED
            return True
        held = _overlap(self._pending, self._delimiter)
        out.append(view[: len(view) - held])
        self._pending = self._pending[len(view) - held :]
        return False

    def _check_length(self, size: int) -> None:
        if self._file_seen:
            if size > _IGNORED_BYTES_MAX:
                raise MalformedFormError("There is too much after the file of this form.")
        elif size > FIELDS_BYTES_MAX:
            raise FormFieldsTooLargeError


def _overlap(data: bytes, delimiter: bytes) -> int:
    """How many bytes at the end of `data` may be the beginning of `delimiter`."""
    start = len(data) - len(delimiter) + 1
    at = data.find(b"\r", max(start, 0))
    while at >= 0:
        if delimiter.startswith(data[at:]):
            return len(data) - at
        at = data.find(b"\r", at + 1)
    return 0


def _disposition(raw: bytes) -> tuple[str, str]:
    """Name (lower-case) and file name of a part, from its header lines. Raises MalformedFormError."""
    disposition = b""
    for line in raw.split(b"\r\n"):
        field, separator, value = line.partition(b":")
        if not separator:
            raise MalformedFormError("A header of a part of this form has no colon.")
        match field.strip().lower():
            case b"content-disposition":
                disposition = value.strip()
            case b"content-transfer-encoding" if value.strip().lower() not in _TRANSPARENT:
                raise MalformedFormError("Parts of forms cannot be transfer-encoded.")
    if disposition.partition(b";")[0].strip().lower() != b"form-data":
        raise MalformedFormError("A part of this form is no form-data.")
    found = {
        match[1].lower(): match[2] if match[2] is not None else match[3]
        for match in _PARAMETER.finditer(disposition)
    }
    if not found.get(b"name"):
        raise MalformedFormError("A part of this form has no name.")
    name = _plain(found[b"name"]).lower()
    return name, _plain(found.get(b"filename", b""))


def _plain(raw: bytes) -> str:
    """HTML escapes only these three (https://html.spec.whatwg.org/multipage/form-control-infrastructure.html#multipart-form-data)."""
    for escaped, character in ((b"%22", b'"'), (b"%0D", b"\r"), (b"%0A", b"\n")):
        raw = raw.replace(escaped, character)
    return key_text(raw)
