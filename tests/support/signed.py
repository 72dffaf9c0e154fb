"""Requests signed by botocore, for tests that speak HTTP by hand."""

from __future__ import annotations

import hashlib

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.support.node import ACCESS_KEY, SECRET_KEY

EMPTY = hashlib.sha256(b"").hexdigest()


class _Auth(S3SigV4Auth):
    """Signs whatever hash it was given: S3's own rule for paths, without reading a body."""

    def __init__(self, credentials: Credentials, payload_hash: str) -> None:
        super().__init__(credentials, "s3", "us-east-1")
        self._payload_hash = payload_hash

    def payload(self, request: AWSRequest) -> str:
        return self._payload_hash


def signed_headers(method: str, url: str, payload_hash: str = EMPTY) -> dict[str, str]:
    """Headers with an Authorization by the node's keys."""
    request = AWSRequest(method=method, url=url)
    _Auth(Credentials(ACCESS_KEY, SECRET_KEY), payload_hash).add_auth(request)
    return dict(request.headers.items())
