"""The gRPC service `cdn.v1.ControlPlane` of one control plane: a leader answers a node's stream itself (`sync.py`), a follower passes it on to the leader, message by
message, as bytes.

So everything is decided in one place. A lease counts, for the leader, from when it hears the heartbeat, and for the node from when it sent it: what lies between only
makes the leader wait longer.

What waits is bounded on both sides: messages of the node by their bytes, and of the leader one message, after which nothing more is read from it until the node has
taken that. A stream that is passed on is a task and a connection, and no thread.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Coroutine
from typing import Any, Final

import grpc
import grpc.aio

from control_plane.admission import Admission
from control_plane.grpc_calls import Call, CallHandler
from control_plane.grpc_wire import Status
from control_plane.roles import Roles
from control_plane.session_messages import (
    HELLO_SECONDS,
    METHOD,
    NO_HELLO,
    StreamEndedError,
    introduced,
    read_message,
)
from proto.mutual_tls import SERVER_NAME_OPTION, TlsIdentity
from proto.node_session import CHANNEL_OPTIONS, TRY_AGAIN

LEADERLESS_SECONDS = 3.0
"""How long a node is kept waiting while nobody leads. It goes to another control plane earlier if it knows one."""

LOOK_SECONDS: Final = 0.2

UNREAD_SECONDS = 8.0
"""How long the leader's next message waits for a node that does not read."""

MOST_RELAYED_BYTES = 4 * 1024 * 1024
BYTES_PER_MESSAGE: Final = 128
"""What of a node may wait until the leader takes it, with so much for each message besides: nodes say little, but for one that refuses thousands of resources."""

_Upstream = grpc.aio.StreamStreamCall[Any, bytes]

_TRY_AGAIN: Final = Status[TRY_AGAIN.name]

_logger = logging.getLogger("control-plane")


class NodeService:
    """What nodes connect to, whatever the role is."""

    def __init__(self, roles: Roles, admission: Admission, tls: TlsIdentity | None) -> None:
        self._roles = roles
        self._admission = admission
        self._tls = tls
        self._passing: set[asyncio.Task[None]] = set()

    def serve(self, call: Call) -> CallHandler:
        """A call of a node begins."""
        leading = self._roles.leading
        if leading is not None:
            return leading.sync.serve(call)
        passed = PassedCall(call)
        task = asyncio.get_running_loop().create_task(self._pass(passed))
        passed.task = task
        self._passing.add(task)
        task.add_done_callback(self._passing.discard)
        return passed

    async def _pass(self, passed: "PassedCall") -> None:
        """From its hello to its end, whoever serves it."""
        try:
            hello = await passed.hello()
            node = introduced(read_message(hello), passed.call.peer, self._admission)
            passed.call.admit()
            await self._until_somebody_leads()
            leading = self._roles.leading
            if leading is not None:
                passed.hand_over(leading.sync.serve(passed.call), hello)
            else:
                await self._pass_on(passed, hello, node.identifier)
        except StreamEndedError as error:
            passed.call.finish(error.status, str(error))
        except Exception:
            _logger.exception("a node's stream could not be passed on")
            passed.call.finish(Status.UNAVAILABLE, "an error of the control plane")

    async def _until_somebody_leads(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEADERLESS_SECONDS):
                while not self._roles.is_blind:
                    if self._roles.leading is not None or self._roles.leader_address is not None:
                        return
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._roles.change(), LOOK_SECONDS)
        raise StreamEndedError("no control plane leads", Status.UNAVAILABLE)

    async def _pass_on(self, passed: "PassedCall", hello: bytes, node_id: str) -> None:
        """Until either side ends it or the leader is another one."""
        address = self._roles.leader_address
        if address is None:
            raise StreamEndedError("another control plane leads by now", Status.UNAVAILABLE)
        _logger.info("node %s is passed on to %s", node_id, address)
        reason = "the node is gone"
        try:
            async with self._channel(address) as channel:
                reason = await self._converse(channel, hello, passed, address)
        finally:
            _logger.info("node %s is passed on no longer: %s", node_id, reason)
        is_known = self._roles.leading is not None or self._roles.leader_address not in (None, address)
        raise StreamEndedError(reason, _TRY_AGAIN if is_known else Status.UNAVAILABLE)  # here: it knows whom to ask

    async def _converse(self, channel: grpc.aio.Channel, hello: bytes, passed: "PassedCall", address: str) -> str:
        """Why it has ended."""
        open_stream = channel.stream_stream(METHOD, request_serializer=_as_it_is, response_deserializer=_as_it_is)
        upstream: _Upstream = open_stream()
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.TaskGroup() as group:
                works = (_up(hello, passed, upstream), _down(upstream, passed), self._until_change(address))
                tasks = [group.create_task(_reporting(work, ended)) for work in works]
                reason = await ended
                for task in tasks:
                    task.cancel()
        finally:
            upstream.cancel()
        return reason

    async def _until_change(self, address: str) -> None:
        if self._roles.leader_address == address:
            await self._roles.change()
        raise StreamEndedError("the leader is another one")

    def _channel(self, address: str) -> grpc.aio.Channel:
        if self._tls is None:
            return grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
        options = (*CHANNEL_OPTIONS, SERVER_NAME_OPTION)
        return grpc.aio.secure_channel(address, self._tls.for_channel(), options=options)


class PassedCall:
    """A call of a node that somebody else answers, or that waits until it is clear who does. See grpc_calls.CallHandler."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.task: asyncio.Task[None] | None = None
        """Ends when the call does, and is cancelled when the node has gone."""
        self._handler: CallHandler | None = None
        """Who has been handed the call: it is served here after all."""
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._is_half_closed = False
        self._has_news = asyncio.Event()
        self._may_be_writable = asyncio.Event()

    # grpc_calls.CallHandler

    def message_received(self, data: bytes) -> None:
        """See grpc_calls.CallHandler."""
        if self._handler is not None:
            self._handler.message_received(data)
            return
        self._waiting.append(data)
        self._waiting_bytes += len(data) + BYTES_PER_MESSAGE
        self._has_news.set()
        if self._waiting_bytes > MOST_RELAYED_BYTES:
            self.call.finish(Status.RESOURCE_EXHAUSTED, "more is said than is passed on")
            self.broken()

    def half_closed(self) -> None:
        """See grpc_calls.CallHandler."""
        self._is_half_closed = True
        self._has_news.set()
        if self._handler is not None:
            self._handler.half_closed()

    def writable(self) -> None:
        """See grpc_calls.CallHandler."""
        self._may_be_writable.set()
        if self._handler is not None:
            self._handler.writable()

    def broken(self) -> None:
        """See grpc_calls.CallHandler."""
        if self._handler is not None:
            self._handler.broken()
        elif self.task is not None:
            self.task.cancel()

    # For the one who passes it on

    async def hello(self) -> bytes:
        """The first message. StreamEndedError when there is none, or none soon."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HELLO_SECONDS):
                first = await self.next_message()
                if first is not None:
                    return first
        raise StreamEndedError(NO_HELLO, Status.INVALID_ARGUMENT)

    async def next_message(self) -> bytes | None:
        """The node's, in order; None when it has said all."""
        while not self._waiting:
            if self._is_half_closed:
                return None
            self._has_news.clear()
            await self._has_news.wait()
        message = self._waiting.popleft()
        self._waiting_bytes -= len(message) + BYTES_PER_MESSAGE
        return message

    async def send(self, message: bytes) -> None:
        """When the node takes it. StreamEndedError when it does not for long."""
        try:
            async with asyncio.timeout(UNREAD_SECONDS):
                while not self.call.is_writable:
                    self._may_be_writable.clear()
                    await self._may_be_writable.wait()
        except TimeoutError:
            raise StreamEndedError("the node does not read") from None
        self.call.send(message)

    def hand_over(self, handler: CallHandler, hello: bytes) -> None:
        """From now on `handler` serves it, which hears everything from the hello on."""
        self._handler = handler
        handler.message_received(hello)
        while self._waiting:
            handler.message_received(self._waiting.popleft())
        if self._is_half_closed:
            handler.half_closed()


async def _up(hello: bytes, passed: PassedCall, upstream: _Upstream) -> None:
    message: bytes | None = hello
    while message is not None:
        await upstream.write(message)
        message = await passed.next_message()
    await upstream.done_writing()  # the leader closes the stream


async def _down(upstream: _Upstream, passed: PassedCall) -> None:
    while True:
        frame: Any = await upstream.read()
        if not isinstance(frame, bytes):
            raise StreamEndedError("the leader closed the stream")
        await passed.send(frame)


async def _reporting(work: Coroutine[None, None, None], ended: "asyncio.Future[str]") -> None:
    """Do the work; what ends the stream is its result and not a failure of the group."""
    try:
        await work
    except (StreamEndedError, grpc.aio.AioRpcError, asyncio.InvalidStateError) as error:
        if not ended.done():
            ended.set_result(_reason(error))


def _reason(error: Exception) -> str:
    details = error.details() if isinstance(error, grpc.aio.AioRpcError) else None
    return str(details or error or "the leader closed the stream")


def _as_it_is(frame: bytes) -> bytes:
    return frame
