"""stub: signatures first"""

from __future__ import annotations

from collections.abc import Mapping

from appliance.auth.credentials import CredentialStore
from appliance.auth.identity import Authentication

UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
STREAMING_SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
STREAMING_SIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
STREAMING_UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"


class Verifier:
    """Verifies AWS Signature Version 4 of requests. `region` "" accepts any region."""

    def __init__(self, credentials: CredentialStore, *, region: str = "us-east-1") -> None:
        raise NotImplementedError

    def verify(
        self, method: str, target: bytes, headers: Mapping[str, str], *, now_ns: int
    ) -> Authentication:
        """Raises AuthError."""
        raise NotImplementedError

    def statistics(self) -> dict[str, float]:
        raise NotImplementedError
