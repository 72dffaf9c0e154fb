"""Our signatures are those that botocore makes."""

from __future__ import annotations

import datetime as dt

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.utils import percent_encode
from hypothesis import given
from hypothesis import strategies as st

from appliance_s3.signing import Scope, sign

NOW = dt.datetime(2026, 11, 20, 12, 0, 0, tzinfo=dt.UTC)
PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)


@given(
    key=st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
    value=PRINTABLE,
    token=st.sampled_from([None, "a-session-token"]),
    region=st.sampled_from(["us-east-1", "default"]),
)
def test_signatures_are_botocores(key: str, value: str, token: str | None, region: str) -> None:
    path = "/bucket/" + percent_encode(key, safe="/~")
    headers = {"host": "127.0.0.1:9000", "range": "bytes=0-1", "if-match": value.strip()}
    keys = ("ACCESS", "secret", token)
    ours = sign(
        "GET", path, {**headers, "user-agent": "x"}, keys, Scope(region, "s3"), NOW.timestamp()
    )
    request = AWSRequest("GET", f"http://127.0.0.1:9000{path}", {**headers, "user-agent": "x"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.auth, "get_current_datetime", lambda *_, **__: NOW)
        signer = botocore.auth.S3SigV4Auth(Credentials(*keys), "s3", region)
        signer.add_auth(request)
    assert ours["authorization"] == request.headers["Authorization"]
    assert ours["x-amz-date"] == request.headers["X-Amz-Date"]
    assert ours.get("x-amz-security-token") == request.headers.get("X-Amz-Security-Token")
