"""A new certificate: for new connections at once, and nothing breaks for those that are open."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trio

from tests.support.certificates import self_signed
from tests.support.raw_http import RawClient
from tests.support.s3_endpoint import RunningEndpoint, running_endpoint


def context_of(files: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    return context


async def connected(node: RunningEndpoint) -> tuple[RawClient, bytes]:
    """A connection, and the certificate it was shown."""
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    stream = trio.SSLStream(
        await trio.open_tcp_stream("127.0.0.1", node.port), trusting, https_compatible=True
    )
    await stream.do_handshake()
    node._streams.append(stream)
    return RawClient(stream), stream.getpeercert(binary_form=True)


async def test_new_connections_see_the_new_certificate(tmp_path: Path):
    (tmp_path / "new").mkdir()
    first, second = self_signed(tmp_path), self_signed(tmp_path / "new")
    async with running_endpoint(tmp_path, certificate=first) as node:
        old, shown = await connected(node)
        node.endpoint.replace_tls(context_of(second))
        new, shown_later = await connected(node)
        assert shown != shown_later
        assert shown_later == ssl.PEM_cert_to_DER_cert(second[0].read_text())
        for client in (old, new):
            await client.send(node.signed("GET", "/"))
            assert (await client.reply()).status == 200


async def test_an_endpoint_without_tls_has_none_to_replace(tmp_path: Path):
    async with running_endpoint(tmp_path) as node:
        with pytest.raises(ValueError, match="does not speak TLS"):
            node.endpoint.replace_tls(context_of(self_signed(tmp_path)))
