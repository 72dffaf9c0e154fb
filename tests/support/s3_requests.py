"""Signed S3 requests over one kept connection, answers as they come: for tests that judge status, headers and bodies themselves."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode
from xml.etree import ElementTree as ET

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

_NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"


@dataclass(frozen=True)
class Keys:
    """An account's access key and secret, and its canonical id."""

    access_key: str
    secret_key: str
    account_id: str = ""


@dataclass
class Answer:
    """What came back. Header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    request: str = field(default="", repr=False)

    @property
    def code(self) -> str:
        """The code of an error document; "" where there is none, as after HEAD."""
        if self.status < 300 and not self.body.lstrip().startswith(b"<?xml"):
            return ""
        with contextlib.suppress(ET.ParseError):
            root = ET.fromstring(self.body)  # noqa: S314  # our own server's
            if root.tag == "Error":
                return root.findtext("Code", "")
        return ""

    @property
    def etag(self) -> str:
        return self.headers.get("etag", "").strip('"')

    def xml(self) -> ET.Element:
        """The document, without its namespace."""
        root = ET.fromstring(self.body)  # noqa: S314  # as above
        for element in root.iter():
            element.tag = element.tag.removeprefix(_NAMESPACE)
        return root


class Requests:
    """One account's requests to one endpoint. Not for two threads."""

    def __init__(self, port: int, keys: Keys, *, region: str = "us-east-1") -> None:
        self.keys = keys
        self._host = f"127.0.0.1:{port}"
        self._auth = S3SigV4Auth(Credentials(keys.access_key, keys.secret_key), "s3", region)
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """`path` and `query` are plain text; they are encoded here."""
        target = quote(path, safe="/~")
        if query:
            target += "?" + urlencode(query, quote_via=quote)
        fields = {**(headers or {}), "X-Amz-Content-SHA256": hashlib.sha256(body).hexdigest()}
        request = AWSRequest(method, f"http://{self._host}{target}", data=body, headers=fields)
        request.context["payload_signing_enabled"] = True
        self._auth.add_auth(request)
        self._connection.request(method, target, body or None, dict(request.headers.items()))
        answer = self._connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, found, answer.read(), f"{method} {target} {headers or ''}")

    def close(self) -> None:
        self._connection.close()
