"""One response on its way from upstream to everybody who waits for it: the body is kept once, each reader has a place in it.

A stream that is being stored keeps the whole body (the store's budget bounds it) and lets readers join at any time. One that is not keeps a window: it drops what its
slowest reader has passed, and stops reading from upstream when the window is full, so a slow viewer slows its origin and not this node's memory.
Its state only moves forward; readers learn of the head, or of what comes instead of it, by one outcome each.
"""

from collections.abc import Sequence
from enum import Enum, auto
from typing import Protocol

from edge_node.caching.entry import Entry
from edge_node.caching.key import KeyedField
from edge_node.caching.lookup import Reason, Result
from edge_node.fill.outcome import ANSWERED, Failed, FillOutcome, FillRole, ServeEntry, Switched, Unshared
from edge_node.model.errors import UpstreamFailure
from edge_node.model.http import Headers, ResponseHead
from edge_node.policy.response_head import write_fields
from edge_node.storage.protocol import Writer

WINDOW_BYTES = 262_144
"""Upstream is paused above this many bytes that the slowest reader has not taken, and resumed below a quarter of it."""


class StreamState(Enum):
    """Where a stream stands."""

    WAITING = auto()
    STREAMING = auto()
    COMPLETE = auto()
    FAILED = auto()


class StreamReader(Protocol):
    """Somebody who waits for the response."""

    position: int
    """Index into the chunks."""

    @property
    def role(self) -> FillRole:
        """Whether the fill was begun for this reader."""

    def outcome_arrived(self, outcome: FillOutcome) -> None:
        """What the fill has come to, told once. Unless the answer is that the response has begun, the stream has forgotten the reader."""

    def advanced(self) -> None:
        """There is more body, or the end of it, or a failure in the middle."""

    def interim_arrived(self, head: ResponseHead) -> None:
        """An interim response, to be passed on."""

    def may_share(self, varying: tuple[KeyedField, ...]) -> bool:
        """Whether the reader's request says the same in the fields that select the response."""

    def may_have_stale(self, stale: Entry, age_seconds: float) -> bool:
        """Whether the reader's request allows this entry instead of an error."""


class StreamOwner(Protocol):
    """Who feeds a stream."""

    def stream_abandoned(self) -> None:
        """Nobody reads any more, and nothing is stored: there is nothing left to fetch for (reference 2.9)."""


class UpstreamFlow(Protocol):
    """The upstream end that can be held up."""

    def pause(self) -> None:
        """Stop reading."""

    def resume(self) -> None:
        """Read on."""


class ResponseStream:
    """A response in flight."""

    def __init__(self, owner: StreamOwner) -> None:
        self._owner: StreamOwner | None = owner
        """None once nothing will come any more: the two would keep each other until the garbage collector looks, which looks at all that is stored as well."""
        self.state = StreamState.WAITING
        self.is_ended = False
        """Nothing will come any more."""
        self.head: ResponseHead | None = None
        self.fields: Headers = ()
        self.field_lines = b""
        """The same as they are sent."""
        self.own_lines = b""
        """Fields that only the leader gets."""
        self.writer: Writer | None = None
        self.is_stored = False
        """The body is being stored, or has been."""
        self.chunks: list[bytes] = []
        self.first_chunk = 0
        """How many chunks have been dropped from the front."""
        self.received_bytes = 0
        self.upstream_result: Result | None = None
        """What a regional cache said of its answer."""
        self.readers: dict[StreamReader, None] = {}
        """In the order in which they came: thousands may follow, and leave in any order."""
        self._flow: UpstreamFlow | None = None
        self._passed_bytes = 0
        self._is_paused = False

    @property
    def end(self) -> int:
        """Index after the last chunk."""
        return self.first_chunk + len(self.chunks)

    @property
    def keeps_chunks(self) -> bool:
        """The whole body stays here until it is stored."""
        return self.writer is not None and self.writer.keeps_chunks

    @property
    def is_joinable(self) -> bool:
        """A new reader still finds the body from its beginning."""
        return not self.is_ended and self.first_chunk == 0

    @property
    def followers(self) -> list[StreamReader]:
        """Those for whom the fill was not begun; its leader may have left."""
        return [reader for reader in self.readers if reader.role is FillRole.FOLLOWER]

    # -- readers

    def attach(self, reader: StreamReader) -> None:
        """Add a reader; it is told at once what is already there."""
        self.readers[reader] = None
        if self.state is StreamState.STREAMING:
            reader.outcome_arrived(ANSWERED)

    def detach(self, reader: StreamReader, *, may_abandon: bool = True) -> None:
        """Forget a reader; without any, the fetch is given up, unless this one was satisfied without the body."""
        if reader in self.readers:
            del self.readers[reader]
            if not self.readers and may_abandon and not self.is_ended:
                self._abandon_owner()
            elif not self.is_ended:
                self.reader_moved()

    def release(self, leaving: Sequence[StreamReader], outcome: FillOutcome) -> None:
        """Some are told that they get something else."""
        for reader in leaving:
            del self.readers[reader]
        for reader in leaving:
            reader.outcome_arrived(outcome)

    def release_followers(self, reason: Reason) -> None:
        """The response is for the leader alone (reference 2.10)."""
        self.release(self.followers, Unshared(reason))

    # -- what upstream brings

    def open(self, head: ResponseHead, fields: Headers, writer: Writer | None) -> None:
        """The head has arrived, and what of it viewers get; with a writer the body will be stored. Nobody is told before `announce`."""
        self.head = head
        self.fields = fields
        self.field_lines = write_fields(fields)
        self.writer = writer
        self.is_stored = writer is not None
        self.state = StreamState.STREAMING

    def add_whole(self, body: bytes) -> None:
        """All of the body has come with the head, before anybody was told."""
        self.received_bytes = len(body)
        if body:
            self.chunks.append(body)
            self._add_to_writer(body)

    def close_whole(self) -> None:
        """The body is whole, before anybody was told."""
        self._close(StreamState.COMPLETE)

    def announce(self) -> None:
        """Everybody who waits may have this response."""
        for reader in tuple(self.readers):
            reader.outcome_arrived(ANSWERED)

    def serve_entry(self, entry: Entry, result: Result, reason: Reason) -> None:
        """End with an entry that everybody who waits is answered from."""
        self._close(StreamState.COMPLETE)
        self.release(tuple(self.readers), ServeEntry(entry, result, reason))

    def switch(self, outcome: Switched) -> None:
        """There will be no response: who waits gets the connection."""
        self._close(StreamState.COMPLETE)
        self.release(tuple(self.readers), outcome)

    def body_arrived(self, data: bytes) -> None:
        """Keep the chunk, tell the readers, and hold upstream up if they do not follow."""
        self.received_bytes += len(data)
        self._add_to_writer(data)
        self.chunks.append(data)
        for reader in tuple(self.readers):
            reader.advanced()
        if not self.keeps_chunks:
            self.reader_moved()
        if self.writer is None and not self.readers and not self.is_ended:
            self._abandon_owner()  # it went on for the store alone, which does not want it

    def reader_moved(self) -> None:
        """Drop what every reader has passed; hold upstream up or let it go on."""
        if self.keeps_chunks or self.is_ended or not (self.chunks or self._is_paused):
            return
        slowest = min((reader.position for reader in self.readers), default=self.end)
        drop = slowest - self.first_chunk
        if drop > 0:
            self._passed_bytes += sum(map(len, self.chunks[:drop]))
            del self.chunks[:drop]
            self.first_chunk = slowest
        waiting_bytes = self.received_bytes - self._passed_bytes
        if self._flow is None:
            return
        if waiting_bytes > WINDOW_BYTES and not self._is_paused:
            self._is_paused = True
            self._flow.pause()
        elif waiting_bytes < WINDOW_BYTES // 4 and self._is_paused:
            self._is_paused = False
            self._flow.resume()

    def connect_flow(self, flow: UpstreamFlow | None) -> None:
        """The connection that feeds this stream now."""
        self._flow = flow
        if flow is not None and self._is_paused:
            flow.pause()
            self.reader_moved()  # the readers may have caught up while there was no connection

    # -- ends

    def unshare(self) -> None:
        """What upstream says is no answer to those who wait: they ask by themselves."""
        self._close(StreamState.FAILED)
        self.drop_writer()
        self.release(tuple(self.readers), Unshared(Reason.NOT_STORABLE))

    def complete(self) -> None:
        """The body is whole."""
        self._close(StreamState.COMPLETE)
        self._tell_end()

    def fail(self, failure: UpstreamFailure) -> None:
        """Upstream is lost: before the head the readers are told so, after it they cannot be helped."""
        was_waiting = self.state is StreamState.WAITING
        self._close(StreamState.FAILED)
        self.drop_writer()
        if was_waiting:
            self.release(tuple(self.readers), Failed(failure))
        else:
            self._tell_end()

    def abandon(self) -> None:
        """Nobody waits, so nobody is told."""
        self._close(StreamState.FAILED)
        self.drop_writer()

    def drop_writer(self) -> None:
        """Nothing will be stored."""
        if self.writer is not None:
            self.writer.abort()
            self.writer = None
            self.is_stored = False

    def stored(self) -> None:
        """The entry is in the cache."""
        self.writer = None

    def _add_to_writer(self, data: bytes) -> None:
        if self.writer is not None and not self.writer.add(data):
            self.writer = None  # larger than the store admits: from here on only a window is kept
            self.is_stored = False

    def _close(self, state: StreamState) -> None:
        self.state = state
        self.is_ended = True
        self._flow = self._owner = None

    def _abandon_owner(self) -> None:
        if self._owner is not None:
            self._owner.stream_abandoned()

    def _tell_end(self) -> None:
        for reader in tuple(self.readers):
            reader.advanced()
