"""An S3 endpoint over the cache and the in-memory backend, in this process, on a free loopback port; boto3 runs in threads beside it."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import boto3
import trio
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from appliance.auth.credentials import CredentialStore, make_credentials
from appliance.cache.object_cache import ObjectCache
from appliance.cache.routes import Route, Routes
from appliance.cache.store import Store
from appliance.journal.bucket_settings import JournalBucketSettings
from appliance.journal.journal import Journal
from appliance.model.errors import BucketExistsError
from appliance.plugin import Backend
from appliance.policy.buckets import BucketPolicy
from appliance.s3.endpoint import S3Endpoint
from appliance.s3.http.server import listen
from appliance.s3.settings import S3Settings
from appliance.world import RealWorld
from appliance_example.backend import MemoryBackend
from tests.support.plugin_host import backend_config
from tests.support.raw_http import RawClient, Reply
from tests.support.root_credentials import RootCredentials

T = TypeVar("T")

ACCESS_KEY = "TESTACCESSKEY"
SECRET_KEY = "a secret of tests".replace(" ", "-")
REGION = "us-east-1"


class RunningEndpoint:
    """An endpoint, what is under it, and ways to talk to it."""

    def __init__(
        self,
        endpoint: S3Endpoint,
        cache: ObjectCache,
        backend: Backend,
        port: int,
        certificate: Path | None = None,
    ) -> None:
        self._certificate = certificate
        self.endpoint = endpoint
        self.cache = cache
        self.backend = backend
        self.port = port
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{port}"
        self.stopped = trio.Event()
        self.s3 = self.client()
        self._streams: list[trio.abc.Stream] = []

    def client(self, **config: Any) -> Any:
        """A boto3 client. Its calls block: use `call`."""
        return _session().client(
            "s3",
            endpoint_url=self.url,
            verify=str(self._certificate) if self._certificate else None,
            region_name=REGION,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=Config(
                **{
                    "s3": {"addressing_style": "path"},
                    "retries": {"max_attempts": 1, "mode": "standard"},
                    **config,
                }
            ),
        )

    async def call(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Run a blocking client in a thread."""
        return await trio.to_thread.run_sync(functools.partial(function, *args, **kwargs))

    async def connect(self) -> RawClient:
        """One connection for bytes."""
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        self._streams.append(stream)
        return RawClient(stream)

    async def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Reply:
        """One signed request on a connection of its own."""
        client = await self.connect()
        await client.send(self.signed(method, path, body, headers))
        reply = await client.reply(head_request=method == "HEAD")
        await client.stream.aclose()
        return reply

    def signed(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> bytes:
        """The bytes of a signed request. `headers` may replace x-amz-content-sha256, and are signed where they are x-amz-."""
        given = {name.lower(): value for name, value in (headers or {}).items()}
        given.setdefault("x-amz-content-sha256", hashlib.sha256(body).hexdigest())
        request = AWSRequest(method, self.url + path, data=body, headers=given)
        _Signer(given["x-amz-content-sha256"]).add_auth(request)
        fields = dict(request.headers.items())
        fields["Host"] = f"127.0.0.1:{self.port}"
        if body and "content-length" not in given:
            fields["Content-Length"] = str(len(body))
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body

    def presigned(self, method: str, path: str, expires_s: int = 60) -> str:
        """Path and query of a presigned request."""
        request = AWSRequest(method, self.url + path)
        S3SigV4QueryAuth(_credentials(), "s3", REGION, expires=expires_s).add_auth(request)
        url: str = request.url
        return url.removeprefix(self.url)

    async def aclose(self) -> None:
        self.s3.close()
        for stream in self._streams:
            await trio.aclose_forcefully(stream)


class _Signer(S3SigV4Auth):
    """Signs the payload hash that the test chose."""

    def __init__(self, payload: str) -> None:
        super().__init__(_credentials(), "s3", REGION)
        self._payload = payload

    def payload(self, request: AWSRequest) -> str:
        return self._payload


def _tls(certificate: tuple[Path, Path] | None) -> ssl.SSLContext | None:
    if certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


@functools.cache
def _session() -> boto3.Session:
    """One for all: it remembers the API's description, which takes 0.1 s to load."""
    return boto3.Session()


def _credentials() -> Credentials:
    return Credentials(ACCESS_KEY, SECRET_KEY)


@asynccontextmanager
async def running_endpoint(
    directory: Path,
    settings: S3Settings | None = None,
    *,
    backend: Backend | None = None,
    credentials: CredentialStore | None = None,
    log_write: Callable[[bytes], object] | None = None,
    certificate: tuple[Path, Path] | None = None,
) -> AsyncIterator[RunningEndpoint]:
    """An endpoint over a journal, a store and (by default) the in-memory backend; its bucket "bucket" exists.

    With a certificate and its key it speaks TLS, and boto3 trusts it.
    """
    world = RealWorld()
    backend = backend or MemoryBackend(backend_config())
    await backend.start()
    journal = Journal.open(directory / "appliance.db", world)
    routes = Routes([Route("*", backend, BucketPolicy())])
    credentials = credentials or RootCredentials(make_credentials(ACCESS_KEY, SECRET_KEY))
    async with journal.running(), trio.open_nursery() as nursery:
        cache = ObjectCache(world, journal, Store(directory), routes, capacity_bytes=1 << 30)
        await nursery.start(cache.run)
        endpoint = S3Endpoint(
            cache,
            credentials,
            world,
            settings or S3Settings(),
            secret=b"seals",
            bucket_settings=JournalBucketSettings(journal),
            log_write=log_write,
            tls=_tls(certificate),
        )
        listeners = listen("127.0.0.1", 0)
        port = listeners[0].getsockname()[1]
        running = RunningEndpoint(endpoint, cache, backend, port, certificate and certificate[0])

        async def serve(task_status: trio.TaskStatus[None]) -> None:
            await endpoint.serve(listeners, task_status=task_status)
            running.stopped.set()

        await nursery.start(serve)
        with contextlib.suppress(BucketExistsError):
            await cache.create_bucket("bucket")
        try:
            yield running
        finally:
            await running.aclose()
            nursery.cancel_scope.cancel()
    journal.close()
    await backend.stop()
