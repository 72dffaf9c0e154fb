"""Pages of a listing, from all names in S3 order. Pure.

A page holds *entries*: keys, and common prefixes in place of the keys that they stand for. Entries are ordered by their bytes, and a page
goes on after the last entry of the page before, so a common prefix is never told twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from appliance.model.errors import InvalidArgumentError
from appliance.model.names import key_bytes
from appliance.model.objects import ListPage, ListRequest, ObjectInfo, UploadInfo, UploadPage


def common_prefix(key: str, prefix: str, delimiter: str) -> str:
    """The common prefix that stands for the key in a listing; "" if it is listed itself."""
    cut = key.find(delimiter, len(prefix)) if delimiter else -1
    return "" if cut < 0 else key[: cut + len(delimiter)]


def list_page(objects: Iterable[ObjectInfo], request: ListRequest) -> ListPage:
    """The page of `objects` (in S3 order) that was asked for."""
    after = _position(request)
    found: dict[str, ObjectInfo | None] = {}  # entry -> object, None for a common prefix
    for info in objects:
        if not info.key.startswith(request.prefix):
            continue
        rolled_up = common_prefix(info.key, request.prefix, request.delimiter)
        entry = rolled_up or info.key
        if key_bytes(entry) <= after or entry in found:
            continue
        if len(found) == request.limit:
            return _list_page(found, truncated=request.limit > 0)
        found[entry] = None if rolled_up else info
    return _list_page(found, truncated=False)


def _position(request: ListRequest) -> bytes:
    """The entry after which the page begins."""
    if not request.continuation:
        return key_bytes(request.start_after)
    try:
        return bytes.fromhex(request.continuation)
    except ValueError:
        raise InvalidArgumentError("The continuation token provided is incorrect.") from None


def _list_page(found: dict[str, ObjectInfo | None], *, truncated: bool) -> ListPage:
    last = next(reversed(found), "")
    return ListPage(
        objects=tuple(info for info in found.values() if info is not None),
        common_prefixes=tuple(entry for entry, info in found.items() if info is None),
        continuation=key_bytes(last).hex() if truncated else "",
        last=last,
    )


def upload_page(
    uploads: Sequence[UploadInfo],
    *,
    prefix: str,
    delimiter: str,
    key_marker: str,
    upload_id_marker: str,
    limit: int,
) -> UploadPage:
    """The page of `uploads` (ordered by key, then id) after the markers; without an id, after all uploads of the marker's key."""
    after = (key_bytes(key_marker), upload_id_marker or "\U0010ffff") if key_marker else (b"", "")
    entries = _upload_entries(uploads, prefix, delimiter, after)
    page = list(islice(entries, limit))
    truncated = limit > 0 and next(entries, None) is not None
    last_key, last_upload = page[-1] if truncated else ("", None)
    return UploadPage(
        uploads=tuple(upload for _, upload in page if upload is not None),
        common_prefixes=tuple(entry for entry, upload in page if upload is None),
        truncated=truncated,
        next_key_marker=last_key,
        next_upload_id_marker=last_upload.upload_id if last_upload else "",
    )


def _upload_entries(
    uploads: Sequence[UploadInfo], prefix: str, delimiter: str, after: tuple[bytes, str]
) -> Iterator[tuple[str, UploadInfo | None]]:
    told = ""
    for upload in uploads:
        if not upload.key.startswith(prefix):
            continue
        rolled_up = common_prefix(upload.key, prefix, delimiter)
        if rolled_up and rolled_up != told and (key_bytes(rolled_up), "") > after:
            told = rolled_up
            yield rolled_up, None
        elif not rolled_up and (key_bytes(upload.key), upload.upload_id) > after:
            yield upload.key, upload
