"""Planted bugs for each rule of DESIGN section 4 and of leases: what the simulation must find. Each replaces one part of the code under test."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from control_plane.coordination import CatchUp, Coordinator, FromEntries
from control_plane.fencing import is_waited_for
from control_plane.leases import Granted, LeaseDecision, LeaseRules, LogAge, Standing
from control_plane.nodes import NOTHING_ACKNOWLEDGED, NodeDescription, NodeRecord, SavedNode
from control_plane.receipts import NodeReceipt, PendingReceipts, Receipt
from control_plane.succession import Succession
from control_plane.unsaved import Ledger, UnsavedChanges
from edge_node.caching.entry import Entry
from edge_node.caching.invalidation_index import InvalidationLog
from edge_node.caching.key import CacheKey
from edge_node.caching.lookup import Reason
from edge_node.control.journal import InvalidationJournal
from edge_node.control.journal_codec import JournalEntry
from edge_node.control.known_peers import KnownPeers
from edge_node.fill.cache_fill import CacheFill
from edge_node.fill.coalescer import RequestCoalescer
from edge_node.policy.fence import Answers, Fence, PeerStanding
from edge_node.policy.upstream_request import decode_position
from edge_node.storage.cache import Cache as ProductCache
from edge_node.storage.node_state import InvalidatedPaths, NodeState
from proto.cdn.v1 import sync_pb2
from proto.lease_times import NOTICE_SECONDS
from proto.log_position import LogPosition
from proto.node_machine import Effect, NodeMachine
from proto.process_identity import NO_PROCESS, ProcessIdentity
from proto.rejected_changes import NOTHING_REJECTED, RejectedChanges
from tests.simulation.cache import Cache, Fetch, Respond
from tests.simulation.disk import KilledError
from tests.simulation.node import Node, NodeParts
from tests.simulation.plan import LEASE_SECONDS
from tests.simulation.planted_shells import PLANTED_SHELLS, SHELLS_SHOWN_BY
from tests.simulation.processes import Plane
from tests.simulation.scenario import Parts
from tests.simulation.session import Connection
from tests.simulation.stored import DISTRIBUTION_ID, Asked

# Rule 1


class StampedAtTheEnd(Cache):
    """An entry carries the index of when its fetch ended."""

    def stamp(self, fetch: Fetch) -> int:
        del fetch
        return self.log.applied_index


# Rule 2


class NotCheckedOnLookup(ProductCache):
    """Invalidations are applied and never looked at."""

    def is_invalidated(self, entry: Entry) -> bool:
        return False


class StampMovedBeforeTheCheck(ProductCache):
    """The stamp moves forward to what is applied, then nothing is left to check."""

    def _find_valid(self, key: CacheKey) -> tuple[Entry | None, Reason]:
        entry = self.store.lookup(key)
        if entry is not None:
            entry.stamp = self.invalidations.applied_index
        return super()._find_valid(key)


# Rule 3


class JoinsAnyFetch(RequestCoalescer):
    """A request joins a fetch that started before an invalidation."""

    def find(self, key: CacheKey) -> CacheFill | None:
        return self._joinable.get(key)


# Rule 4


class ServesWhileBehind(NodeState):
    """A regional cache answers edges that know more than it does."""

    def is_behind(self, position: bytes) -> bool:
        asked = decode_position(position)
        return asked is None or asked.log_id != self.log_id


# Rule 5


class _OfConnected(PendingReceipts):
    def complete(self, nodes: Sequence[NodeRecord], now: float) -> list[Receipt]:
        return super().complete([node for node in nodes if node.stream is not None], now)


class WaitsForConnectedNodesOnly(Coordinator):
    """A node whose stream is broken is not waited for although its lease runs."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]  # handed through
        self.pending = _OfConnected(self._ledger.pending_invalidations())


class _OfMost(PendingReceipts):
    def complete(self, nodes: Sequence[NodeRecord], now: float) -> list[Receipt]:
        live = sorted((node for node in nodes if node.is_live), key=lambda node: node.acknowledged_index)
        return super().complete(live[1:], now)


class WaitsForAllButOne(Coordinator):
    """The slowest node is not waited for."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]  # handed through
        self.pending = _OfMost(self._ledger.pending_invalidations())


# Rule 6


class _NamesOnlyWhoHasIt(PendingReceipts):
    def complete(self, nodes: Sequence[NodeRecord], now: float) -> list[Receipt]:
        return [
            replace(receipt, nodes=tuple(map(_as_if_it_had, receipt.nodes))) for receipt in super().complete(nodes, now)
        ]


def _as_if_it_had(line: NodeReceipt) -> NodeReceipt:
    return replace(line, state="acknowledged")


class SaysThatEverybodyHasAcknowledged(Coordinator):
    """Nodes that were left out are in the receipt like all others."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]  # handed through
        self.pending = _NamesOnlyWhoHasIt(self._ledger.pending_invalidations())


# Rule 7


class ForgetsTheJournal(Node):
    """After a restart, what is on the disk is served although the invalidations that came after it are forgotten."""

    def restore(self) -> None:
        snapshot = self.disk.snapshot
        if snapshot.log_id:
            self.cache.log.advance(snapshot.index)
            self.cache.log.put_digest(snapshot.digest)
            self.journal.begin(snapshot)
            self.start_warm()


class AcknowledgesBeforeItIsWritten(Node):
    """An invalidation reaches the journal a while after the acknowledgement."""

    def apply_invalidation(self, at: LogPosition, paths: list[str]) -> None:
        incarnation, log_id = self.incarnation, self.cache.log_id
        self.cache.apply_invalidation(at, paths)

        def write() -> None:
            if self.incarnation == incarnation and self.is_up and self.cache.log_id == log_id:
                try:
                    self.journal.will_apply(JournalEntry(at, [InvalidatedPaths(DISTRIBUTION_ID, paths)]))
                except KilledError:
                    self.crash()

        self.world.after(0.4, write)


class KeepsEntriesWithoutJournal(Node):
    """A journal that cannot be relied on invalidates only what was stored before the snapshot."""

    def restore(self) -> None:
        stored = dict(self.disk.entries)
        super().restore()
        self.disk.entries.update(stored)
        self.cache.load_entries()


class IgnoresTheBootId(Node):
    """After a power loss the files are taken for what was written to them."""

    def boot_id(self) -> str:
        return "boot"


class BeginsTheJournalBeforeVoiding(Node):
    """A process that is killed between the two leaves entries of one log beside the journal of another."""

    def start_over_at(self, position: LogPosition) -> None:
        self.disk.write_snapshot(position)
        self._parts.journal(self.disk.journal, InvalidationLog(position.index), self.boot_id()).begin(position)
        self.cache.apply_snapshot(position)
        self.journal.begin(position)


class CompactsToNothing(InvalidationJournal):
    """A journal that has grown is begun again with the position only."""

    def _compact(self) -> None:
        known, self._log = self._log, InvalidationLog(self._log.applied_index)
        self._log.epoch = known.epoch
        self._log.put_digest(known.digest)
        super()._compact()
        self._log = known


class SkipsWhatItCannotWrite(InvalidationJournal):
    """A full disk costs an entry of the journal, and the journal is kept."""

    def _give_up(self, error: OSError) -> None:
        pass


class GrantsWhileBehind(LeaseRules):
    """The first lease is granted to a node that is still catching up."""

    def decide(self, standing: Standing, log: LogAge, now: float) -> LeaseDecision:
        del log, now
        return Granted(self.counted_until(standing.heartbeat_received_at), self.duration_seconds)


# Rule 8


class KeepsTheInvalidatedAsStale(ProductCache):
    """An invalidated entry is taken for a stale one."""

    def _find_valid(self, key: CacheKey) -> tuple[Entry | None, Reason]:
        kept = self.store.lookup(key)
        entry, reason = super()._find_valid(key)
        if kept is None or reason is not Reason.INVALIDATED:
            return entry, reason
        kept.age_base = 0.0
        writer = self.store.open_writer(key, 0)
        assert writer is not None
        writer.commit(kept)
        return kept, Reason.FRESH

    def is_invalidated(self, entry: Entry) -> bool:
        return entry.age_base > 0.0 and super().is_invalidated(entry)


class AsksForItAnew(Cache):
    """Nothing is revalidated."""

    def fetch(
        self,
        asked: Asked,
        respond: Respond,
        stale: Entry | None,
        revalidated: Entry | None,
        *,
        must_confirm: bool = False,
    ) -> None:
        super().fetch(asked, respond, stale or revalidated, None, must_confirm=must_confirm)


# Rule 9


class KeepsEntriesOfAnotherLog(Cache):
    """Entries survive the change to another log, and their stamps are compared with its indexes."""

    def invalidate_everything(self) -> None:
        pass


class StoresAcrossLogs(ProductCache):
    """A fetch that started under one log is stored under the next."""

    def put(self, entry: Entry, epoch: int, requested_at: float | None, commit: Callable[[Entry], None]) -> bool:
        return super().put(entry, self.invalidations.epoch, requested_at, commit)


class JoinsAcrossLogs(RequestCoalescer):
    """A fetch that started under one log is joined under the next."""

    def invalidate_everything(self) -> None:
        pass


class ComparesIndexesOfDifferentLogs(Coordinator):
    """Any node that is not ahead is taken to be on this log."""

    def _catch_up(self, position: LogPosition) -> CatchUp:
        index = min(position.index, self._ledger.head_index)
        return super()._catch_up(LogPosition(self._ledger.log_id, index, self._ledger.digest_at(index) or b""))


class KeepsEntriesOfTheSameLog(Cache):
    """A snapshot of the same log covers what was stamped before it, as if it were of the same history."""

    def apply_snapshot(self, position: LogPosition) -> None:
        self._is_same_log, epoch = position.log_id == self.log_id, self.log.epoch
        super().apply_snapshot(position)
        if self._is_same_log:
            self.log.epoch = epoch

    def invalidate_everything(self) -> None:
        if not self._is_same_log:
            super().invalidate_everything()

    _is_same_log = False


class AcceptsEntriesOfAnyLog(NodeMachine):
    """The node's half of the same mistake."""

    def received(self, message: sync_pb2.ControlMessage, now: float) -> list[Effect]:
        if message.HasField("entry"):
            self.log_id = message.entry.log_id
        return super().received(message, now)


class TakesHeartbeatsForAcknowledgements(Plane):
    """The applied index in a heartbeat may still be of another log."""

    def beat(self, coordinator: Coordinator, connection: Connection, heartbeat: sync_pb2.Heartbeat) -> None:
        node_id, number = connection.node_id, connection.number
        coordinator.acknowledged(node_id, number, heartbeat.applied_index, self.clock())
        super().beat(coordinator, connection, heartbeat)


# Leases


class _OfJustSoLong(PendingReceipts):
    def complete(self, nodes: Sequence[NodeRecord], now: float) -> list[Receipt]:
        waited_for = [node for node in nodes if node.is_live or now < node.unleased_since + NOTICE_SECONDS]
        return super().complete(waited_for, now)


class CountsNoMargin(Coordinator):
    """The control plane counts exactly as long as the node, whose clock may be slower."""

    def __init__(self, ledger: Ledger, rules: LeaseRules, now: float) -> None:
        super().__init__(ledger, _ExactRules(rules.duration_seconds), now)
        self.pending = _OfJustSoLong(ledger.pending_invalidations())


class _ExactRules(LeaseRules):
    def counted_until(self, received_at: float) -> float:
        return received_at + self.duration_seconds


class ForgetsLeasesAtRestart(Coordinator):
    """A restarted control plane waits for nobody."""

    def _restore(self, saved: Iterable[SavedNode], now: float) -> dict[str, NodeRecord]:
        del now
        return {node.description.identifier: node.restored(None) for node in saved}


class ForgetsLeasesOnReconnect(Coordinator):
    """A new stream ends the lease for the control plane while the node still counts it."""

    def connected(
        self,
        node: NodeDescription,
        position: LogPosition,
        now: float,
        process: ProcessIdentity = NO_PROCESS,
        incarnation: int = 0,
    ) -> tuple[int, CatchUp]:
        number, catch_up = super().connected(node, position, now, process, incarnation)
        self.nodes[node.identifier].end_lease(now)
        return number, catch_up


class _AnyProcessFollows(Succession):
    def take_name(self, node: NodeDescription, process: ProcessIdentity, now: float) -> tuple[NodeRecord, bool]:
        known = self._nodes.get(node.identifier)
        return super().take_name(node, process if known is None else replace(process, number=known.process), now)


class TakesOneProcessForAnother(Coordinator):
    """What one process of a node has acknowledged counts for the next one, whatever is known of the one before."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]  # handed through
        by_name = (self.pending, self._unsaved, self._checks)
        self.succession = _AnyProcessFollows(self.nodes, by_name, silence_seconds=LEASE_SECONDS)


class _ForgetsWhoWasReplaced(Succession):
    def _set_record_aside(self, record: NodeRecord, own: NodeRecord | None, now: float) -> None:
        super()._set_record_aside(record, own, now)
        name = record.description.identifier
        del self._nodes[name]
        self._unsaved.forget(name)


class ForgetsWhoWasReplaced(Coordinator):
    """A process that may still run is not waited for any more."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]  # handed through
        by_name = (self.pending, self._unsaved, self._checks)
        self.succession = _ForgetsWhoWasReplaced(self.nodes, by_name, silence_seconds=LEASE_SECONDS)


class ACopyProvesThatTheOriginalHasEnded(Node):
    """Whoever has the numbers of other processes on its disk says that they have ended."""

    def start(self) -> None:
        self.disk.written_on = (self.disk.number, self.disk.boots)
        super().start()


class TellsLeasesBeforeTheyAreDurable(Coordinator):
    """The first lease of a node is written down some time after it is told."""

    def _promises(self, decisions: Mapping[str, LeaseDecision]) -> dict[str, Granted]:
        del decisions
        return {}


class _NeverWaitsForTheDisk(UnsavedChanges):
    def save(
        self,
        records: Mapping[str, NodeRecord],
        promises: Mapping[str, Granted],
        completed: Sequence[Receipt],
        now: float,
    ) -> bool:
        super().save(records, promises, completed, now)
        return True


class PromisesWhatTheDiskDoesNotTake(Coordinator):
    """A write that fails is taken for one that does not."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]  # handed through
        self._unsaved = _NeverWaitsForTheDisk(self._ledger, self._ledger.saved_nodes(), self.next_check_at)


class AnotherLogKeepsAcknowledgements(Coordinator):
    """A node that starts over from a snapshot still counts as having what it had acknowledged."""

    def connected(
        self,
        node: NodeDescription,
        position: LogPosition,
        now: float,
        process: ProcessIdentity = NO_PROCESS,
        incarnation: int = 0,
    ) -> tuple[int, CatchUp]:
        number, catch_up = super().connected(node, position, now, process, incarnation)
        if not isinstance(catch_up, FromEntries):
            record = self.nodes[node.identifier]
            record.acknowledged_index = max(NOTHING_ACKNOWLEDGED, self._ledger.head_index)
        return number, catch_up


# Rule 10


class NeverFenced(Fence):
    """What others say of the control plane counts for nothing."""

    def _is_evidence(self, answer: PeerStanding, asked_at: float, own: LogPosition) -> bool:
        return False


class FencedByIndexOnly(Fence):
    """That others have renewed their leases counts for nothing: only a later index does."""

    def _is_evidence(self, answer: PeerStanding, asked_at: float, own: LogPosition) -> bool:
        return answer.log_id == own.log_id != "" and answer.applied_index > own.index


class TrustedFromTheStart(Fence):
    """A node that starts serves what it has stored before it has asked anybody."""

    def __init__(self, now: float, *, is_strict: bool = False) -> None:
        super().__init__(now, is_strict=is_strict)
        self.trusted_until = now + NOTICE_SECONDS


class TrustedForLonger(Fence):
    """After its lease a node waits for longer than receipts wait for it."""

    def leased(self, until: float) -> None:
        super().leased(until)
        self.trusted_until = until + 2 * NOTICE_SECONDS


class HastyFence(Fence):
    """It does not wait until others must have renewed their leases."""

    def _is_decided(self, asked_at: float, found: Answers) -> bool:
        return True


class _OfLeased(PendingReceipts):
    def complete(self, nodes: Sequence[NodeRecord], now: float) -> list[Receipt]:
        return super().complete([node for node in nodes if node.is_live], now)


class CompletesAtTheEndOfTheLease(Coordinator):
    """A node whose lease is over is not waited for until it must have noticed."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]  # handed through
        self.pending = _OfLeased(self._ledger.pending_invalidations())


class _WithoutNews(PendingReceipts):
    def complete(self, nodes: Sequence[NodeRecord], now: float) -> list[Receipt]:
        return super().complete([node for node in nodes if is_waited_for(node, now)], now)


class CompletesBeforeTheNewsIsOut(Coordinator):
    """A node that was alone is not waited for although others got their leases only now."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]  # handed through
        self.pending = _WithoutNews(self._ledger.pending_invalidations())


class NeverSaysThatItsLeaseRanOut(NodeMachine):
    """A node that was without a lease for a while goes on as if it had had one all the time, as far as the control plane can tell."""

    def connected(
        self, now: float, position: LogPosition, rejected: RejectedChanges = NOTHING_REJECTED
    ) -> list[Effect]:
        self._is_witness = False
        return super().connected(now, position, rejected)

    def received(self, message: sync_pb2.ControlMessage, now: float) -> list[Effect]:
        self._is_witness = False
        return super().received(message, now)


class AsksTheNewestDirectoryOnly(KnownPeers):
    """Who is without a lease when a node is cut off is never asked by it."""

    def former(self) -> sync_pb2.Directory:
        return sync_pb2.Directory()


class ConfirmsByValidator(Cache):
    """A node that may have missed an invalidation asks whether what it has still holds."""

    def fetch_alone(self, asked: Asked, respond: Respond) -> None:
        entry, _ = self.kept.find(asked.route, asked.key, asked.head)
        self.fetch(asked, respond, None, entry, must_confirm=True)


class JoinsToConfirm(Cache):
    """A node that may have missed an invalidation lets requests join a fetch that may have begun before it."""

    def fetch_alone(self, asked: Asked, respond: Respond) -> None:
        self._join_or_fetch(asked, respond, None, None)


class StaleInsteadOfAnError(Cache):
    """A node that may have missed an invalidation serves what it has when nobody can be reached."""

    def fetch_alone(self, asked: Asked, respond: Respond) -> None:
        entry, _ = self.kept.find(asked.route, asked.key, asked.head)
        self.fetch(asked, respond, entry, None, must_confirm=True)


MISTAKES_WITH_LEASES: tuple[type[Coordinator], ...] = (
    ForgetsLeasesAtRestart,
    ForgetsLeasesOnReconnect,
    TellsLeasesBeforeTheyAreDurable,
    PromisesWhatTheDiskDoesNotTake,
)
"""That rule 10 hides from viewers; tests/property/control_plane/test_coordination_properties.py looks at leases themselves."""

PLANTED: dict[str, Parts] = {
    "rule 1: stamped at the end of the fetch": Parts(NodeParts(cache=StampedAtTheEnd)),
    "rule 2: not checked on lookup": Parts(NodeParts(kept=NotCheckedOnLookup)),
    "rule 2: stamp moved before the check": Parts(NodeParts(kept=StampMovedBeforeTheCheck)),
    "rule 3: joins any fetch": Parts(NodeParts(coalescer=JoinsAnyFetch)),
    "rule 4: a regional cache serves while behind": Parts(NodeParts(state=ServesWhileBehind)),
    "rule 5: waits for connected nodes only": Parts(coordinator=WaitsForConnectedNodesOnly),
    "rule 5: waits for all but one": Parts(coordinator=WaitsForAllButOne),
    "rule 5: takes one process for another": Parts(coordinator=TakesOneProcessForAnother),
    "rule 5: forgets who was replaced": Parts(coordinator=ForgetsWhoWasReplaced),
    "rule 5: a copy proves that the original has ended": Parts(node=ACopyProvesThatTheOriginalHasEnded),
    "rule 6: says that everybody has acknowledged": Parts(coordinator=SaysThatEverybodyHasAcknowledged),
    "rule 7: forgets the journal": Parts(node=ForgetsTheJournal),
    "rule 7: acknowledges before it is written": Parts(node=AcknowledgesBeforeItIsWritten),
    "rule 7: keeps entries without a journal": Parts(node=KeepsEntriesWithoutJournal),
    "rule 10: never fenced": Parts(NodeParts(fence=NeverFenced)),
    "rule 10: fenced by a later index only": Parts(NodeParts(fence=FencedByIndexOnly)),
    "rule 10: trusted from the start": Parts(NodeParts(fence=TrustedFromTheStart)),
    "rule 10: trusted for longer than receipts wait": Parts(NodeParts(fence=TrustedForLonger)),
    "rule 10: decides before others must have renewed": Parts(NodeParts(fence=HastyFence)),
    "rule 10: receipts at the end of the lease": Parts(coordinator=CompletesAtTheEndOfTheLease),
    "rule 10: receipts before the news is out": Parts(coordinator=CompletesBeforeTheNewsIsOut),
    "rule 10: never says that its lease ran out": Parts(NodeParts(machine=NeverSaysThatItsLeaseRanOut)),
    "rule 10: asks the newest directory only": Parts(NodeParts(known_peers=AsksTheNewestDirectoryOnly)),
    "rule 10: confirmed by a validator": Parts(NodeParts(cache=ConfirmsByValidator)),
    "rule 10: joins somebody to confirm": Parts(NodeParts(cache=JoinsToConfirm)),
    "rule 10: stale instead of an error": Parts(NodeParts(cache=StaleInsteadOfAnError)),
    "rule 7: ignores the boot id": Parts(node=IgnoresTheBootId),
    "rule 7: begins the journal before voiding": Parts(node=BeginsTheJournalBeforeVoiding),
    "rule 7: compacts to nothing": Parts(NodeParts(journal=CompactsToNothing)),
    "rule 7: skips what it cannot write": Parts(NodeParts(journal=SkipsWhatItCannotWrite)),
    "rule 7: grants while behind": Parts(rules=GrantsWhileBehind),
    "rule 8: serves the invalidated on error": Parts(NodeParts(cache=AsksForItAnew, kept=KeepsTheInvalidatedAsStale)),
    "rule 8: revalidates the invalidated": Parts(NodeParts(kept=KeepsTheInvalidatedAsStale)),
    "rule 9: keeps entries of another log": Parts(NodeParts(cache=KeepsEntriesOfAnotherLog)),
    "rule 9: joins across logs": Parts(NodeParts(coalescer=JoinsAcrossLogs)),
    "rule 9: stores across logs": Parts(NodeParts(kept=StoresAcrossLogs)),
    "rule 9: compares indexes of different logs": Parts(
        NodeParts(machine=AcceptsEntriesOfAnyLog), ComparesIndexesOfDifferentLogs
    ),
    "rule 9: keeps entries of the same log": Parts(NodeParts(cache=KeepsEntriesOfTheSameLog)),
    "rule 9: takes heartbeats for acknowledgements": Parts(plane=TakesHeartbeatsForAcknowledgements),
    "rule 9: a snapshot counts as acknowledged when it is sent": Parts(coordinator=AnotherLogKeepsAcknowledgements),
    "lease: no margin": Parts(coordinator=CountsNoMargin),
    **{bug: Parts(shells=parts) for bug, parts in PLANTED_SHELLS.items()},
}

SHOWN_BY: dict[str, int] = {
    "rule 5: forgets who was replaced": 101,
    "rule 5: a copy proves that the original has ended": 120,
    "rule 10: fenced by a later index only": 66,
    "rule 10: trusted from the start": 308,
    "rule 10: trusted for longer than receipts wait": 405,
    "rule 10: decides before others must have renewed": 375,
    "rule 10: receipts at the end of the lease": 79,
    "rule 10: receipts before the news is out": 322,
    "rule 10: never says that its lease ran out": 1460,
    "rule 10: joins somebody to confirm": 100,
    "rule 10: stale instead of an error": 1796,
    "rule 7: ignores the boot id": 219,
    "rule 7: begins the journal before voiding": 165,
    "rule 7: compacts to nothing": 118,
    "rule 7: skips what it cannot write": 348,
    "rule 7: grants while behind": 180,
    "rule 9: joins across logs": 861,
    "rule 9: takes heartbeats for acknowledgements": 1217,
    "lease: no margin": 526,
    **SHELLS_SHOWN_BY,
}
"""The first seed of those bugs that need a rare one: it is looked at first, and all others only if a change of the simulation has moved it."""

SHOWN_BY_SCHEDULE = frozenset({"rule 10: asks the newest directory only"})
"""What none of the first seeds shows, but a schedule of test_schedules.py: it takes several cuts, one right after the other."""
