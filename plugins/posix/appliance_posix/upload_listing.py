"""ListMultipartUploads: pages over uploads in progress."""

from __future__ import annotations

from appliance.model.names import key_bytes, key_text
from appliance.model.objects import UploadInfo, UploadPage
from appliance_posix.bucket import Bucket
from appliance_posix.keypath import directory_path
from appliance_posix.permission import check_tell
from appliance_posix.uploads import all_uploads


def list_uploads(
    bucket: Bucket,
    prefix: str,
    delimiter: str,
    key_marker: str,
    upload_id_marker: str,
    limit: int,
) -> UploadPage:
    """One page, after the markers: keys after `key_marker`, or at it with an id after `upload_id_marker`."""
    head, mark, separator = key_bytes(prefix), key_bytes(key_marker), key_bytes(delimiter)
    uploads: list[UploadInfo] = []
    prefixes: list[str] = []
    next_key, next_id = "", ""
    checked: set[bytes] = set()
    for upload in all_uploads(bucket):
        key = key_bytes(upload.key)
        if not key.startswith(head):
            continue
        group = _group(key, head, separator)
        if group:
            if group <= mark or key_text(group) in prefixes[-1:]:
                continue
        elif not _is_after(key, upload.upload_id, mark, upload_id_marker):
            continue
        if len(uploads) + len(prefixes) >= limit:
            return UploadPage(
                uploads=tuple(uploads),
                common_prefixes=tuple(prefixes),
                truncated=limit > 0,
                next_key_marker=next_key,
                next_upload_id_marker=next_id,
            )
        _check_told(bucket, group or key, head, checked)
        if group:
            prefixes.append(key_text(group))
            next_key, next_id = prefixes[-1], ""
        else:
            uploads.append(upload)
            next_key, next_id = upload.key, upload.upload_id
    return UploadPage(uploads=tuple(uploads), common_prefixes=tuple(prefixes))


def _group(key: bytes, head: bytes, separator: bytes) -> bytes:
    """The common prefix that stands for `key` in a listing below `head`; b"" if it stands for itself."""
    cut = key.find(separator, len(head)) if separator else -1
    return key[: cut + len(separator)] if cut >= 0 else b""


def _check_told(bucket: Bucket, told: bytes, head: bytes, checked: set[bytes]) -> None:
    """Raise AccessDeniedError unless the caller may list each directory whose names a key (or common prefix) tells beyond the prefix.

    `checked`: those that it may.
    """
    segments = told.removesuffix(b"/").split(b"/")
    for depth in range(head.count(b"/"), len(segments)):
        path = directory_path(b"/".join(segments[:depth])) if depth else b""
        if path not in checked:
            check_tell(bucket, path)
            checked.add(path)


def _is_after(key: bytes, upload_id: str, mark: bytes, upload_id_marker: str) -> bool:
    if not mark:
        return True
    return key > mark or (bool(upload_id_marker) and key == mark and upload_id > upload_id_marker)
