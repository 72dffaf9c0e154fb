"""A node that speaks TLS: its certificate is replaced on SIGHUP, and plain HTTP is sent to HTTPS."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.certificates import self_signed
from tests.support.node import Node
from tests.support.processes import free_ports

pytestmark = pytest.mark.real


class TlsNode:
    """A node, and the two certificates it may have."""

    def __init__(self, directory: Path) -> None:
        self.first, self.second = directory / "first", directory / "second"
        for place in (self.first, self.second):
            place.mkdir()
            self_signed(place)
        self.used = directory / "used"
        shutil.copytree(self.first, self.used)
        [self.redirect_port] = free_ports(1)
        (directory / "buckets").mkdir()
        config = f"""
            [s3]
            tls_certificate = "{self.used}/certificate.pem"
            tls_key = "{self.used}/key.pem"
            redirect_listen = "127.0.0.1:{self.redirect_port}"
        """
        self.node = Node(directory / "node", f"posix://{directory}/buckets", config=config)

    def shown(self) -> str:
        return ssl.get_server_certificate(("127.0.0.1", self.node.port))

    def hang_up(self, said: str) -> None:
        """Send SIGHUP, and wait until the log says that something came of it."""
        before = self.node.log.count(said)
        os.kill(self.node.server.process.pid, signal.SIGHUP)
        self.node.server.wait_until(lambda: self.node.log.count(said) > before, said)


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[TlsNode]:
    running = TlsNode(tmp_path)
    try:
        yield running
    finally:
        running.node.close()


def test_a_new_certificate_is_used_after_sighup(tls: TlsNode):
    assert tls.shown() == (tls.first / "certificate.pem").read_text()
    context = ssl.create_default_context(cafile=tls.first / "certificate.pem")
    kept = http.client.HTTPSConnection("127.0.0.1", tls.node.port, context=context)
    kept.connect()
    for name in ("certificate.pem", "key.pem"):
        shutil.copy(tls.second / name, tls.used / name)
    assert tls.shown() == (tls.first / "certificate.pem").read_text()
    tls.hang_up("SIGHUP: new connections get the certificate")
    assert tls.shown() == (tls.second / "certificate.pem").read_text()
    kept.request("GET", "/")
    assert kept.getresponse().status == 403
    kept.close()


def test_one_that_cannot_be_used_changes_nothing(tls: TlsNode):
    shutil.copy(tls.second / "key.pem", tls.used / "key.pem")
    tls.hang_up("SIGHUP: the certificate in use stays")
    assert tls.shown() == (tls.first / "certificate.pem").read_text()
    (tls.used / "key.pem").unlink()
    tls.hang_up("SIGHUP: the certificate in use stays")
    assert tls.shown() == (tls.first / "certificate.pem").read_text()


def test_plain_http_is_sent_to_https(tls: TlsNode):
    connection = http.client.HTTPConnection("127.0.0.1", tls.redirect_port)
    connection.request("GET", "/bucket/key?x=1")
    answer = connection.getresponse()
    assert answer.status == 308
    assert answer.headers["Location"] == f"https://127.0.0.1:{tls.node.port}/bucket/key?x=1"
    connection.close()
    assert tls.node.statistics()["redirect"]["redirected_total"] == 1
