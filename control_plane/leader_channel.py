"""A follower's connection to the leader: opened when the first stream is passed on, shared by all of them, and ended when the leader is another one."""

import asyncio
import logging
from typing import Final

from control_plane.grpc_calls import AnswerHandler
from control_plane.grpc_client import GrpcClient, NoCallError
from control_plane.grpc_client_call import ClientCall
from control_plane.http2_frames import ErrorCode
from control_plane.roles import Roles
from control_plane.session_messages import METHOD
from proto.mutual_tls import CONTROL_PLANE_NAME, TlsIdentity

CONNECT_SECONDS = 2.0
"""With the handshake, until the leader's settings are here. It takes those who come in turn, and a thousand nodes may have come before."""

ANOTHER_LEADS: Final = "the leader is another one"

_logger = logging.getLogger("control-plane")


class LeaderChannel:
    """All streams to one leader, over one connection at a time."""

    def __init__(self, roles: Roles, tls: TlsIdentity | None) -> None:
        self._roles = roles
        self._tls = tls
        self._address = ""
        self._opening: asyncio.Task[GrpcClient] | None = None
        """Done when there is a connection; NoCallError when there is none."""
        self._watching: set[asyncio.Task[None]] = set()

    async def call(self, address: str, handler: AnswerHandler) -> ClientCall:
        """Begin a stream to the leader at this address. NoCallError."""
        if self._opening is None or self._address != address or _is_of_no_use(self._opening):
            self._address = address
            self._opening = asyncio.get_running_loop().create_task(self._open(address))
            self._opening.add_done_callback(_note_failure)
        client = await asyncio.shield(self._opening)
        return client.call(handler)

    async def _open(self, address: str) -> GrpcClient:
        """For all who wait for it: none of them ends it by leaving."""
        changed = asyncio.ensure_future(self._until_change(address))
        connecting = asyncio.ensure_future(self._connect(address))
        try:
            await asyncio.wait((changed, connecting), return_when=asyncio.FIRST_COMPLETED)
            if not connecting.done():
                raise NoCallError(ANOTHER_LEADS)
            client = connecting.result()
        except BaseException:
            changed.cancel()
            connecting.cancel()
            raise
        watching = asyncio.get_running_loop().create_task(_end_with(client, changed))
        self._watching.add(watching)
        watching.add_done_callback(self._watching.discard)
        _logger.info("streams are passed on to %s", address)
        return client

    async def _connect(self, address: str) -> GrpcClient:
        host, _, port = address.rpartition(":")
        client = GrpcClient(METHOD, "http" if self._tls is None else "https", CONTROL_PLANE_NAME)
        tls = None if self._tls is None else self._tls.for_connection()
        name = None if tls is None else CONTROL_PLANE_NAME
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                loop = asyncio.get_running_loop()
                await loop.create_connection(lambda: client, host.strip("[]"), int(port), ssl=tls, server_hostname=name)
                await client.ready
        except TimeoutError:
            raise NoCallError("the leader does not answer") from None
        except OSError as error:
            raise NoCallError(f"the leader cannot be reached: {error}") from error
        finally:
            if not client.takes_calls:
                client.give_up("it was not wanted any more")
        if client.is_over:
            raise NoCallError("the leader takes no connection")
        return client

    async def _until_change(self, address: str) -> None:
        if self._roles.leader_address == address:
            await self._roles.change()


def _is_of_no_use(opening: "asyncio.Task[GrpcClient]") -> bool:
    """Whether another connection has to be opened."""
    if not opening.done():
        return False
    return opening.cancelled() or opening.exception() is not None or opening.result().is_over


async def _end_with(client: GrpcClient, changed: "asyncio.Future[None]") -> None:
    """End the connection with the leader's term, or notice that it has ended before."""
    try:
        await asyncio.wait((changed, client.closed), return_when=asyncio.FIRST_COMPLETED)
        client.end(ErrorCode.NO_ERROR, ANOTHER_LEADS)
    except asyncio.CancelledError:
        client.give_up(ANOTHER_LEADS)
        raise
    finally:
        changed.cancel()


def _note_failure(opening: "asyncio.Task[GrpcClient]") -> None:
    """Those who wait for it are told; if nobody does any more, nobody misses it."""
    if not opening.cancelled():
        opening.exception()
