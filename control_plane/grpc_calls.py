"""What a gRPC call is to those who serve it, and what they are to the connection it came over: callbacks, because a task and two timers for each of thousands of nodes
cost more memory and time than what they do."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from control_plane.grpc_wire import Status


class Call(Protocol):
    """The server's end of one call."""

    @property
    def peer(self) -> Mapping[str, Sequence[bytes]]:
        """What the handshake has shown of who calls: by gRPC's names."""

    @property
    def is_writable(self) -> bool:
        """Whether all that was sent is with the system, so that more may be sent."""

    def admit(self) -> None:
        """Who calls is known now: the connection is not among those that make room for others."""

    def send(self, message: bytes) -> None:
        """One message. What cannot be written at once waits: ask `is_writable` before, and wait for `writable` after."""

    def finish(self, status: Status, reason: str = "") -> None:
        """End the call; nothing more of it is heard."""


class CallHandler(Protocol):
    """Who serves one call. After `Call.finish`, and after `broken`, nothing is called any more."""

    def message_received(self, data: bytes) -> None:
        """One message of the peer."""

    def half_closed(self) -> None:
        """The peer has said all that it has to say."""

    def writable(self) -> None:
        """What waited has been written."""

    def broken(self) -> None:
        """The peer is gone, or has cancelled the call."""


ServeCall = Callable[[Call], CallHandler]
"""Begins to serve a call of one method."""


class AnswerHandler(Protocol):
    """Who has made a call, and hears its answers. After `ClientCall.cancel`, and after `ended`, nothing is called any more."""

    def answered(self, message: bytes) -> None:
        """One message of the server."""

    def may_send(self) -> None:
        """What waited has been written."""

    def ended(self, reason: str) -> None:
        """The server has ended the call, or is gone; what is known of why."""
