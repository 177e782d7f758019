"""One relayed TCP connection: a client's, the one to the server, and a pipe in each direction.

A relay's kernel answers the client's SYN at once, which nobody in user space can change. So the handshake's time is put where it can be: the client's first
byte counts as sent when a real handshake over the link would have ended, and the server's too. The server is connected when the SYN would have reached it;
if it refuses, the client's connection is reset when the answer would have reached the client.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from lab.wan.links import Chance, Handshake, StreamPath, sample_handshake
from lab.wan.pipes import Pipe
from lab.wan.running_link import RunningPath, Way
from lab.wan.stages import Close, End, Event, Piece, Reset
from lab.wan.tcp_half import Shared, TcpHalf
from lab.wan.toxics import OF_CONNECTIONS, Stream, Toxic, ToxicsAtWork

logger = logging.getLogger(__name__)

EARLY_SECONDS: Final = 0.0005
"""The loop's timers have steps of a millisecond: what is due within half of one is handed over now, so that links are exact on average."""
_NO_HANDSHAKE: Final = Handshake(0.0, 0.0, 0.0)


class SessionHost(Protocol):
    """A relay, as its sessions see it."""

    shared: Shared
    chance: Chance
    window_bytes: int

    def admit(self, session: "Session") -> bool:
        """One more connection; False: it is one too many, or comes from where no link is."""

    def dial(self, session: "Session", after_seconds: float) -> None:
        """Connect `session.server` to the server, and call `refused` if that fails."""

    def severed(self, session: "Session") -> frozenset[Stream]:
        """In which directions nothing gets through between its client and this relay."""

    def greeting(self, session: "Session") -> bytes:
        """What the server hears before everything else."""

    def ended(self, session: "Session") -> None:
        """Nothing is left of it."""


class Session:
    """See above."""

    def __init__(self, host: SessionHost, toxics: Callable[[], Sequence[Toxic]]) -> None:
        self._host = host
        self._shared = host.shared
        self._toxics = toxics
        self._way: Way | None = None
        self.client = TcpHalf(self, host.shared, None)
        self.server = self.client
        self._at_work = {stream: ToxicsAtWork(stream, host.chance) for stream in OF_CONNECTIONS}
        self.peer = ("", 0)
        """The client's address and port, and where it has connected to."""
        self.local = ("", 0)
        self._is_begun = self._is_over = False

    # -- the beginning

    def begun(self, half: TcpHalf) -> None:
        """See tcp_half.HalfOwner."""
        if half is not self.client:
            self._connected(half)
        elif self._host.admit(self):
            self._begin()
        else:
            self.abort(is_reset=True)

    def _connected(self, server: TcpHalf) -> None:
        if self._is_over:
            server.close(is_reset=True)
            return
        server.write(self._host.greeting(self))
        self._deliver_both()

    def place(self, way: Way | None) -> None:
        """Which link it takes, before it begins; None: none."""
        client, host, self._way = self.client, self._host, way
        up, down = (None, None) if way is None else (way.up, way.down)
        client.set_path(up)
        self.server = TcpHalf(self, self._shared, down)
        client.other, self.server.other = self.server, client
        client.pipe = Pipe(_stream_path(up, down, host.chance), (), host.window_bytes)
        self.server.pipe = Pipe(_stream_path(down, up, host.chance), (), host.window_bytes)
        if way is not None:
            along = ((Stream.UPSTREAM, way.up_along), (Stream.DOWNSTREAM, way.down_along))
            self._at_work = {stream: ToxicsAtWork(stream, host.chance, link_s) for stream, link_s in along}
            way.link.takers.add(self)
        now = self._shared.clock()
        self._sever(now)
        self.toxics_changed(now)

    def _begin(self) -> None:
        """The handshake, unless there is a cut: then when it is mended."""
        if self._is_begun or self._is_over or self.client.pipe.is_cut or self.server.pipe.is_cut:
            self._deliver_both()
            return
        self._is_begun = True
        handshake, now = _NO_HANDSHAKE, self._shared.clock()
        if self._way is not None:
            handshake = sample_handshake(self._way.up.queue.path, self._way.down.queue.path, self._host.chance)
        for half, seconds in ((self.client, handshake.client_seconds), (self.server, handshake.server_seconds)):
            if half.pipe.path is not None and seconds:
                half.pipe.path.not_before = now + seconds
        self._host.dial(self, handshake.syn_seconds)
        self._deliver_both()

    def refused(self, reason: str) -> None:
        """The server does not take the connection."""
        logger.debug("%s: %s", self.peer, reason)
        self.server.is_gone = True
        if not self._is_over:
            self.server.pipe.reset(self._shared.clock())
            self.deliver(self.server)

    # -- what changes meanwhile

    def toxics_changed(self, now: float) -> None:
        """Others from now on."""
        of_link = () if self._way is None else self._way.link.toxics
        toxics = (*of_link, *self._toxics())
        for half, stream in ((self.client, Stream.UPSTREAM), (self.server, Stream.DOWNSTREAM)):
            half.pipe.change_stages(self._at_work[stream].update(toxics, now), now)

    def link_changed(self, now: float) -> None:
        """See running_link.TakesLink."""
        for half in (self.client, self.server):
            half.pipe.look_at_cut(now)
        self.toxics_changed(now)
        self._begin()

    def cuts_changed(self, now: float) -> None:
        """One has begun or ended, perhaps of this connection."""
        self._sever(now)
        self._begin()

    def _sever(self, now: float) -> None:
        streams = self._host.severed(self)
        for half, stream in ((self.client, Stream.UPSTREAM), (self.server, Stream.DOWNSTREAM)):
            half.pipe.is_severed = stream in streams
            half.pipe.look_at_cut(now)

    def look(self) -> None:
        """Whether something is due, after a change."""
        self._deliver_both()

    # -- what comes out

    def _deliver_both(self) -> None:
        for half in (self.client, self.server):
            self.deliver(half)

    def deliver(self, source: TcpHalf) -> None:
        """See tcp_half.HalfOwner."""
        target, now = source.other, self._shared.clock()
        while not self._is_over:
            event = source.pipe.take_due(now + EARLY_SECONDS, may_write=target.is_writable)
            if event is None:
                source.wake_at(source.pipe.next_at(may_write=target.is_writable), now)
                source.update_reading()
                if source.pipe.is_drained and target.pipe.is_drained:
                    self.abort(is_reset=False)  # both have said all, and heard what they were to hear
                return
            self._hand_over(event, target, now)

    def _hand_over(self, event: Event, target: TcpHalf, now: float) -> None:
        match event:
            case Piece(_, data):
                self._shared.memory.add(-len(data))
                if target.is_gone:  # nobody knows this connection there any more: RFC 9293 section 3.5.2
                    target.pipe.reset(now)
                    self.deliver(target)
                target.write(data)
            case End():
                target.write_end()
            case Close():
                self.abort(is_reset=False)
            case Reset():
                self.abort(is_reset=True)

    # -- the end

    def lost(self, half: TcpHalf, error: Exception | None) -> None:
        """See tcp_half.HalfOwner."""
        del error  # whatever it was, nothing comes from there any more
        if not self._is_over and not self._is_begun:
            self.abort(is_reset=True)
        elif not self._is_over:
            half.pipe.reset(self._shared.clock())
            self.deliver(half)
        elif self.client.transport is None and self.server.transport is None:
            self._leave()

    def abort(self, *, is_reset: bool) -> None:
        """End both connections now."""
        if self._is_over:
            return
        self._is_over = True
        for half in (self.client, self.server):
            half.close(is_reset=is_reset)
        if self.client.transport is None and self.server.transport is None:
            self._leave()

    def _leave(self) -> None:
        if self._way is not None:
            self._way.link.takers.discard(self)
        self._host.ended(self)

    @property
    def is_over(self) -> bool:
        """Nobody needs to be connected for it."""
        return self._is_over


def _stream_path(path: RunningPath | None, opposite: RunningPath | None, chance: Chance) -> StreamPath | None:
    if path is None or opposite is None:
        return None
    return StreamPath(path.queue, opposite.queue, chance)
