"""A request's head: found by its blank line, parsed by httptools (llhttp, strict), and judged. Pure: bytes in, values out.

Everything that two HTTP parsers could read differently is refused, because a proxy in front may read it the other way: both
Content-Length and Transfer-Encoding, either of them twice, folded lines, bare LF or CR, control characters, spaces before a colon (the
parser refuses those), two Hosts, transfer codings other than `chunked` (we do). https://www.rfc-editor.org/rfc/rfc9112#section-11.2
"""

from __future__ import annotations

import httptools
import msgspec

from appliance.model.errors import UnsupportedError
from appliance.s3.wire.errors import BadRequestError
from appliance.s3.wire.request import (
    HEADER_BYTES_MAX,
    HEADERS_MAX,
    TARGET_BYTES_MAX,
    Request,
    fold_headers,
)

END = b"\r\n\r\n"
_SURELY_FITS = min(HEADER_BYTES_MAX, TARGET_BYTES_MAX)

# Header names as they arrive -> lower case; clients use few, so each is converted once.
_NAMES_MAX = 1024
_NAMES: dict[bytes, str] = {}


class Head(msgspec.Struct, frozen=True):
    """A request, and how its body and connection are framed.

    `content_length` is None for a chunked body and 0 where there is none. `expects` means the client waits for "100 Continue".
    `old` is HTTP/1.0: it knows neither chunked bodies nor interim responses.
    """

    request: Request
    content_length: int | None
    expects: bool
    keep_alive: bool
    old: bool


class _Collector:
    """httptools' callbacks: keeps what it is told."""

    __slots__ = ("complete", "headers", "pairs", "target")

    def __init__(self) -> None:
        self.target = b""
        self.pairs: list[tuple[bytes, bytes]] = []
        self.headers: dict[str, str] = {}
        self.complete = False

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.pairs.append((name, value))
        known = _NAMES.get(name) or _lower(name)
        self.headers[known] = value.decode("latin-1").strip(" \t")

    def on_headers_complete(self) -> None:
        self.complete = True


def _lower(name: bytes) -> str:
    lower = name.decode("latin-1").lower()
    if len(_NAMES) < _NAMES_MAX:
        _NAMES[name] = lower
    return lower


class HeadProbe:
    """Refuses a head that arrives in pieces at its first wrong byte, rather than at its end (which garbage may never reach)."""

    __slots__ = ("_parser",)

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(_Collector())

    def feed(self, data: bytes) -> None:
        """Raises BadRequestError. Feed it nothing beyond the head."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise _malformed(error) from None


def parse_head(data: bytes, peer: str = "", *, tls: bool = False) -> Head:
    """Parse the bytes of one head, its blank line included.

    Raises BadRequestError, UnsupportedError, HeadersTooLargeError, InvalidHeaderError.
    """
    collector, parser = _parsed(data)
    headers = collector.headers
    if (
        len(headers) != len(collector.pairs)
        or len(headers) > HEADERS_MAX
        or len(data) > _SURELY_FITS
    ):
        # Repeated or large: the whole rule.
        headers = fold_headers(collector.pairs)
    version = parser.get_http_version()
    if version not in {"1.1", "1.0"}:
        raise BadRequestError(f"The HTTP version {version} is not supported.")
    old = version == "1.0"
    if "host" not in headers and not old:
        raise BadRequestError("The request has no Host header.")
    return Head(
        request=Request(
            method=parser.get_method().decode("ascii"),
            target=_origin_form(collector.target, headers),
            headers=headers,
            peer=peer,
            tls=tls,
        ),
        content_length=_content_length(headers, old=old),
        expects="expect" in headers and _expects(headers["expect"], old=old),
        keep_alive=_keep_alive(headers, old=old),
        old=old,
    )


def _parsed(data: bytes) -> tuple[_Collector, httptools.HttpRequestParser]:
    collector = _Collector()
    parser = httptools.HttpRequestParser(collector)
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        pass  # HTTP allows to ignore Upgrade; CONNECT's target is refused later, like any that is not a path
    except httptools.HttpParserError as error:
        raise _malformed(error) from None
    if not collector.complete:
        raise BadRequestError("The request's head ends early.")
    return collector, parser


def _malformed(error: Exception) -> BadRequestError:
    return BadRequestError(f"The request is not well-formed HTTP: {error}.")


def _origin_form(target: bytes, headers: dict[str, str]) -> bytes:
    """The target from the path on. An absolute one (RFC 9112 section 3.2.2) must name the same host as the Host header, which is signed."""
    if target.startswith(b"/"):
        return target
    scheme, separator, rest = target.partition(b"://")
    if not separator or scheme.lower() not in {b"http", b"https"}:
        return target  # "*", an authority or nonsense: no operation of S3's, refused as such
    authority, slash, path = rest.partition(b"/")
    if authority.decode("latin-1").lower() != headers.get("host", "").lower():
        raise BadRequestError("The request's target and its Host header name different hosts.")
    return slash + path if slash else b"/"


def _content_length(headers: dict[str, str], *, old: bool) -> int | None:
    coding = headers.get("transfer-encoding")
    length = headers.get("content-length")
    if coding is not None:
        if length is not None or old:
            raise BadRequestError("Transfer-Encoding is not allowed here.")
        if coding.lower() != "chunked":
            raise UnsupportedError(f"The transfer coding {coding!r} is not implemented.")
        return None
    if length is None:
        return 0
    # isdecimal alone would take other scripts' digits; int() alone would take "+5" and "5_0".
    if not (length.isascii() and length.isdecimal() and len(length) <= 19):
        raise BadRequestError("The Content-Length is not a number.")
    return int(length)


def _expects(value: str, *, old: bool) -> bool:
    # Others are ignored, as S3 ignores them (RFC 9110 section 10.1.1 allows 417, but asks for nothing).
    return not old and value.lower() == "100-continue"


def _keep_alive(headers: dict[str, str], *, old: bool) -> bool:
    value = headers.get("connection")
    if value is None:
        return not old
    options = {option.strip() for option in value.lower().split(",")}
    return "close" not in options and (not old or "keep-alive" in options)
