"""The gRPC service `cdn.v1.ControlPlane` of one control plane: a leader answers a node's stream itself (`sync.py`), a follower passes it on to the leader, message by
message, as bytes.

So everything is decided in one place. A lease counts, for the leader, from when it hears the heartbeat, and for the node from when it sent it: what lies between only
makes the leader wait longer.

All of them share one connection (`leader_channel.py`). What waits is bounded on both sides: messages of the node by their bytes, and of the leader by the window of the
call, which is given back when the node has taken what waits. A message costs a callback; the task of a stream only waits for its end.
"""

import asyncio
import contextlib
import logging
from collections import deque
from typing import Final

from control_plane.admission import Admission
from control_plane.grpc_calls import Call, CallHandler
from control_plane.grpc_client import NoCallError
from control_plane.grpc_client_call import ClientCall
from control_plane.grpc_wire import Status
from control_plane.leader_channel import LeaderChannel
from control_plane.roles import Roles
from control_plane.session_messages import (
    HELLO_SECONDS,
    NO_HELLO,
    StreamEndedError,
    introduced,
    read_message,
)
from proto.mutual_tls import TlsIdentity
from proto.node_session import TRY_AGAIN

LEADERLESS_SECONDS = 3.0
"""How long a node is kept waiting while nobody leads. It goes to another control plane earlier if it knows one."""

LOOK_SECONDS: Final = 0.2

UNREAD_SECONDS = 8.0
"""How long the leader's next message waits for a node that does not read."""

MOST_RELAYED_BYTES = 4 * 1024 * 1024
BYTES_PER_MESSAGE: Final = 128
"""What of a node may wait until the leader takes it, with so much for each message besides: nodes say little, but for one that refuses thousands of resources."""

_TRY_AGAIN: Final = Status[TRY_AGAIN.name]

_logger = logging.getLogger("control-plane")


class NodeService:
    """What nodes connect to, whatever the role is."""

    def __init__(self, roles: Roles, admission: Admission, tls: TlsIdentity | None) -> None:
        self._roles = roles
        self._admission = admission
        self._channel = LeaderChannel(roles, tls)
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
                        async with asyncio.timeout(LOOK_SECONDS):
                            await self._roles.change()
        raise StreamEndedError("no control plane leads", Status.UNAVAILABLE)

    async def _pass_on(self, passed: "PassedCall", hello: bytes, node_id: str) -> None:
        """Until either side ends it or the leader is another one."""
        address = self._roles.leader_address
        if address is None:
            raise StreamEndedError("another control plane leads by now", Status.UNAVAILABLE)
        _logger.info("node %s is passed on to %s", node_id, address)
        reason = "the node is gone"
        try:
            reason = await passed.passed_on(await self._channel.call(address, passed), hello)
        except NoCallError as error:
            reason = str(error)
        finally:
            passed.let_go()
            _logger.info("node %s is passed on no longer: %s", node_id, reason)
        is_known = self._roles.leading is not None or self._roles.leader_address not in (None, address)
        raise StreamEndedError(reason, _TRY_AGAIN if is_known else Status.UNAVAILABLE)  # here: it knows whom to ask


class PassedCall:
    """A call of a node that somebody else answers, or that waits until it is clear who does. See grpc_calls.CallHandler for what the node says, and
    grpc_calls.AnswerHandler for what the leader does."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.task: asyncio.Task[None] | None = None
        """Ends when the call does, and is cancelled when the node has gone."""
        self._handler: CallHandler | None = None
        """Who has been handed the call: it is served here after all."""
        self._upstream: ClientCall | None = None
        """To the leader, while it is passed on."""
        self._ended: asyncio.Future[str] | None = None
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._is_half_closed = False
        self._has_news = asyncio.Event()
        self._unread: deque[bytes] = deque()
        """Of the leader, for a node that does not read: at most what the window of its call allows."""
        self._unread_timer: asyncio.TimerHandle | None = None

    # grpc_calls.CallHandler

    def message_received(self, data: bytes) -> None:
        """See grpc_calls.CallHandler."""
        upstream = self._upstream
        if upstream is not None and not self._waiting and upstream.is_writable:
            upstream.send(data)
        elif self._handler is not None:
            self._handler.message_received(data)
        else:
            self._keep(data)

    def half_closed(self) -> None:
        """See grpc_calls.CallHandler."""
        self._is_half_closed = True
        self._has_news.set()
        if self._handler is not None:
            self._handler.half_closed()
        else:
            self.may_send()

    def writable(self) -> None:
        """See grpc_calls.CallHandler."""
        if self._handler is not None:
            self._handler.writable()
        elif self._unread:
            self._tell_what_waits()

    def broken(self) -> None:
        """See grpc_calls.CallHandler."""
        if self._handler is not None:
            self._handler.broken()
        elif self.task is not None:
            self.task.cancel()

    # grpc_calls.AnswerHandler

    def answered(self, message: bytes) -> None:
        """See grpc_calls.AnswerHandler."""
        if not self._unread and self.call.is_writable:
            self.call.send(message)
            return
        self._unread.append(message)
        if self._unread_timer is None:
            self._wait_for_reading()
        if self._upstream is not None:
            self._upstream.hold()

    def may_send(self) -> None:
        """See grpc_calls.AnswerHandler."""
        upstream = self._upstream
        if upstream is None:
            return
        while self._waiting and upstream.is_writable:
            upstream.send(self._taken())
        if self._is_half_closed and not self._waiting:
            upstream.half_close()  # the leader closes the stream

    def ended(self, reason: str) -> None:
        """See grpc_calls.AnswerHandler."""
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(reason)

    # For the one who passes it on

    async def hello(self) -> bytes:
        """The first message. StreamEndedError when there is none, or none soon."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HELLO_SECONDS):
                while not self._waiting and not self._is_half_closed:
                    self._has_news.clear()
                    await self._has_news.wait()
                if self._waiting:
                    return self._taken()
        raise StreamEndedError(NO_HELLO, Status.INVALID_ARGUMENT)

    async def passed_on(self, upstream: ClientCall, hello: bytes) -> str:
        """From now on the leader answers; why it has ended."""
        self._ended = asyncio.get_running_loop().create_future()
        self._upstream = upstream
        upstream.send(hello)
        self.may_send()
        return await self._ended

    def let_go(self) -> None:
        """The leader is heard no more."""
        if self._unread_timer is not None:
            self._unread_timer.cancel()
        if self._upstream is not None:
            self._upstream.cancel()

    def hand_over(self, handler: CallHandler, hello: bytes) -> None:
        """From now on `handler` serves it, which hears everything from the hello on."""
        self._handler = handler
        handler.message_received(hello)
        while self._waiting:
            handler.message_received(self._waiting.popleft())
        if self._is_half_closed:
            handler.half_closed()

    def _keep(self, data: bytes) -> None:
        """Until somebody takes it."""
        self._waiting.append(data)
        self._waiting_bytes += len(data) + BYTES_PER_MESSAGE
        self._has_news.set()
        if self._waiting_bytes > MOST_RELAYED_BYTES:
            self.call.finish(Status.RESOURCE_EXHAUSTED, "more is said than is passed on")
            self.broken()

    def _taken(self) -> bytes:
        message = self._waiting.popleft()
        self._waiting_bytes -= len(message) + BYTES_PER_MESSAGE
        return message

    def _tell_what_waits(self) -> None:
        while self._unread and self.call.is_writable:
            self.call.send(self._unread.popleft())
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None
        if self._unread:
            self._wait_for_reading()
        elif self._upstream is not None:
            self._upstream.release()

    def _wait_for_reading(self) -> None:
        loop = asyncio.get_running_loop()
        self._unread_timer = loop.call_later(UNREAD_SECONDS, self.ended, "the node does not read")
