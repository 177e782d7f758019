"""A WebSocket on its way through this node: what a viewer and an upstream say to each other after 101 (reference 9, RFC 6455, RFC 9110 section 7.8).

Bytes go both ways as they come. Who does not take what the other sends holds the other up. An end of one direction is an end of that direction, a reset is a reset, and a
tunnel in which nothing moves for ten minutes is closed. It is logged once, when the viewer's end is gone.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from edge_node.delivery.downstream import DownstreamHead
from edge_node.delivery.request_context import RequestContext
from edge_node.delivery.request_record import UNKNOWN_LENGTH, SentResponse
from edge_node.delivery.request_recorder import RequestRecorder
from edge_node.fill.coalescer import CallLater
from edge_node.model.counters import Counters
from edge_node.model.tunnel import TunnelEnd

IDLE_TIMEOUT_SECONDS: Final = 600.0
"""Without a byte in either direction (reference 9)."""
LOOK_SECONDS: Final = 60.0
"""How often it is looked at whether a peer for which something waits has taken any of it."""
FLUSH_TIMEOUT_SECONDS: Final = 60.0
"""How long a peer may take for the rest when the tunnel is over: as long as the least rate of answers is looked at (`listeners/deadlines.py`)."""


class NoteError(Protocol):
    """Counts and logs the exception that is being handled: `pipeline/exception_barrier.py`."""

    def __call__(self, what: str, cut: Callable[[], None] | None = None) -> None:
        """`cut` ends what it has stopped."""


class TunnelDependencies:
    """What all of a node's tunnels work with."""

    __slots__ = ("call_later", "counters", "monotonic", "note_error", "recorder")

    def __init__(
        self,
        recorder: RequestRecorder,
        counters: Counters,
        monotonic: Callable[[], float],
        call_later: CallLater,
        note_error: NoteError,
    ) -> None:
        self.recorder: Final = recorder
        self.counters: Final = counters
        self.monotonic: Final = monotonic
        self.call_later: Final = call_later
        self.note_error: Final = note_error


class TunnelSide:
    """One end of a tunnel, as the tunnel sees it: what comes from there goes to the other one."""

    __slots__ = ("_tunnel", "end", "has_ended", "is_lost", "other")

    def __init__(self, tunnel: "Tunnel", end: TunnelEnd) -> None:
        self._tunnel = tunnel
        self.end: Final = end
        self.other: TunnelSide = self
        """Set when there are both."""
        self.has_ended = False
        """The peer has said all."""
        self.is_lost = False

    def bytes_arrived(self, data: bytes) -> None:
        """Pass them on; whoever does not follow holds up this end."""
        tunnel, other = self._tunnel, self.other.end
        try:
            tunnel.moved()
            other.send(data)
            if other.is_write_blocked:
                self.end.pause()
        except Exception:
            tunnel.break_down()

    def credit_returned(self) -> None:
        """This end takes more: so let the other one go on."""
        try:
            self._tunnel.moved()
            self.other.end.resume()
        except Exception:
            self._tunnel.break_down()

    def peer_ended(self) -> None:
        """Pass on the end of this direction; when both have ended, all is said."""
        try:
            self._tunnel.moved()
            self.has_ended = True
            self.other.end.end()
            if self.other.has_ended:
                self._tunnel.close()
        except Exception:
            self._tunnel.break_down()

    def end_lost(self, *, is_reset: bool) -> None:
        """Without one of its ends a tunnel is none."""
        try:
            self.is_lost = True
            self._tunnel.end_lost(self, is_reset=is_reset)
        except Exception:
            self._tunnel.break_down()

    def node_leaves(self) -> None:
        """Drained: both peers connect again, to another node."""
        try:
            self._tunnel.close()
        except Exception:
            self._tunnel.break_down()


class Tunnel:
    """Joins a viewer and an upstream."""

    __slots__ = (
        "_context", "_is_over", "_is_recorded", "_moved_at", "_timer", "_tools", "_unsent_bytes", "_upstream", "_viewer",
    )  # fmt: skip

    def __init__(
        self, context: RequestContext, head: DownstreamHead, upstream_end: TunnelEnd, tools: TunnelDependencies
    ) -> None:
        """The viewer is sent `head`; then bytes flow."""
        self._context = context
        self._tools = tools
        self._is_over = self._is_recorded = False
        self._moved_at = context.first_byte_at = tools.monotonic()
        self._unsent_bytes = 0
        """When that was looked at last."""
        self._timer: asyncio.TimerHandle | None = None
        self._upstream = TunnelSide(self, upstream_end)
        self._viewer = TunnelSide(self, context.downstream.take_over(head))
        self._viewer.other, self._upstream.other = self._upstream, self._viewer

    def open(self) -> None:
        """From now on."""
        self._tools.counters.opened_tunnels += 1
        self._timer = self._tools.call_later(LOOK_SECONDS, self._look_after_idle)
        for side in (self._upstream, self._viewer):
            try:
                side.end.open(side)
            except Exception:
                self.break_down()

    # -- what its sides call

    def moved(self) -> None:
        """It is not idle."""
        self._moved_at = self._tools.monotonic()

    def end_lost(self, side: TunnelSide, *, is_reset: bool) -> None:
        """The other one has to go, too: in the same way."""
        if is_reset and not self._is_over:
            self._end(self._reset)
        else:
            self.close()
        if side is self._viewer:
            self._record()
        if side.other.is_lost:
            self._stop_timer()

    def close(self) -> None:
        """Both ends, when what was sent has arrived; whoever does not take it in time is cut off."""
        self._end(self._close)

    def break_down(self) -> None:
        """A mistake of this program, which is being handled: it costs this tunnel."""
        self._is_over = True
        self._tools.note_error("in a tunnel", self._reset)

    # -- inside

    def _end(self, leave: Callable[[], None]) -> None:
        if not self._is_over:
            self._is_over = True
            self._stop_timer()
            if not (self._viewer.is_lost and self._upstream.is_lost):
                self._timer = self._tools.call_later(FLUSH_TIMEOUT_SECONDS, self._reset)
            leave()

    def _close(self) -> None:
        self._viewer.end.close()
        self._upstream.end.close()

    def _reset(self) -> None:
        self._viewer.end.reset()
        self._upstream.end.reset()

    def _look_after_idle(self) -> None:
        """A peer that takes what waits for it, however slowly, keeps the tunnel open."""
        try:
            unsent_bytes = self._viewer.end.unsent_bytes + self._upstream.end.unsent_bytes
            if 0 < unsent_bytes < self._unsent_bytes:
                self.moved()
            self._unsent_bytes = unsent_bytes
            left_seconds = self._moved_at + IDLE_TIMEOUT_SECONDS - self._tools.monotonic()
            if left_seconds > 0:
                self._timer = self._tools.call_later(min(left_seconds, LOOK_SECONDS), self._look_after_idle)
            else:
                self.close()
        except Exception:
            self.break_down()

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _record(self) -> None:
        if self._is_recorded:
            return
        self._is_recorded = True
        self._tools.counters.closed_tunnels += 1
        end = self._viewer.end
        sent = SentResponse(101, b"", UNKNOWN_LENGTH, tunnelled=(end.sent_bytes, end.received_bytes))
        self._tools.recorder.end(self._context, sent)
