"""What a node's crash leaves: its snapshot, its journal and stored responses; and the ways in which a disk fails a process."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from proto.cdn.v1 import sync_pb2
from proto.log_position import LogPosition
from proto.process_identity import MOST_PREDECESSORS, ProcessIdentity
from tests.simulation.virtual_files import VirtualFiles
from tests.simulation.world import World

SLOW_WRITE_SECONDS = (0.05, 0.3, 1.2)


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored response: which version of the object it is."""

    version: int
    stamp: int
    stored_at: float
    lifetime_seconds: float


class KilledError(Exception):
    """kill -9, in the middle of an operation on a file."""


@dataclass
class Disk:
    """Everything is written through `write`, which may be where the process or the disk ends."""

    world: World
    node_id: str = ""
    directory: sync_pb2.Directory = field(default_factory=sync_pb2.Directory)
    """The newest that has got to the disk."""
    known_peers: sync_pb2.Directory = field(default_factory=sync_pb2.Directory)
    told_of: set[str] = field(default_factory=set)
    snapshot: LogPosition = field(default_factory=LogPosition)
    """What the snapshot file says; it is flushed, so a power loss does not take it."""
    entries: dict[str, Stored] = field(default_factory=dict)
    processes: tuple[int, ...] = ()
    """Numbers of those that have had it, the latest first."""
    written_on: tuple[int, int] = (0, 0)
    """Number of the disk, and of the boot, that they were written down on."""
    files: VirtualFiles | None = None
    """Those of ControlClient, where it is the product's."""
    boots: int = 1
    is_full: bool = False
    is_slow: bool = False
    kill_in: int | None = None
    """Operations until the process is killed."""

    def __post_init__(self) -> None:
        self.dice = self.world.dice(f"disk of {self.node_id}")
        self.journal = MemoryFile(self)
        self.number = self.world.new_process()

    def copy(self) -> "Disk":
        """Everything that is on it, on another one, which does as it is told."""
        entries, told_of = dict(self.entries), set(self.told_of)
        other = replace(self, entries=entries, told_of=told_of, files=None, is_full=False, is_slow=False, kill_in=None)
        other.journal.content = self.journal.content
        return other

    def ended_processes(self) -> tuple[int, ...]:
        """Of which whoever takes this disk over may say that they have ended: HeldFolder."""
        return self.processes if self.written_on == (self.number, self.boots) else ()

    def hold(self, process: ProcessIdentity) -> None:
        """It belongs to this process now."""
        self.processes = (process.number, *process.predecessors)[:MOST_PREDECESSORS]
        self.written_on = (self.number, self.boots)

    def writing_seconds(self) -> float:
        """How long the next file takes."""
        return self.dice.choice(SLOW_WRITE_SECONDS) if self.is_slow else 0.0

    def write(
        self, do: Callable[[], object], do_half: Callable[[], object] = lambda: None, *, needs_room: bool
    ) -> None:
        """One operation: done, done by half by a process that is killed over it, or refused."""
        if self.is_full and needs_room:
            raise OSError("no space left on device")
        if self.kill_in is None:
            do()
            return
        self.kill_in -= 1
        if self.kill_in <= 0:
            self.kill_in = None
            self.dice.choice((do, do_half))()
            raise KilledError
        do()

    def kill_in_the_middle(self, operations: int) -> None:
        """Over one of the next files; ControlClient has more of them."""
        self.kill_in = operations + (0 if self.files is None else self.dice.randrange(8))

    def write_snapshot(self, position: LogPosition) -> None:
        """In one step."""
        self.write(lambda: setattr(self, "snapshot", position), needs_room=True)

    def keep_directory(self, directory: sync_pb2.Directory, known: sync_pb2.Directory, told_of: set[str]) -> None:
        """As well as may be: without room it is the one before."""
        if not self.is_full:
            self.directory, self.known_peers, self.told_of = directory, known, set(told_of)

    def void_entries(self) -> None:
        """In one step as well."""
        self.write(self.entries.clear, needs_room=False)

    def lose_power(self) -> None:
        """What was not flushed is as it was some time ago, each file by itself."""
        self.boots += 1
        self.is_full, self.kill_in = False, None
        self.journal.go_back()

    def damage_journal(self) -> None:
        """A flipped bit, a lost end, or nothing left of it; and perhaps of another file."""
        rng, content = self.dice, self.journal.content
        if self.files is not None and rng.random() < 0.5:
            self.files.damage(rng)
        if not content:
            return
        at = rng.randrange(len(content))
        flipped = bytearray(content)
        flipped[at] ^= 1 << rng.randrange(8)
        self.journal.content = rng.choice((bytes(flipped), content[:at], None))


class MemoryFile:
    """A JournalFile of the real journal."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.content: bytes | None = None
        self._before: list[bytes | None] = []

    def read(self) -> bytes | None:
        """See JournalFile."""
        return self.content

    def replace(self, content: bytes) -> None:
        """See JournalFile."""
        self._disk.write(lambda: self._set(content), needs_room=True)

    def write_at(self, offset: int, data: bytes) -> None:
        """See JournalFile."""
        before = self.content or b""
        half = data[: self._disk.dice.randrange(len(data))] if offset else b""  # the mark lies within one page
        self._disk.write(
            lambda: self._set(before[:offset] + data + before[offset + len(data) :]),
            lambda: self._set(before[:offset] + half + before[offset + len(half) :]),
            needs_room=True,
        )

    def remove(self) -> None:
        """See JournalFile."""
        self._disk.write(lambda: self._set(None), needs_room=False)

    def close(self) -> None:
        """See JournalFile."""

    def go_back(self) -> None:
        """To one of its earlier contents."""
        self.content = self._disk.dice.choice([None, self.content, *self._before])

    def _set(self, content: bytes | None) -> None:
        self._before.append(self.content)
        del self._before[:-40]
        self.content = content
