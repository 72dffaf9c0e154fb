"""What a request declares about its body - MD5, a checksum, a signed SHA-256 - and whether the body keeps it.

Nothing is hashed here: `hashers` names the algorithms that must run while the body passes, `verify` compares their results. So each
algorithm runs once, also where a payload hash and a checksum are both SHA-256.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping, Sequence

import msgspec

from appliance.model import checksums
from appliance.model.errors import (
    BadDigestError,
    ChecksumMismatchError,
    InvalidPartError,
    PayloadHashMismatchError,
)
from appliance.model.objects import PartInfo
from appliance.s3.wire.errors import InvalidDigestError, InvalidRequestError, MalformedTrailerError

PREFIX = "x-amz-checksum-"
# Headers with that prefix that are no checksums.
_NOT_VALUES = frozenset({"x-amz-checksum-mode", "x-amz-checksum-algorithm", "x-amz-checksum-type"})
_SHA256_HEX_CHARS = 64


class DeclaredDigests(msgspec.Struct, frozen=True, kw_only=True):
    """What a request says about its body; digests are raw bytes, None where it says nothing.

    `algorithm` is that of its x-amz-checksum-*, "" if none; `checksum` is None if the trailer named `trailer` will bring it.
    """

    md5: bytes | None = None
    sha256: bytes | None = None
    algorithm: str = ""
    checksum: bytes | None = None
    trailer: str = ""

    def hashers(self, kept: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Algorithms to run over the body, each once. MD5 always runs (it is the ETag); `kept` are those of PutOptions.checksums."""
        wanted = ["md5", *kept]
        if self.algorithm:
            wanted.append(self.algorithm)
        if self.sha256 is not None:
            wanted.append("sha256")
        return tuple(dict.fromkeys(wanted))

    def told(self, kept: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Those of `hashers` whose results are checksums of the object; a signed payload's SHA-256 alone is only about the request."""
        return tuple(dict.fromkeys((*kept, self.algorithm) if self.algorithm else kept))

    def verify(self, digests: Mapping[str, bytes], trailers: Mapping[str, str]) -> None:
        """`digests` holds a result for each of `hashers`. Raises PayloadHashMismatchError, BadDigestError, ChecksumMismatchError,
        MalformedTrailerError (the checksum it announced is not there).
        """
        if self.sha256 is not None and not hmac.compare_digest(self.sha256, digests["sha256"]):
            raise PayloadHashMismatchError
        if self.md5 is not None and not hmac.compare_digest(self.md5, digests["md5"]):
            raise BadDigestError
        if not self.algorithm:
            return
        expected = self.checksum
        if expected is None:
            value = trailers.get(self.trailer)
            if value is None:
                raise MalformedTrailerError(f"The trailer {self.trailer} is missing.")
            expected = _decoded(self.algorithm, value, f"{self.trailer} trailing header")
        if not hmac.compare_digest(expected, digests[self.algorithm]):
            raise ChecksumMismatchError(
                f"The {self.algorithm.upper()} you specified did not match the calculated checksum."
            )


def declared_digests(
    headers: Mapping[str, str], payload: str, *, checksum_is_of_body: bool = True
) -> DeclaredDigests:
    """What `headers` and the signed `payload` (Authentication.payload) declare.

    Raises InvalidDigestError, InvalidRequestError, ChecksumMismatchError (a value that is no checksum).
    CompleteMultipartUpload's x-amz-checksum-* is of the object, not of the document it comes with: see `check_object_checksum`.
    """
    algorithm, value, trailer = declared_checksum(headers) if checksum_is_of_body else ("", "", "")
    return DeclaredDigests(
        md5=_content_md5(headers),
        sha256=bytes.fromhex(payload) if len(payload) == _SHA256_HEX_CHARS else None,
        algorithm=algorithm,
        checksum=_decoded(algorithm, value, f"{PREFIX}{algorithm} header") if value else None,
        trailer=trailer,
    )


def declared_checksum(headers: Mapping[str, str]) -> tuple[str, str, str]:
    """Algorithm, value in the header, and name of the trailer that has it instead; "" each where there is none.

    Raises InvalidRequestError: several checksums, an unknown algorithm, an announced algorithm without a checksum.
    """
    in_headers = [name for name in headers if name.startswith(PREFIX) and name not in _NOT_VALUES]
    names = (
        headers.get("x-amz-trailer", "").lower().split(",") if "x-amz-trailer" in headers else ()
    )
    in_trailers = [name.strip() for name in names if name.strip().startswith(PREFIX)]
    if len(in_headers) + len(in_trailers) > 1:
        raise InvalidRequestError(
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
        )
    announced = headers.get("x-amz-sdk-checksum-algorithm", "").lower()
    if not in_headers and not in_trailers:
        if announced:
            raise InvalidRequestError(
                "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found."
            )
        return "", "", ""
    name = (in_headers or in_trailers)[0]
    algorithm = name.removeprefix(PREFIX)
    if algorithm not in checksums.DIGEST_BYTES:
        raise InvalidRequestError(
            "The algorithm type you specified in x-amz-checksum- header is invalid."
        )
    if announced and announced != algorithm:
        raise InvalidRequestError("Value for x-amz-sdk-checksum-algorithm header is invalid.")
    if in_trailers:
        return algorithm, "", name
    value = headers[name]
    if not value:
        raise InvalidRequestError(f"Value for {name} header is invalid.")
    return algorithm, value, ""


def _content_md5(headers: Mapping[str, str]) -> bytes | None:
    value = headers.get("content-md5")
    if value is None:
        return None
    try:
        digest = base64.b64decode(value, validate=True)
    except ValueError:
        raise InvalidDigestError from None
    if len(digest) != 16:
        raise InvalidDigestError
    return digest


def _decoded(algorithm: str, value: str, where: str) -> bytes:
    digest = checksums.decode(algorithm, value)
    if digest is None:
        # What is no checksum matches nothing: BadDigest, as ceph/s3-tests wants it.
        raise ChecksumMismatchError(f"Value for {where} is invalid.")
    return digest


def check_object_checksum(
    headers: Mapping[str, str], checksum_type: str, parts: Sequence[PartInfo]
) -> None:
    """CompleteMultipartUpload: what the client says about the whole object must follow from its parts, in order.

    Raises ChecksumMismatchError, InvalidPartError (a part lacks that checksum), InvalidRequestError. Nothing declared, nothing checked.
    """
    algorithm, declared, _ = declared_checksum(headers)
    if not declared:
        return
    try:
        values = [part.checksums[algorithm] for part in parts]
    except KeyError:
        raise InvalidPartError(f"A part has no {algorithm.upper()} checksum.") from None
    if checksum_type == "COMPOSITE":
        # AWS takes it with and without the number of parts.
        computed = checksums.composite(algorithm, values)
        declared = declared.removesuffix(f"-{len(parts)}")
    else:
        sizes = [part.size for part in parts]
        computed = checksums.full_object(algorithm, zip(values, sizes, strict=True))
    if declared != computed:
        raise ChecksumMismatchError(
            f"The {algorithm.upper()} you specified did not match the calculated checksum."
        )
