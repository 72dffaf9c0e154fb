"""The condition keys of a request: what a policy may ask about it. `appliance.policy.access.keys` names them; here is what they are.

Computed one by one, when a condition asks: most requests meet none.
"""

from __future__ import annotations

import calendar
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from appliance.auth.identity import Authentication
from appliance.model.errors import ApplianceError
from appliance.policy.access.keys import ANONYMOUS_USERID, EXISTING_TAG, REQUEST_TAG
from appliance.s3.wire.headers import copy_source
from appliance.s3.wire.options import tags_of_header, text_of
from appliance.s3.wire.request import S3Request

_NONE: Sequence[str] = ()


class RequestKeys(msgspec.Struct, frozen=True, kw_only=True):
    """Call it with a key (as `policy.access.keys.key_kind` spells it): its values, none where the request has none.

    `existing_tags` are those of the object it is about; `request_tags` those in its body, where it has some there; `set_keys` replaces
    single keys.
    """

    request: S3Request
    authentication: Authentication
    now_ns: int
    bucket_owner: str
    existing_tags: Mapping[str, str] = {}
    request_tags: Mapping[str, str] | None = None
    set_keys: Mapping[str, str] = {}

    def __call__(self, key: str) -> Sequence[str]:
        if key in self.set_keys:
            return (self.set_keys[key],)
        if key.startswith(EXISTING_TAG):
            return _value(self.existing_tags.get(key[len(EXISTING_TAG) :]))
        if key.startswith(REQUEST_TAG):
            return _value(self.tags().get(key[len(REQUEST_TAG) :]))
        compute = _KEYS.get(key)
        if compute is not None:
            return compute(self)
        name = key.removeprefix("s3:")
        # What is left are headers of that name, and parameters of the query.
        if name.startswith(("x-amz-", "if-")):
            value = self.request.headers.get(name)
            return _value(None if value is None else text_of(value))
        return _value(self.request.query.get(name))

    def tags(self) -> Mapping[str, str]:
        """Those that the request would set."""
        if self.request_tags is not None:
            return self.request_tags
        try:
            return tags_of_header(self.request.headers)
        except ApplianceError:
            return {}  # the operation will refuse them


def _value(value: str | None) -> Sequence[str]:
    return _NONE if value is None else (value,)


def _source_ip(keys: RequestKeys) -> Sequence[str]:
    return _value(keys.request.request.peer.split("%")[0] or None)


def _account(keys: RequestKeys) -> Sequence[str]:
    return _value(keys.authentication.identity.account_id or None)


def _arn(keys: RequestKeys) -> Sequence[str]:
    account = keys.authentication.identity.account_id
    return (f"arn:aws:iam::{account}:root",) if account else _NONE


def _auth_type(keys: RequestKeys) -> Sequence[str]:
    authentication = keys.authentication
    if not authentication.identity.account_id:
        return _NONE
    if not authentication.signature:
        return ("POST",)
    return ("REST-QUERY-STRING" if authentication.presigned else "REST-HEADER",)


def _signature_version(keys: RequestKeys) -> Sequence[str]:
    """A site may deny "AWS": presigned URLs of Version 2, which say when they end and not when they were made."""
    authentication = keys.authentication
    if not authentication.identity.account_id:
        return _NONE
    old = authentication.presigned and not authentication.timestamp
    return ("AWS" if old else "AWS4-HMAC-SHA256",)


def _signature_age_ms(keys: RequestKeys) -> Sequence[str]:
    if not keys.authentication.timestamp or not keys.authentication.presigned:
        return _NONE
    signed = calendar.timegm(time.strptime(keys.authentication.timestamp, "%Y%m%dT%H%M%SZ"))
    return (str(max(0, keys.now_ns // 10**6 - signed * 1000)),)


def _copy_source(keys: RequestKeys) -> Sequence[str]:
    """`bucket/key`, decoded: however it was spelled, one source is one value."""
    if "x-amz-copy-source" not in keys.request.headers:
        return _NONE
    try:
        source = copy_source(keys.request.headers)
    except ApplianceError:
        return _NONE  # the operation will refuse it
    return (f"{source.bucket}/{source.key}",)


def _current_time(keys: RequestKeys) -> Sequence[str]:
    return (f"{datetime.fromtimestamp(keys.now_ns // 10**9, UTC):%Y-%m-%dT%H:%M:%SZ}",)


_KEYS: dict[str, Callable[[RequestKeys], Sequence[str]]] = {
    "aws:currenttime": _current_time,
    "aws:epochtime": lambda keys: (str(keys.now_ns // 10**9),),
    "aws:principalaccount": _account,
    "aws:principalarn": _arn,
    "aws:principaltype": lambda keys: (
        "Account" if keys.authentication.identity.account_id else "Anonymous",
    ),
    "aws:referer": lambda keys: _value(keys.request.headers.get("referer")),
    "aws:resourceaccount": lambda keys: (keys.bucket_owner,),
    "aws:securetransport": lambda keys: ("true" if keys.request.request.tls else "false",),
    "aws:sourceip": _source_ip,
    "aws:useragent": lambda keys: _value(keys.request.headers.get("user-agent")),
    "aws:userid": lambda keys: (keys.authentication.identity.account_id or ANONYMOUS_USERID,),
    "aws:username": lambda keys: _value(keys.authentication.identity.display_name or None),
    "s3:authtype": _auth_type,
    "s3:requestobjecttagkeys": lambda keys: tuple(keys.tags()),
    "s3:resourceaccount": lambda keys: (keys.bucket_owner,),
    "s3:signatureage": _signature_age_ms,
    "s3:signatureversion": _signature_version,
    "s3:x-amz-copy-source": _copy_source,
    "s3:versionid": lambda keys: _value(keys.request.query.get("versionId")),
    "s3:locationconstraint": lambda _keys: (
        _NONE
    ),  # only of what creates buckets, which have no policy yet
}
