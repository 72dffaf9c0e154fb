"""Requests of S3's API passed on to the upstream as they are, but for names and signature: see `Backend.forward`.

    body up to `WHOLE_BYTES`    gathered in memory, signed, with a Content-MD5; a read may be repeated
    larger                      streamed as it arrives, its end held back until verified (feed.py), unsigned payload

An answer that is about the request (404 NoSuchLifecycleConfiguration, 412 ...) is an answer like any other. One that is about our own
credentials, or says that the upstream is broken, becomes a domain error, as everywhere else in this package: a client could do nothing
with it, and our access key is none of its business.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import botocore.exceptions as boto
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies, percent_encode

from appliance.model.errors import (
    BackendDeniedError,
    BackendUnavailableError,
    EntityTooLargeError,
    IncompleteBodyError,
    UnsupportedError,
)
from appliance.model.objects import PUT_SIZE_MAX
from appliance.plugin import ForwardAnswer, ForwardRequest
from appliance_s3.failures import CODES, Where
from appliance_s3.feed import Feed
from appliance_s3.names import Names
from appliance_s3.parts import gather
from appliance_s3.requests import content_md5
from appliance_s3.sending import Sender, close

WHOLE_BYTES = 1 << 20
_READ_BYTES = 256 << 10
_ERROR_BYTES_MAX = 64 << 10
_UNSIGNED = "UNSIGNED-PAYLOAD"
_READS = frozenset({"GET", "HEAD"})
# About the connection, or said anew by whoever answers the client.
_OWN = frozenset(
    ["connection", "keep-alive", "transfer-encoding", "content-length", "date", "server", "trailer", "upgrade",
     "proxy-authenticate", "x-amz-request-id", "x-amz-id-2", "location"]
)  # fmt: skip
_CODE = re.compile(rb"<Code>([A-Za-z0-9]{1,64})</Code>")


class Forwarder:
    """Forwards to one upstream."""

    def __init__(self, sender: Sender, names: Names) -> None:
        self._sender = sender
        self._names = names
        self._session: Any = None

    @contextlib.asynccontextmanager
    async def forward(self, request: ForwardRequest) -> AsyncIterator[ForwardAnswer]:
        """See `Backend.forward`."""
        backend = self._sender.upstream.name
        where = Where(backend, f"forwarding {request.method}", request.bucket, request.key)
        url = self._url(request)
        raw = await self._send(where, request, url)
        answer = _Answer(raw, self._sender)
        try:
            yield answer
        finally:
            answer.close()

    def close(self) -> None:
        if self._session is not None:
            self._session.close()

    # --- the request ---------------------------------------------------------------------------------------------

    def _url(self, request: ForwardRequest) -> str:
        """Raises UnsupportedError for what concerns a bucket of which only a part is served here; and as `Names`."""
        client = self._sender.upstream.client
        endpoint: str = client.meta.endpoint_url.rstrip("/")
        if request.key:
            key = self._names.written(request.bucket, request.key)["Key"]
        else:
            key = ""
            self._names.bucket(request.bucket)
            if self._names.root:
                raise UnsupportedError(
                    "Only a part of the upstream's bucket is served here, so its configuration is not.",
                    bucket=request.bucket,
                )
        if self._sender.upstream.settings.addressing_style == "virtual":
            parts = urlsplit(endpoint)
            base = f"{parts.scheme}://{request.bucket}.{parts.netloc}"
        else:
            base = f"{endpoint}/{request.bucket}"
        path = f"/{percent_encode(key, safe='/~')}" if key else ""
        query = "&".join(
            f"{percent_encode(name, safe='-._~')}={percent_encode(value, safe='-._~')}"
            for name, value in request.query
        )
        return f"{base}{path}{f'?{query}' if query else ''}"

    async def _send(self, where: Where, request: ForwardRequest, url: str) -> Any:
        size = request.body.size
        if size is None:
            raise IncompleteBodyError("What is passed on to an S3 service needs a Content-Length.")
        if size > PUT_SIZE_MAX:
            raise EntityTooLargeError(bucket=where.bucket, key=where.key)
        self._http(url)
        chunks = aiter(request.body)
        start = bytearray()
        try:
            if await gather(chunks, start, min(size, WHOLE_BYTES) + 1):
                return await self._send_whole(where, request, url, bytes(start))
            feed = Feed(size)
            headers = {**request.headers, "content-length": str(size)}

            def send() -> Any:
                return self._call(where, request.method, url, headers, feed, _UNSIGNED)

            return await self._sender.send_feed(where, send, feed, chunks, start)
        finally:
            await close(chunks)

    async def _send_whole(
        self, where: Where, request: ForwardRequest, url: str, data: bytes
    ) -> Any:
        if len(data) != request.body.size:
            raise IncompleteBodyError(
                f"The body has {len(data)} bytes instead of {request.body.size}."
            )
        headers = dict(request.headers)
        if data or request.method not in _READS:
            headers["content-length"] = str(len(data))
        if data:
            # Bodies of configurations need a digest upstream; the client's own, of what it sent us, was verified here.
            headers["content-md5"] = content_md5(hashlib.md5(data).hexdigest())
        digest = hashlib.sha256(data).hexdigest()

        def send() -> Any:
            return self._call(where, request.method, url, headers, data, digest)

        idempotent = request.method in _READS
        return await self._sender.upstream.call(where, send, idempotent=idempotent)

    # --- in a thread ---------------------------------------------------------------------------------------------

    def _call(
        self, where: Where, method: str, url: str, headers: dict[str, str], body: Any, payload: str
    ) -> Any:
        """The upstream's answer, its body still to be read. Raises as boto3 does."""
        upstream = self._sender.upstream
        request = AWSRequest(method, url, headers=headers, data=body, stream_output=True)
        if upstream.credentials is None:
            raise boto.NoCredentialsError
        keys = upstream.credentials.get_frozen_credentials()
        _Signer(keys, upstream.client.meta.region_name, payload).add_auth(request)
        answer = self._http(url).send(request.prepare())
        if answer.status_code >= 500 or answer.status_code in {401, 403}:
            _raise(where, answer)
        return answer

    def _http(self, url: str) -> Any:
        """Made before the first thread wants it."""
        if self._session is None:
            settings = self._sender.upstream.settings
            # botocore's own types are narrower than what it takes.
            options: dict[str, Any] = {
                "verify": settings.ca_bundle or settings.verify,
                "timeout": (settings.connect_timeout_s, settings.read_timeout_s),
            }
            self._session = URLLib3Session(
                proxies=get_environ_proxies(url),
                max_pool_connections=settings.max_connections,
                **options,
            )
        return self._session


class _Signer(S3SigV4Auth):
    """Signs the payload hash it was given."""

    def __init__(self, keys: Any, region: str, payload: str) -> None:
        super().__init__(keys, "s3", region)
        self._payload = payload

    def payload(self, request: Any) -> str:
        return self._payload


def _raise(where: Where, answer: Any) -> None:
    """Raise boto3's error for an answer that is about the upstream; return, with its body at hand, if it is about the request."""
    body: bytes = answer.raw.read(_ERROR_BYTES_MAX, decode_content=False)
    found = _CODE.search(body)
    code = found[1].decode() if found else ""
    if answer.status_code < 500 and CODES.get(code, BackendDeniedError) is not BackendDeniedError:
        answer.raw.release_conn()
        answer.raw = _Read(body)
        return
    answer.raw.release_conn()
    parsed: Any = {
        "Error": {"Code": code, "Message": ""},
        "ResponseMetadata": {"HTTPStatusCode": answer.status_code, "HTTPHeaders": {}},
    }
    raise boto.ClientError(parsed, where.action)


class _Read:
    """A body that has been read, as urllib3 would give it."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, amount: int, *, decode_content: bool = False) -> bytes:
        piece, self._data = self._data[:amount], self._data[amount:]
        return piece

    def close(self) -> None:
        """Nothing is open."""

    release_conn = close


class _Answer(ForwardAnswer):
    def __init__(self, answer: Any, sender: Sender) -> None:
        self.status = answer.status_code
        self.headers = [
            (name, value) for name, value in answer.headers.items() if name.lower() not in _OWN
        ]
        length = answer.headers.get("Content-Length", "")
        self.size = int(length) if length.isdigit() else None
        self._raw = answer.raw
        self._sender = sender
        self._ended = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        # No generator: whoever stops in the middle leaves nothing behind that wants to be finished.
        return self

    async def __anext__(self) -> bytes:
        upstream = self._sender.upstream
        try:
            chunk = await upstream.host.run_blocking(self._read)
        except Exception as error:
            raise BackendUnavailableError(
                f"The upstream of backend {upstream.name} broke off its answer."
            ) from error
        if not chunk:
            self._ended = True
            raise StopAsyncIteration
        upstream.counts["read_bytes"] += len(chunk)
        return chunk

    def _read(self) -> bytes:
        data: bytes = self._raw.read(_READ_BYTES, decode_content=False)
        return data

    def close(self) -> None:
        """Keep the connection only if nothing is left on it."""
        if self._ended:
            self._raw.release_conn()
        else:
            self._raw.close()
