"""A listener for plain HTTP beside an endpoint that speaks TLS: it sends everybody there, and serves nothing.

Credentials and objects must not travel in the clear; a client that was given `http://` by mistake learns so from a 308, which keeps method
and body, and an error document for people.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence

import trio

from appliance.model.errors import ApplianceError
from appliance.s3.http.head import Head
from appliance.s3.http.incoming import IncomingBody
from appliance.s3.http.response import Response, render_fields
from appliance.s3.http.server import HttpServer
from appliance.s3.settings import HttpSettings
from appliance.s3.wire.errors import error_response
from appliance.s3.wire.response import XML
from appliance.s3.wire.xml.text import element
from appliance.world import World

_HOST = re.compile(r"([A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?\Z", re.ASCII)


class HttpsRedirect:
    """Serves redirects to port `https_port` of whatever host the client named."""

    def __init__(self, https_port: int, settings: HttpSettings, world: World) -> None:
        self._port = https_port
        self._server = HttpServer(self, settings, world)
        self._redirected = 0

    async def serve(
        self,
        listeners: Sequence[socket.socket],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Until cancelled. Takes the listening sockets over."""
        await self._server.serve(listeners, task_status=task_status)

    def statistics(self) -> dict[str, float]:
        return {"redirected_total": self._redirected, **self._server.statistics()}

    # --- what the HTTP server asks ---------------------------------------------------------

    def handle(self, head: Head, body: IncomingBody) -> Response:
        self._redirected += 1
        request = head.request
        match = _HOST.match(request.headers.get("host", ""))
        if match is None or not request.target.startswith(b"/"):
            return Response(400, b"", b"This port only sends clients to HTTPS.\n", close=True)
        port = "" if self._port == 443 else f":{self._port}"
        endpoint = f"https://{match[1]}{port}"
        location = endpoint + request.target.decode("latin-1")
        document = (
            '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>PermanentRedirect</Code>'
            "<Message>This endpoint speaks HTTPS only.</Message>"
            f"{element('Endpoint', endpoint)}</Error>"
        )
        # No keep-alive: the client is to go elsewhere.
        return Response(
            308, render_fields([("Location", location), XML]), document.encode(), close=True
        )

    def refuse(self, error: ApplianceError, peer: str) -> Response:
        answer = error_response(error, resource="", request_id="", host_id="")
        return Response(answer.status, render_fields(answer.headers), answer.body)

    def sent(self, response: Response, sent_bytes: int, error: Exception | None) -> None:
        """Nothing is kept of them."""
