"""Requests signed by botocore, for tests that speak HTTP by hand."""

from __future__ import annotations

import hashlib

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.support.node import ACCESS_KEY, SECRET_KEY

EMPTY = hashlib.sha256(b"").hexdigest()


def signed_headers(method: str, url: str, payload_hash: str = EMPTY) -> dict[str, str]:
    """Headers with an Authorization by the node's keys."""
    request = AWSRequest(method=method, url=url, headers={"X-Amz-Content-SHA256": payload_hash})
    SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY), "s3", "us-east-1").add_auth(request)
    return dict(request.headers.items())
