"""stub: signatures first"""

from __future__ import annotations

from appliance.auth.identity import Authentication


class ChunkedDecoder:
    """aws-chunked body in, payload out. For requests whose `Authentication.payload` starts with "STREAMING-"."""

    def __init__(
        self, authentication: Authentication, *, decoded_length: int, trailer_names: frozenset[str]
    ) -> None:
        raise NotImplementedError

    trailers: dict[str, str]  # complete when `finished`

    @property
    def finished(self) -> bool:
        raise NotImplementedError

    def feed(self, data: bytes | bytearray | memoryview) -> list[memoryview]:
        """Payload that is now known good; views stay valid until the next call (they may view `data`). Raises domain errors."""
        raise NotImplementedError

    def finish(self) -> None:
        """The HTTP body has ended: raises IncompleteBodyError if the aws-chunked one has not."""
        raise NotImplementedError


def decoder_for(authentication: Authentication, headers: dict[str, str]) -> ChunkedDecoder | None:
    """None where the body is plain. Raises MissingContentLengthError (no x-amz-decoded-content-length), ..."""
    raise NotImplementedError
