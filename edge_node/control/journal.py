"""What a node that is killed still knows of invalidations: a journal in its state directory, written before an entry is applied (DESIGN section 4, rule 7).

Rules that live here. An entry of the log is in the journal before the node applies it, and it is applied before it is acknowledged. So the journal is never behind the
applied index, and since a stamp is the applied index at some moment, no stored response carries a stamp beyond the journal: what a restarted node reads here decides
on every stamp that it finds on its disk exactly as before.

Nothing is flushed to the disk: kill -9 does not take what has been written to a file, a power loss does, and that is seen by the boot id of the machine. A journal that
cannot be written (a full disk) is removed, since a journal with a gap would forget: then nothing on disk is trusted after a restart, and the node goes on meanwhile.

The bytes are `control/journal_codec.py`'s. What is done when there is no journal to rely on is `control/client.py`'s.
"""

import contextlib
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from edge_node.caching.invalidation_index import InvalidationLog
from edge_node.control.journal_codec import (
    MARK_BYTES,
    JournalEntry,
    JournalError,
    JournalIdentity,
    configuration_record,
    entry_record,
    mark,
    replayed,
    whole_journal,
)
from proto.log_position import LogPosition
from proto.state_files import nothing

logger = logging.getLogger(__name__)

GROWTH_BYTES = 4 * 1024 * 1024
"""How much may be appended before the journal is written anew; as much as it held already when that is more, so that an entry costs the same however long the log is."""

LONGEST_WAIT_ENTRIES = 1024
"""How many entries may pass between two attempts to have a journal again."""


class JournalFile(Protocol):
    """Where the bytes are. Every method may raise OSError, and then what was there before is still there."""

    def read(self) -> bytes | None:
        """All of it; None when there is none."""

    def replace(self, content: bytes) -> None:
        """Other content, in one step: after a crash it is the old or the new one."""

    def write_at(self, offset: int, data: bytes) -> None:
        """Overwrite or append."""

    def remove(self) -> None:
        """Have none, also when there is none."""

    def close(self) -> None:
        """Nothing more is done with it."""


class InvalidationJournal:
    """Keeps what `log` knows. Each method that tells of an entry is called before the entry is applied to `log`."""

    def __init__(self, file: JournalFile, log: InvalidationLog, boot_id: str, growth_bytes: int = GROWTH_BYTES) -> None:
        self._file = file
        self._log = log
        self._boot_id = boot_id
        self._growth_bytes = growth_bytes
        self._origin = JournalIdentity(LogPosition(), boot_id)
        self._length = MARK_BYTES
        self._rewrite_at = 0
        self._is_kept = False
        self._is_removed = False
        """While none is kept: no file of earlier can be taken for one."""
        self._missed_entries = 0
        self._is_distrusted = False

    @property
    def is_kept(self) -> bool:
        """Whether this process will be remembered; False before the first snapshot and while the journal cannot be written."""
        return self._is_kept

    def resume(self, configuration: LogPosition) -> None:
        """Fill the log with what the process before this one knew, beside a configuration at this position. Raises JournalError when that cannot be told."""
        origin = JournalIdentity(configuration, self._boot_id)
        try:
            journal = self._file.read()
        except OSError as error:
            raise JournalError(f"it cannot be read: {error}") from error
        if journal is None:
            raise JournalError("there is none")
        before, length = replayed(journal, origin)
        self._log.resume(before)
        self._origin = origin
        self._continue_at(length)

    def discard(self) -> None:
        """What could not be relied on must not fit a snapshot of later. A folder that cannot be written does not keep the node from serving."""
        try:
            self._remove()
        except OSError as error:
            logger.warning("the invalidation journal cannot be removed: %s", error)

    def distrust(self) -> None:
        """What is stored is not what the log says of it: no journal until the next snapshot, so that another process trusts nothing. OSError when it stays."""
        self._is_distrusted = True
        self._is_kept = False
        self._remove()

    def begin(self, configuration: LogPosition) -> None:
        """A journal of what the log knows now, beside a configuration at this position that is on disk; whatever was stored under another epoch must be gone already.

        Were it written before that, a process killed in between would find a journal that fits its snapshot, and trust what is left of the other log or history.
        Raises OSError when it can be neither written nor the one before be removed.
        """
        self._origin = JournalIdentity(configuration, self._boot_id)
        self._is_kept = self._is_removed = self._is_distrusted = False
        try:
            self._write_anew()
        except OSError as error:
            self._give_up(error)

    def will_apply(self, entry: JournalEntry) -> None:
        """An entry that changes nothing of the configuration will be applied."""
        self._append(entry_record(entry))

    def will_configure(self, entry: JournalEntry) -> None:
        """The configuration at this position will be written. The entry counts as applied once it is: whichever of the two a crash falls between, they fit each other."""
        self._append(configuration_record(entry))

    def has_configured(self, at: LogPosition) -> None:
        """The configuration at this position is on disk."""
        self._origin = JournalIdentity(at, self._boot_id)

    # -- inside

    def _append(self, record: bytes) -> None:
        if not self._is_kept and not self._is_kept_again():
            return
        try:
            if self._length >= self._rewrite_at:
                self._compact()
            self._file.write_at(self._length, record)
            self._file.write_at(0, mark(self._length + len(record)))
        except OSError as error:
            self._give_up(error)
        else:
            self._length += len(record)

    def _compact(self) -> None:
        """The log knows less than the journal tells: only the newest index of each path counts. When there is no room for a second file the first one goes on."""
        try:
            self._write_anew()
        except OSError as error:
            logger.warning("the invalidation journal could not be compacted: %s", error)
            self._rewrite_at = self._length + self._growth_bytes

    def _write_anew(self) -> None:
        content = whole_journal(self._origin, self._log)
        self._file.replace(content)
        self._continue_at(len(content))

    def _continue_at(self, length: int) -> None:
        self._length = length
        self._rewrite_at = length + max(length, self._growth_bytes)
        self._is_kept = True
        self._missed_entries = 0

    def _give_up(self, error: OSError) -> None:
        """A journal that lacks an entry must not be found; if it cannot even be removed, the entry must not be applied."""
        self._is_kept = self._is_removed = False
        self._remove()
        logger.warning("no invalidation journal is kept, a restart would void what is on disk: %s", error)

    def _remove(self) -> None:
        if not self._is_removed:
            self._file.remove()
            self._is_removed = True

    def _is_kept_again(self) -> bool:
        """Try, ever more rarely: all that was missed is in the log."""
        self._remove()
        self._missed_entries += 1
        missed = self._missed_entries
        is_turn = missed & (missed - 1) == 0 or missed % LONGEST_WAIT_ENTRIES == 0
        if self._is_distrusted or not is_turn or not self._origin.configuration.log_id:
            return False
        try:
            self._write_anew()
        except OSError:
            return False
        logger.info("an invalidation journal is kept again")
        return True


class DiskJournalFile:
    """A JournalFile in the state directory, which belongs to this process alone."""

    def __init__(self, path: Path, before_write: Callable[[], None] = nothing) -> None:
        """`before_write`: see StateFiles."""
        self._path = path
        self._before_write = before_write
        self._descriptor = -1

    def read(self) -> bytes | None:
        """See JournalFile."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        self._use(descriptor)
        with open(descriptor, "rb", closefd=False) as file:
            return file.read()

    def replace(self, content: bytes) -> None:
        """See JournalFile."""
        self._before_write()
        unfinished = self._path.with_suffix(".new")
        descriptor = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            _write_all(descriptor, content, 0)
            unfinished.replace(self._path)
        except OSError:
            os.close(descriptor)
            with contextlib.suppress(OSError):
                unfinished.unlink()
            raise
        self._use(descriptor)

    def write_at(self, offset: int, data: bytes) -> None:
        """See JournalFile."""
        self._before_write()
        _write_all(self._descriptor, data, offset)

    def remove(self) -> None:
        """See JournalFile."""
        self._path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._use(-1)

    def _use(self, descriptor: int) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = descriptor


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    """A disk that fills up takes a part and refuses the rest."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written
