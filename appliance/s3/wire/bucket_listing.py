"""Parameters of ListBuckets, and the page of buckets that they ask for. Pure.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListBuckets.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from appliance.model.objects import BucketInfo
from appliance.s3.wire.errors import InvalidArgumentValueError
from appliance.s3.wire.tokens import seal, unseal

BUCKETS_MAX = 10_000
_PURPOSE = "buckets"


class BucketsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """`limit` None: all at once. `after` is a bucket's name, from a token; `region` "" means any. `asked`: any parameter was given."""

    prefix: str = ""
    limit: int | None = None
    after: str = ""
    region: str = ""
    asked: bool = False


class BucketsPage(msgspec.Struct, frozen=True):
    """`token` "" on the last page."""

    buckets: Sequence[BucketInfo]
    token: str = ""


def buckets_query(query: Mapping[str, str], account_id: str, secret: bytes) -> BucketsQuery:
    """Raises InvalidArgumentValueError, also for a token that `secret` did not seal for this account."""
    token = query.get("continuation-token", "")
    after = unseal(token, secret, _PURPOSE, account_id) if token else ""
    if after is None:
        raise InvalidArgumentValueError(
            "The continuation token provided is incorrect", "continuation-token", token
        )
    names = {"prefix", "max-buckets", "continuation-token", "bucket-region"}
    return BucketsQuery(
        prefix=query.get("prefix", ""),
        limit=_limit(query.get("max-buckets", "")),
        after=after,
        region=query.get("bucket-region", ""),
        asked=not names.isdisjoint(query),
    )


def _limit(value: str) -> int | None:
    if not value:
        return None
    if not (value.isascii() and value.isdigit()) or not 1 <= int(value[:9]) <= BUCKETS_MAX:
        raise InvalidArgumentValueError(
            f"Argument max-buckets must be an integer between 1 and {BUCKETS_MAX}",
            "max-buckets",
            value,
        )
    return int(value)


def page_of(
    buckets: Sequence[BucketInfo],
    query: BucketsQuery,
    region: str,
    account_id: str,
    secret: bytes,
) -> BucketsPage:
    """Of all `buckets`, ordered by name, which are in `region`."""
    if query.region not in {"", region}:
        return BucketsPage(())
    found = [
        bucket
        for bucket in buckets
        if bucket.name.startswith(query.prefix) and bucket.name > query.after
    ]
    if query.limit is None or len(found) <= query.limit:
        return BucketsPage(found)
    page = found[: query.limit]
    return BucketsPage(page, seal(page[-1].name, secret, _PURPOSE, account_id))
