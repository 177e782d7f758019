"""The gRPC service `cdn.v1.ControlPlane` of one control plane: a leader answers a node's stream itself (`sync.py`), a follower passes it on to the leader, message by
message.

So everything is decided in one place. A lease counts, for the leader, from when it hears the heartbeat, and for the node from when it sent it: what lies between only
makes
the leader wait longer.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Coroutine
from typing import Any, Final

import grpc
import grpc.aio

from control_plane.admission import Admission
from control_plane.roles import Roles
from control_plane.sync import SERVICE, Context, handler_of, read_hello, to_description
from proto.cdn.v1 import sync_pb2
from proto.mutual_tls import SERVER_NAME_OPTION, TlsIdentity
from proto.node_session import CHANNEL_OPTIONS, TRY_AGAIN

WAIT_SECONDS: Final = 3.0
"""How long a node is kept waiting while nobody leads. It goes to another control plane earlier if it knows one."""

LOOK_SECONDS: Final = 0.2

_METHOD: Final = f"/{SERVICE}/Sync"

_Call = grpc.aio.StreamStreamCall[Any, bytes]

_logger = logging.getLogger("control-plane")


class _RelayEndedError(Exception):
    """The stream is over; the message says why."""


class NodeService:
    """What nodes connect to, whatever the role is."""

    def __init__(self, roles: Roles, admission: Admission, tls: TlsIdentity | None) -> None:
        self._roles = roles
        self._admission = admission
        self._tls = tls

    def handler(self) -> grpc.GenericRpcHandler:
        """The service."""
        return handler_of(self._sync)

    async def _sync(self, requests: AsyncIterator[sync_pb2.NodeMessage], context: Context) -> None:
        await self._until_somebody_leads(context)
        leading = self._roles.leading
        if leading is not None:
            await leading.sync.serve(requests, context)
        else:
            await self._pass_on(requests, context)

    async def _until_somebody_leads(self, context: Context) -> None:
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while self._roles.leading is None and self._roles.leader_address is None:
                    if self._roles.is_blind:
                        break
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._roles.change(), LOOK_SECONDS)
                else:
                    return
        except TimeoutError:
            pass
        await context.abort(grpc.StatusCode.UNAVAILABLE, "no control plane leads")

    async def _pass_on(self, requests: AsyncIterator[sync_pb2.NodeMessage], context: Context) -> None:
        """One stream, until either side ends it or the leader is another one."""
        address = self._roles.leader_address
        first = await read_hello(requests, context, self._admission)
        if address is None:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "another control plane leads by now")
        node = to_description(first.hello.node)
        _logger.info("node %s is passed on to %s", node.identifier, address)
        reason, status = "an error of the control plane", grpc.StatusCode.UNAVAILABLE
        try:
            async with self._channel(str(address)) as channel:
                call: _Call = channel.stream_stream(
                    _METHOD, request_serializer=sync_pb2.NodeMessage.SerializeToString, response_deserializer=_as_it_is
                )()
                try:
                    await call.write(first)
                    reason = await self._converse(call, requests, context)
                finally:
                    call.cancel()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError) as error:
            reason = _reason(error)
        _logger.info("node %s is passed on no longer: %s", node.identifier, reason)
        if self._roles.leading is not None or self._roles.leader_address not in (None, address):
            status = TRY_AGAIN  # here: this one knows whom to ask
        await context.abort(status, reason)

    async def _converse(self, call: _Call, requests: AsyncIterator[sync_pb2.NodeMessage], context: Context) -> str:
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        async with asyncio.TaskGroup() as group:
            works = (_up(requests, call), _down(call, context), self._until_change())
            tasks = [group.create_task(_reporting(work, ended)) for work in works]
            reason = await ended
            for task in tasks:
                task.cancel()
        return reason

    async def _until_change(self) -> None:
        await self._roles.change()
        raise _RelayEndedError("the leader is another one")

    def _channel(self, address: str) -> grpc.aio.Channel:
        if self._tls is None:
            return grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
        options = (*CHANNEL_OPTIONS, SERVER_NAME_OPTION)
        return grpc.aio.secure_channel(address, self._tls.for_channel(), options=options)


async def _up(requests: AsyncIterator[sync_pb2.NodeMessage], call: _Call) -> None:
    async for message in requests:
        await call.write(message)
    await call.done_writing()


async def _down(call: _Call, context: Context) -> None:
    while True:
        frame: Any = await call.read()
        if not isinstance(frame, bytes):
            raise _RelayEndedError("the leader closed the stream")
        await context.write(frame)


async def _reporting(work: Coroutine[None, None, None], ended: "asyncio.Future[str]") -> None:
    """Do the work; what ends the stream is its result and not a failure of the group."""
    try:
        await work
    except (_RelayEndedError, grpc.aio.AioRpcError, asyncio.InvalidStateError) as error:
        if not ended.done():
            ended.set_result(_reason(error))


def _reason(error: Exception) -> str:
    details = error.details() if isinstance(error, grpc.aio.AioRpcError) else None
    return str(details or error or "the leader closed the stream")


def _as_it_is(frame: bytes) -> bytes:
    return frame
