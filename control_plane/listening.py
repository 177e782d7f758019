"""Sockets that listen, with a clear message where that cannot be."""

import asyncio
import errno
import socket
from typing import Final

from control_plane.settings import Address

ADDRESS_SECONDS: Final = 0.5
ADDRESS_PAUSE_SECONDS: Final = 0.02
"""How long an address that is in use is waited for, and between two attempts."""
BACKLOG: Final = 128


class ListenError(Exception):
    """The address cannot be listened on; the message says why."""


async def listen_soon(address: Address) -> socket.socket:
    """An address that is in use may be the management API's of a control plane that was just killed, which ends with it and not before it. ListenError."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + ADDRESS_SECONDS
    while True:
        try:
            return _listen(address)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or loop.time() > deadline:
                raise ListenError(f"cannot listen on {address}: {(error.strerror or str(error)).lower()}") from error
        await asyncio.sleep(ADDRESS_PAUSE_SECONDS)


def _listen(address: Address) -> socket.socket:
    family, kind, protocol, _, where = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
