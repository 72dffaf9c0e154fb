"""stub: signatures first"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class DeclaredDigests(msgspec.Struct, frozen=True, kw_only=True):
    """What a request says about its body, and so which hashers must run. Digests are raw bytes."""

    md5: bytes | None = None
    sha256: bytes | None = None  # signed payload hash
    algorithm: str = ""  # of x-amz-checksum-*, "" if none
    checksum: bytes | None = None  # None with an algorithm: the trailer has it
    trailer: str = ""  # name of the trailer that will have it

    def hashers(self, kept: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Algorithms to run over the body, "md5" always among them; `kept` are those of PutOptions.checksums."""
        raise NotImplementedError

    def verify(self, digests: Mapping[str, bytes], trailers: Mapping[str, str]) -> None:
        """Raises BadDigestError, ChecksumMismatchError, PayloadHashMismatchError, MalformedTrailerError."""
        raise NotImplementedError


def declared_digests(headers: Mapping[str, str], payload: str) -> DeclaredDigests:
    """`payload` is Authentication.payload. Raises InvalidDigestError, InvalidRequestError."""
    raise NotImplementedError
