"""Requests without credentials: nobody is verified, but what they say of their body must be something that can be held against it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from appliance.auth.errors import PayloadHashHeaderError
from appliance.auth.identity import Authentication, unsigned
from appliance.auth.sigv4 import STREAMING_UNSIGNED_TRAILER, UNSIGNED_PAYLOAD

_SHA256_HEX = re.compile(r"[0-9a-fA-F]{64}\Z")


def anonymous(headers: Mapping[str, str]) -> Authentication:
    """Raises PayloadHashHeaderError: chunks cannot be signed by nobody."""
    payload = headers.get("x-amz-content-sha256") or UNSIGNED_PAYLOAD
    known = payload in {UNSIGNED_PAYLOAD, STREAMING_UNSIGNED_TRAILER}
    if not known and not _SHA256_HEX.match(payload):
        raise PayloadHashHeaderError(ArgumentName="x-amz-content-sha256", ArgumentValue=payload)
    return unsigned(payload)
