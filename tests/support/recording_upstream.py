"""An S3 service of our own making: it verifies each request's signature, keeps what it was sent, and answers what a test told it to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from appliance.auth.credentials import make_credentials
from appliance.auth.sigv4 import Verifier
from appliance.s3.http.head import Head
from appliance.s3.http.incoming import IncomingBody
from appliance.s3.http.response import Response, render_fields
from appliance.world import RealWorld
from tests.support.raw_http import read_all, serving
from tests.support.root_credentials import RootCredentials

KEYS = ("UPSTREAMKEY", "secret-of-the-upstream")
_BUCKETS = b"<ListAllMyBucketsResult><Buckets/></ListAllMyBucketsResult>"


class Received(msgspec.Struct):
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class RecordingUpstream:
    """`answers`: (method, target) -> what to answer; what is not there is answered 200 and nothing (but ListBuckets)."""

    def __init__(self) -> None:
        self.endpoint = ""
        self.received: list[Received] = []
        self.answers: dict[tuple[str, str], Response] = {("GET", "/"): Response(200, b"", _BUCKETS)}
        self._verifier = Verifier(RootCredentials(make_credentials(*KEYS)))

    async def respond(self, head: Head, body: IncomingBody) -> Response:
        request = head.request
        self._verifier.verify(
            request.method, request.target, request.headers, now_ns=RealWorld().now_ns()
        )
        target = request.target.decode()
        data = await read_all(body)
        self.received.append(Received(request.method, target, dict(request.headers), data))
        answer = self.answers.get((request.method, target))
        if answer is None:
            return Response(200, b'ETag: "etag-of-the-upstream"\r\n')
        return Response(answer.status, answer.fields, answer.body, answer.content_length)

    def answer(
        self, method: str, target: str, status: int, body: bytes = b"", **headers: str
    ) -> None:
        fields = render_fields((name.replace("_", "-"), value) for name, value in headers.items())
        self.answers[method, target] = Response(status, fields, body)

    def last(self) -> Received:
        return self.received[-1]


@asynccontextmanager
async def recording_upstream() -> AsyncIterator[RecordingUpstream]:
    upstream = RecordingUpstream()
    async with serving(upstream.respond) as running:
        upstream.endpoint = f"http://127.0.0.1:{running.port}"
        yield upstream
