"""stub: signatures first"""

from __future__ import annotations

import msgspec

from appliance.model.objects import CompletedPart


class DeleteItem(msgspec.Struct, frozen=True):
    """One object of DeleteObjects. `etag` etc. are conditions, "" / None where absent."""

    key: str
    version_id: str = ""
    etag: str = ""


class DeleteRequest(msgspec.Struct, frozen=True):
    objects: tuple[DeleteItem, ...]
    quiet: bool = False


def parse_complete_multipart_upload(body: bytes) -> tuple[CompletedPart, ...]:
    """Raises MalformedXmlError, InvalidPartOrderError..."""
    raise NotImplementedError


def parse_delete(body: bytes) -> DeleteRequest:
    raise NotImplementedError


def parse_create_bucket(body: bytes) -> str:
    """The location constraint; "" for an empty body or none."""
    raise NotImplementedError


def parse_tagging(body: bytes) -> dict[str, str]:
    raise NotImplementedError
