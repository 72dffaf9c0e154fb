"""Accepting connections, within limits, until told to drain.

Drain (SIGTERM): stop accepting, close idle connections, let requests in flight finish - their responses say `Connection: close` - and after
`drain_timeout_s` cancel what is left. Too many connections: the one idle longest makes room; if all are busy the new one is answered 503.
Too many from one address: the new one is answered 503, so that one client cannot close the connections of others.
"""

from __future__ import annotations

import errno
import ipaddress
import logging
import socket
import ssl
from collections.abc import Sequence

import trio

from appliance.model.errors import SlowDownError
from appliance.s3.http.connection import Connection, Handler, Turn
from appliance.s3.http.errors import ClientGoneError
from appliance.s3.http.hot import HotLane
from appliance.s3.http.idle import IdleConnections
from appliance.s3.http.transport import PlainTransport, TlsTransport, Transport
from appliance.s3.settings import HttpSettings
from appliance.world import World

logger = logging.getLogger(__name__)

# Accepted in one go, before other tasks get their turn.
_ACCEPT_BATCH = 64
# Out of descriptors or memory: accepting again at once would spin. trio.serve_listeners waits the same.
_ACCEPT_PAUSE_S = 0.1
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})


class HttpServer:
    """Serves `handler` on listening sockets. `tls`: speak TLS on all of them; replace it and new connections have the new one."""

    def __init__(
        self,
        handler: Handler,
        settings: HttpSettings,
        world: World,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.handler = handler
        self.settings = settings
        self.idle = IdleConnections(settings.idle_timeout_s)
        self.hot: HotLane[Turn] = HotLane()
        self.draining = False
        self._world = world
        self.tls = tls
        self._accepting: trio.CancelScope | None = None
        self._serving: trio.CancelScope | None = None
        self._open = 0
        self._addresses: dict[str, int] = {}  # connections of each that has any
        self._accepted = 0
        self._turned_away = 0

    async def serve(
        self,
        listeners: Sequence[socket.socket],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until drained. Takes the listening sockets over and closes them."""
        try:
            async with trio.open_nursery() as watching:
                watching.start_soon(self.idle.watch)
                watching.start_soon(self.hot.run)
                async with trio.open_nursery() as serving:
                    self._serving = serving.cancel_scope
                    await self._accept_all(listeners, serving, task_status)
                    self.idle.close_all()
                watching.cancel_scope.cancel()
        finally:
            self.hot.close()

    def drain(self, timeout_s: float | None = None) -> None:
        """Begin to drain; `serve` returns when it is done."""
        self.draining = True
        if timeout_s is None:
            timeout_s = self.settings.drain_timeout_s
        if self._serving is not None:
            self._serving.deadline = trio.current_time() + timeout_s
        if self._accepting is not None:
            self._accepting.cancel()
        self.idle.close_all()

    def statistics(self) -> dict[str, float]:
        """Connections: open and idle now, accepted and turned away since start."""
        return {
            "connections_open": self._open,
            "connections_idle": len(self.idle),
            "connections_addresses": len(self._addresses),
            "connections_accepted_total": self._accepted,
            "connections_turned_away_total": self._turned_away,
            **self.hot.statistics(),
        }

    async def _accept_all(
        self,
        listeners: Sequence[socket.socket],
        serving: trio.Nursery,
        task_status: trio.TaskStatus[None],
    ) -> None:
        try:
            async with trio.open_nursery() as accepting:
                self._accepting = accepting.cancel_scope
                for listener in listeners:
                    listener.setblocking(False)
                    accepting.start_soon(self._accept, listener, serving)
                task_status.started()
                if self.draining:
                    accepting.cancel_scope.cancel()
        finally:
            for listener in listeners:
                listener.close()

    async def _accept(self, listener: socket.socket, serving: trio.Nursery) -> None:
        while True:
            await trio.lowlevel.wait_readable(listener)
            for _ in range(_ACCEPT_BATCH):
                try:
                    sock, address = listener.accept()
                except BlockingIOError:
                    break
                except OSError as error:
                    if error.errno not in _EXHAUSTED:
                        continue  # that connection ended before it was accepted (accept(2), "Error handling")
                    logger.warning("cannot accept: %s; raise the limit of open files", error)
                    self.idle.close_longest()
                    await trio.sleep(_ACCEPT_PAUSE_S)
                    break
                self._admit(sock, str(address[0]), serving)

    def _admit(self, sock: socket.socket, peer: str, serving: trio.Nursery) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        group = client_group(peer)
        of_group = self._addresses.get(group, 0)
        limit = self.settings.connections_per_address_max
        if (limit and of_group >= limit) or (
            self._open >= self.settings.connections_max and not self.idle.close_longest()
        ):
            self._turn_away(sock, peer)
            return
        # Counted here: of a batch of connections, none may slip through before its task runs.
        self._addresses[group] = of_group + 1
        self._open += 1
        self._accepted += 1
        serving.start_soon(self._run, self._transport(sock), peer, group)

    def _transport(self, sock: socket.socket) -> Transport:
        if self.tls is None:
            return PlainTransport(sock, self._world)
        return TlsTransport(sock, self.tls, self._world)

    async def _run(self, transport: Transport, peer: str, group: str) -> None:
        try:
            await Connection(transport, self, peer, tls=self.tls is not None).run()
        finally:
            self._open -= 1
            self._addresses[group] -= 1
            if not self._addresses[group]:
                del self._addresses[group]

    def _turn_away(self, sock: socket.socket, peer: str) -> None:
        """Answer 503 without spending a task on it (on TLS there is nothing that could be said before a handshake)."""
        self._turned_away += 1
        transport = PlainTransport(sock, self._world)
        try:
            if self.tls is None:
                error = SlowDownError("Too many connections. Please try again later.")
                response = self.handler.refuse(error, peer)
                data = response.head(close=True) + bytes(response.body)  # type: ignore[arg-type]  # a refusal is bytes
                transport.send_nowait(data)
        except ClientGoneError:
            pass
        finally:
            transport.abort()


def client_group(peer: str) -> str:
    """What counts as one client: an IPv4 address, or the 64 bits of an IPv6 address that name its network."""
    if ":" not in peer:
        return peer
    address = ipaddress.IPv6Address(peer.partition("%")[0])
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Address(int(address) >> 64 << 64))


def listen(host: str, port: int, backlog: int = 1024) -> list[socket.socket]:
    """Listening sockets for every address of `host` ("" is every address of this machine). Raises OSError."""
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return [_bind(family, address, backlog) for family, _, _, _, address in found]


def _bind(family: int, address: tuple[object, ...], backlog: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(backlog)
    except OSError:
        sock.close()
        raise
    return sock
