"""Planted bugs in the shells of the product (`sync.py`, `streams.py`, `node_session.py`, `client.py`): mistakes of order, which nothing but a run with them can show."""

from collections.abc import Callable, Iterable
from pathlib import Path

from control_plane.streams import NodeStream
from control_plane.sync import NodeCall, SyncService
from edge_node.control.client import ClientFiles, ControlClient
from edge_node.control.journal import InvalidationJournal
from edge_node.control.journal_codec import JournalEntry, JournalError
from edge_node.storage.node_state import NodeState
from proto.cdn.v1 import sync_pb2
from proto.log_position import LogPosition
from proto.node_machine import ApplyEntry, Effect, LeaseLost
from tests.simulation.shells import ShellParts, VirtualSession

# proto/node_session.py


class AcknowledgesBeforeItIsApplied(VirtualSession):
    """What follows from an application is carried out before it."""

    def _carry_out_in_order(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, ApplyEntry):
                self._outgoing.put(_acknowledgement(effect.entry.index))
            super()._carry_out_in_order((effect,))


class KeepsALeaseThatIsLost(VirtualSession):
    """A node that leaves, or comes to another log, serves by the lease from before."""

    def _carry_out_in_order(self, effects: Iterable[Effect]) -> None:
        super()._carry_out_in_order([effect for effect in effects if not isinstance(effect, LeaseLost)])


# control_plane/sync.py, control_plane/streams.py


class TakesHeartbeatsForAcknowledgements(SyncService):
    """The applied index in a heartbeat may still be of another log."""

    def _received(self, message: sync_pb2.NodeMessage, stream: NodeStream, now: float) -> None:
        if message.HasField("heartbeat"):
            index = message.heartbeat.applied_index
            self._coordinator.acknowledged(stream.node_id, stream.number, index, now)
        super()._received(message, stream, now)


class TakesWhatIsSentForAcknowledged(SyncService):
    """A node that has acknowledged anything has acknowledged all that it was sent."""

    def _received(self, message: sync_pb2.NodeMessage, stream: NodeStream, now: float) -> None:
        if message.HasField("acknowledgement"):
            index = max(message.acknowledgement.index, stream._sent_index or 0)
            message = _acknowledgement(index)
        super()._received(message, stream, now)


class TakesABrokenStreamForLeaving(SyncService):
    """A node whose stream breaks is not waited for."""

    def forget(self, call: NodeCall, reason: str) -> None:
        if call in self._calls and call.stream is not None:
            self._coordinator.left(call.stream.node_id, call.stream.number, self._clock())
        super().forget(call, reason)


class WaitsForNews(SyncService):
    """An entry of which nobody tells is never found."""

    async def _watch_log(self) -> None:
        """It does not look."""


# edge_node/control/client.py


class _LateJournal(InvalidationJournal):
    _waiting: JournalEntry | None = None

    def will_apply(self, entry: JournalEntry) -> None:
        waiting, self._waiting = self._waiting, entry
        if waiting is not None:
            super().will_apply(waiting)


class WritesAnEntryWithTheNextOne(ControlClient):
    """What is acknowledged is in the journal when another entry comes."""

    def __init__(
        self, state: NodeState, region: str, place: Path | ClientFiles, load: Callable[[], tuple[int, int]]
    ) -> None:
        super().__init__(state, region, place, load)
        assert isinstance(place, ClientFiles)
        self._journal = _LateJournal(place.journal, state.invalidations, place.boot_id)


class _ResumedAnyway(InvalidationJournal):
    def resume(self, configuration: LogPosition) -> None:
        try:
            super().resume(configuration)
        except JournalError:
            self._log.advance(configuration.index)
            self._log.put_digest(configuration.digest)
            self.begin(configuration)


class GoesOnWithoutAJournal(ControlClient):
    """After a start without a journal that fits, what was stored is served."""

    def __init__(
        self, state: NodeState, region: str, place: Path | ClientFiles, load: Callable[[], tuple[int, int]]
    ) -> None:
        super().__init__(state, region, place, load)
        assert isinstance(place, ClientFiles)
        self._journal = _ResumedAnyway(place.journal, state.invalidations, place.boot_id)


def _acknowledgement(index: int) -> sync_pb2.NodeMessage:
    return sync_pb2.NodeMessage(acknowledgement=sync_pb2.Acknowledgement(index=index))


PLANTED_SHELLS: dict[str, ShellParts] = {
    "rule 7: acknowledged before it is applied (session)": ShellParts(session=AcknowledgesBeforeItIsApplied),
    "rule 10: keeps a lease that is lost": ShellParts(session=KeepsALeaseThatIsLost),
    "rule 5: takes what is sent for acknowledged": ShellParts(service=TakesWhatIsSentForAcknowledged),
    "rule 5: takes a broken stream for leaving": ShellParts(service=TakesABrokenStreamForLeaving),
    "rule 9: takes heartbeats for acknowledgements (sync)": ShellParts(service=TakesHeartbeatsForAcknowledgements),
    "rule 7: writes an entry with the next one": ShellParts(client=WritesAnEntryWithTheNextOne),
    "rule 7: goes on without a journal": ShellParts(client=GoesOnWithoutAJournal),
}

SHELLS_SHOWN_BY: dict[str, int] = {
    "rule 7: acknowledged before it is applied (session)": 9,
    "rule 10: keeps a lease that is lost": 419,
    "rule 5: takes what is sent for acknowledged": 20,
    "rule 9: takes heartbeats for acknowledgements (sync)": 848,
    "rule 7: writes an entry with the next one": 68,
    "rule 7: goes on without a journal": 55,
}
"""See planted.SHOWN_BY."""

PLANTED_AT_REST: dict[str, ShellParts] = {
    "waits for news": ShellParts(service=WaitsForNews),
}
"""No viewer sees them: nodes are not up to date when the faults are over."""
