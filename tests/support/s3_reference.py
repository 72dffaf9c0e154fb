"""The reference for S3: what buckets with versions, conditions, uploads, copies and two accounts have to answer. Dicts and lists, no I/O.

A method either changes the state and returns what the answer must show, or raises `Refused` and changes nothing. Ids that only a server can
make (of versions and uploads) are told afterwards: `learn`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

STATUS = {
    "AccessDenied": 403,
    "BucketNotEmpty": 409,
    "EntityTooSmall": 400,
    "InvalidPart": 400,
    "InvalidPartOrder": 400,
    "InvalidRequest": 400,
    "MethodNotAllowed": 405,
    "NoSuchKey": 404,
    "NoSuchUpload": 404,
    "NoSuchVersion": 404,
    "NotImplemented": 501,
    "PreconditionFailed": 412,
}
PART_MIN = 5 << 20


class Refused(Exception):  # noqa: N818  # an outcome, not an error of the model
    """The request must fail with one of these codes: more than one where it breaks two rules at once and either may be told."""

    def __init__(self, *codes: str) -> None:
        super().__init__(*codes)
        self.codes = codes


@dataclass
class Version:
    """One version of one object, or a delete marker. `id` is "" in a bucket that never had versions."""

    body: bytes = b""
    etag: str = ""
    marker: bool = False
    metadata: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    id: str = ""


@dataclass
class Upload:
    """A multipart upload in progress; parts are (body, etag) by number."""

    key: str
    metadata: dict[str, str]
    parts: dict[int, tuple[bytes, str]] = field(default_factory=dict)
    id: str = ""


@dataclass
class Bucket:
    """`grant` is what a policy gives to accounts other than the owner: "", "read" (GetObject) or "all"."""

    owner: str
    grant: str = ""
    versioning: str = ""
    objects: dict[str, list[Version]] = field(default_factory=dict)
    uploads: list[Upload] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)

    def current(self, key: str) -> Version | None:
        """What a plain GET sees."""
        versions = self.objects.get(key)
        return versions[-1] if versions and not versions[-1].marker else None

    def add(self, key: str, version: Version) -> Version:
        """On top; where versions are not enabled in place of the null version."""
        versions = self.objects.setdefault(key, [])
        if self.versioning != "Enabled":
            versions[:] = [old for old in versions if old.id not in {"", "null"}]
            version.id = "null" if self.versioning else ""
        versions.append(version)
        return version

    def remove(self, key: str, version_id: str) -> Version | None:
        versions = self.objects.get(key, [])
        found = next((old for old in versions if (old.id or "null") == version_id), None)
        if found is not None:
            versions.remove(found)
        if not versions:
            self.objects.pop(key, None)
        return found


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


class Reference:
    """All buckets. `who` is the account that asks; conditions are `{"if-match": etag}` or `{"if-none-match": "*"}`."""

    def __init__(self) -> None:
        self.buckets: dict[str, Bucket] = {}

    def allows(self, who: str, bucket: str, *, reading: bool = False) -> bool:
        found = self.buckets[bucket]
        return who == found.owner or found.grant == "all" or (reading and found.grant == "read")

    def allow(self, who: str, bucket: str, *, reading: bool = False) -> Bucket:
        if not self.allows(who, bucket, reading=reading):
            raise Refused("AccessDenied")
        return self.buckets[bucket]

    # --- objects -----------------------------------------------------------------

    def get(self, who: str, bucket: str, key: str, version_id: str = "") -> Version:
        place = self.allow(who, bucket, reading=True)
        lister = self.allows(who, bucket)
        if not version_id:
            current = place.current(key)
            if current is None:
                # Whoever may not list must not learn what is not there.
                raise Refused("NoSuchKey" if lister else "AccessDenied")
            return current
        found = self._find(place, key, version_id)
        if found is None:
            raise Refused("NoSuchVersion" if lister else "AccessDenied")
        if found.marker:
            raise Refused("MethodNotAllowed" if lister else "AccessDenied")
        return found

    def put(
        self,
        who: str,
        bucket: str,
        key: str,
        body: bytes,
        conditions: dict[str, str],
        metadata: dict[str, str],
    ) -> Version:
        place = self.allow(who, bucket)
        self._check(place, key, conditions)
        return place.add(key, Version(body, md5(body), metadata=metadata))

    def delete(self, who: str, bucket: str, key: str, version_id: str = "") -> Version | None:
        """The marker that is made, or the version that is removed, if any."""
        place = self.allow(who, bucket)
        if version_id:
            return place.remove(key, version_id)
        if place.versioning:
            return place.add(key, Version(marker=True))
        place.objects.pop(key, None)
        return None

    def copy(
        self,
        who: str,
        source: tuple[str, str, str],
        bucket: str,
        key: str,
        metadata: dict[str, str] | None,
        source_match: str = "",
    ) -> Version:
        """`source` is bucket, key and version id; `metadata` replaces the source's if given."""
        place = self.allow(who, bucket)
        found = self._source(who, source)
        if source_match and source_match != found.etag:
            raise Refused("PreconditionFailed")
        if source[:2] == (bucket, key) and metadata is None and not source[2]:
            raise Refused("InvalidRequest")
        if found.tags and not self.allows(who, source[0]):
            raise Refused("AccessDenied")  # they would come along, and may not be read
        kept = found.metadata if metadata is None else metadata
        return place.add(key, Version(found.body, md5(found.body), False, kept, dict(found.tags)))

    def put_tags(
        self, who: str, bucket: str, key: str, tags: dict[str, str], version_id: str = ""
    ) -> Version:
        found = self._writable(who, bucket, key, version_id)
        found.tags = tags
        return found

    def get_tags(self, who: str, bucket: str, key: str, version_id: str = "") -> Version:
        return self._writable(who, bucket, key, version_id)

    # --- uploads -----------------------------------------------------------------

    def create_upload(self, who: str, bucket: str, key: str, metadata: dict[str, str]) -> Upload:
        upload = Upload(key, metadata)
        self.allow(who, bucket).uploads.append(upload)
        return upload

    def put_part(self, who: str, bucket: str, upload: Upload, number: int, body: bytes) -> str:
        self._open(who, bucket, upload)
        upload.parts[number] = (body, md5(body))
        return md5(body)

    def copy_part(
        self, who: str, bucket: str, upload: Upload, number: int, source: tuple[str, str, str]
    ) -> str:
        self.allow(who, bucket)
        body = self._source(who, source).body
        return self.put_part(who, bucket, upload, number, body)

    def abort(self, who: str, bucket: str, upload: Upload) -> None:
        self._open(who, bucket, upload).uploads.remove(upload)

    def complete(
        self,
        who: str,
        bucket: str,
        upload: Upload,
        parts: list[tuple[int, str]],
        conditions: dict[str, str],
    ) -> Version:
        """`parts` are (number, etag) as the client lists them."""
        place = self._open(who, bucket, upload)
        wrong = _wrong_parts(upload, parts)
        try:
            self._check(place, upload.key, conditions)
        except Refused as refused:
            wrong = [*wrong, *refused.codes]
        if wrong:
            raise Refused(*wrong)
        place.uploads.remove(upload)
        bodies = [upload.parts[number][0] for number, _ in parts]
        digests = b"".join(hashlib.md5(body).digest() for body in bodies)
        etag = f"{md5(digests)}-{len(parts)}"
        return place.add(upload.key, Version(b"".join(bodies), etag, False, upload.metadata))

    # --- listings ----------------------------------------------------------------

    def listing(self, who: str, bucket: str) -> list[tuple[str, int, str]]:
        """Key, size and ETag of what is there now."""
        place = self.allow(who, bucket)
        current = ((key, place.current(key)) for key in sorted(place.objects))
        return [(key, len(found.body), found.etag) for key, found in current if found is not None]

    def versions(self, who: str, bucket: str) -> list[tuple[str, str, bool, bool]]:
        """Key, version id, whether it is the latest, whether it is a marker; newest first."""
        place = self.allow(who, bucket)
        return [
            (key, version.id or "null", version is versions[-1], version.marker)
            for key, versions in sorted(place.objects.items())
            for version in reversed(versions)
        ]

    # --- rules -------------------------------------------------------------------

    def _find(self, place: Bucket, key: str, version_id: str) -> Version | None:
        versions = place.objects.get(key, [])
        return next((one for one in versions if (one.id or "null") == version_id), None)

    def _writable(self, who: str, bucket: str, key: str, version_id: str) -> Version:
        self.allow(who, bucket)
        return self.get(who, bucket, key, version_id)

    def _source(self, who: str, source: tuple[str, str, str]) -> Version:
        try:
            return self.get(who, *source)
        except Refused as refused:
            # A marker that is named is a mistake in the request, not a method that is not allowed.
            raise Refused(
                *(
                    "InvalidRequest" if code == "MethodNotAllowed" else code
                    for code in refused.codes
                )
            ) from None

    def _open(self, who: str, bucket: str, upload: Upload) -> Bucket:
        place = self.allow(who, bucket)
        if upload not in place.uploads:
            raise Refused("NoSuchUpload")
        return place

    def _check(self, place: Bucket, key: str, conditions: dict[str, str]) -> None:
        current = place.current(key)
        if "if-none-match" in conditions and current is not None:
            raise Refused("PreconditionFailed")
        if "if-match" in conditions:
            if current is None:
                raise Refused("NoSuchKey")
            if current.etag != conditions["if-match"]:
                raise Refused("PreconditionFailed")


def _wrong_parts(upload: Upload, parts: list[tuple[int, str]]) -> list[str]:
    numbers = [number for number, _ in parts]
    wrong = []
    if numbers != sorted(set(numbers)):
        wrong.append("InvalidPartOrder")
    if any(number not in upload.parts or upload.parts[number][1] != etag for number, etag in parts):
        wrong.append("InvalidPart")
    if any(
        len(upload.parts[number][0]) < PART_MIN for number in numbers[:-1] if number in upload.parts
    ):
        wrong.append("EntityTooSmall")
    return wrong
