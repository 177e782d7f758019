"""WebSocket peers of an independent implementation (the `websockets` library): an origin that answers as its path says, and viewers of a site."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

LARGEST_MESSAGE_BYTES = 64 * 1024 * 1024
SUBPROTOCOL = Subprotocol("chat.v2")


class WebSocketOrigin:
    """Echoes messages; a path ending in /<status> refuses the handshake with that, /close closes, /silent reads nothing, /lines sends before it is asked."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.connections: list[ServerConnection] = []
        self.closed: list[tuple[int, str]] = []
        """How each connection ended: code and reason."""
        self.gate = asyncio.Event()
        self.host = ""
        self.port = 0

    async def handle(self, connection: ServerConnection) -> None:
        self.connections.append(connection)
        assert connection.request is not None
        path = connection.request.path.partition("?")[0]
        try:
            if path.endswith("/close"):
                await connection.close(4001, "enough")
            elif path.endswith("/silent"):
                await self.gate.wait()
            elif path.endswith("/lines"):
                for number in range(3):
                    await connection.send(f"line {number}")
            async for message in connection:
                await connection.send(message)
        except ConnectionClosed:
            pass
        finally:
            self.closed.append((connection.close_code or 0, connection.close_reason or ""))

    def judge(self, connection: ServerConnection, request: Request) -> Response | None:
        self.requests.append(request)
        status = request.path.partition("?")[0].rpartition("/")[2]
        if status.isdigit():
            body = f"refused with {status}".encode()
            fields = Headers([("Content-Length", str(len(body))), ("Cache-Control", "max-age=60")])
            return Response(int(status), "Refused", fields, body)
        return None


@asynccontextmanager
async def websocket_origin(host: str, **changes: Any) -> AsyncIterator[WebSocketOrigin]:
    origin = WebSocketOrigin()
    values: dict[str, Any] = {
        "process_request": origin.judge,
        "select_subprotocol": lambda _, offered: SUBPROTOCOL if SUBPROTOCOL in offered else None,
        "max_size": LARGEST_MESSAGE_BYTES,
        "ping_interval": None,
    } | changes
    server: Server
    async with serve(origin.handle, host, 0, **values) as server:
        origin.host, origin.port = host, server.sockets[0].getsockname()[1]
        try:
            yield origin
        finally:
            origin.gate.set()


def websocket(address: str, host: str, path: str, **changes: Any) -> connect:
    """A viewer's connection to a node, for a site."""
    node_host, _, port = address.rpartition(":")
    values: dict[str, Any] = {"max_size": LARGEST_MESSAGE_BYTES, "ping_interval": None, "proxy": None} | changes
    return connect(f"ws://{host}{path}", host=node_host, port=int(port), **values)


__all__ = ["SUBPROTOCOL", "ClientConnection", "WebSocketOrigin", "websocket", "websocket_origin"]
