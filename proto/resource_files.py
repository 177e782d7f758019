"""A node's configuration on its disk: a file for each resource, and one that says where in the log they stand (DESIGN section 3).

A change writes the files of what it changes, under names that end with its index, and then the position, in one step: that is when it counts. Whatever a kill falls
between, the files of the position are there, and those of a later index are left from a change that never was. A file says what it is of, and has a digest
(`state_files.py`); the position has a checksum over all of them, so that one which is missing is noticed as well. A snapshot goes into a folder of its own.

Shared by edge_node and dns_router. What is served of it is `served_configuration.py`'s business.
"""

import hashlib
import logging
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from proto.cdn.v1 import sync_pb2
from proto.log_position import LogPosition
from proto.resources import ResourceName, checksum_bytes, checksum_of, kind_name, total_checksum
from proto.served_configuration import Configuration, changed_names, kept_resource
from proto.state_files import StateFiles

POSITION_FILE: Final = "configuration"
MOST_FLUSHED: Final = 32
"""More files than these in one change are not flushed one by one, which would take a disk seconds: what a power loss takes of them is noticed by their digests."""

_FOLDER: Final = re.compile(r"configuration-(\d+)")
_FILE: Final = re.compile(r"(.+)\.(\d+)")
_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Kept:
    """What a process finds of the one before it."""

    position: LogPosition
    resources: tuple[sync_pb2.KeptResource, ...]
    is_whole: bool
    """All of it is there and undamaged. If not, the node serves what is, and has to be told everything anew."""


class ResourceFiles:
    """The files of one node. A write raises OSError when the disk does not take it; what was there before is still there then."""

    def __init__(self, files: StateFiles) -> None:
        """Beside `files`, which have the position and the statistics."""
        self._files = files
        self._folder_number = 0
        self._newest_folder_number = 0
        """Of the last attempt: no folder is written into twice, since the position on disk may name it although its write has failed."""
        self._indexes: dict[str, int] = {}
        """By the stem of a file's name, the index of the one that counts."""
        self._written = Configuration()
        """What is on disk."""
        self._attempted: set[ResourceName] = set()
        """What may have files from a write that failed."""
        self._littered: set[str] = set()
        """Stems of which an older file could not be removed."""

    def read(self) -> Kept | None:
        """None when nothing was ever written, or it cannot be told where it stands, which is counted."""
        position = self._files.read_message(POSITION_FILE, sync_pb2.KeptPosition())
        folder = None if position is None else _FOLDER.fullmatch(position.folder)
        if position is None or folder is None:
            return None
        self._folder_number = self._newest_folder_number = int(folder[1])
        self._remove_other_folders()
        is_whole = True
        resources: list[sync_pb2.KeptResource] = []
        for name in self._current_files(position.index):
            kept = self._open_folder().read_message(name, sync_pb2.KeptResource())
            if kept is None:
                is_whole = False
            elif kept.HasField("served") or kept.HasField("rejected"):
                resources.append(kept)
            elif name.rpartition(".")[0] not in self._littered:
                self._remove_files([name])
        if not is_whole or checksum_bytes(_checksum(resources)) != position.checksum:
            self._files.statistics.refused_total += 1
            _logger.warning("the configuration on disk is not whole: all of it is asked for anew")
            is_whole = False
        return Kept(LogPosition(position.log_id, position.index, position.digest), tuple(resources), is_whole)

    def has_read(self, configuration: Configuration) -> None:
        """What has become of the files that were read: only what differs is written from now on."""
        self._written = configuration

    def write(self, configuration: Configuration) -> None:
        """Have this on disk: the files of what is different from what is there."""
        names = changed_names(self._written, configuration) | self._attempted
        self._attempted = names
        self._commit(configuration, names)
        self._attempted = set()
        gone = [_stem(name) for name in names if not _is_kept(configuration, name)]
        self._remove_superseded(map(_stem, names), gone, configuration.position.index)

    def write_anew(self, configuration: Configuration) -> None:
        """Have this on disk, and nothing of what is there: it may be of another log."""
        before = self._folder_number, self._indexes
        self._folder_number, self._indexes = self._fresh_folder_number(), {}
        try:
            self._commit(configuration, configuration.served.keys() | configuration.rejected.keys())
        except OSError:
            self._folder_number, self._indexes = before
            self._remove_failed_folders()
            raise
        self._attempted = set()
        self._littered = set()
        index = configuration.position.index
        self._indexes = {_stem(name): index for name in configuration.served.keys() | configuration.rejected.keys()}
        self._remove_other_folders()

    # -- inside

    def _commit(self, configuration: Configuration, names: Collection[ResourceName]) -> None:
        """Write the files, then the position."""
        position = configuration.position
        kept_position = sync_pb2.KeptPosition(
            log_id=position.log_id,
            index=position.index,
            digest=position.digest,
            folder=self._folder_name(),
            checksum=checksum_bytes(configuration.checksum),
        )
        try:
            folder = self._open_folder()
            for name in names:
                content = kept_resource(configuration, name).SerializeToString()
                folder.write(f"{_stem(name)}.{position.index}", content, is_durable=len(names) <= MOST_FLUSHED)
        except OSError:
            self._files.statistics.write_failures_total += 1
            self._files.statistics.unwritten.add(POSITION_FILE)
            raise
        self._files.write(POSITION_FILE, kept_position.SerializeToString())
        self._written = configuration

    def _current_files(self, index: int) -> Iterator[str]:
        """The newest file of each resource up to an index; others are removed, and so is what says that a resource is gone."""
        indexes: dict[str, list[int]] = {}
        for name in self._open_folder().names():
            if match := _FILE.fullmatch(name):
                indexes.setdefault(match[1], []).append(int(match[2]))
        for stem, found in sorted(indexes.items()):
            counting = [each for each in found if each <= index]
            self._remove_files(f"{stem}.{each}" for each in found if each > index)
            if counting:
                self._indexes[stem] = max(counting)
                if not self._remove_files(f"{stem}.{each}" for each in counting if each != max(counting)):
                    self._littered.add(stem)
                yield f"{stem}.{max(counting)}"

    def _remove_superseded(self, stems: Iterable[str], gone: Collection[str], index: int) -> None:
        """Last of a resource that is gone, the file which says so: it has to outlive the ones that it speaks of."""
        for stem in stems:
            before = self._indexes.get(stem)
            self._indexes[stem] = index
            if not (before in (None, index) or self._remove_files([f"{stem}.{before}"])):
                self._littered.add(stem)
            if stem in gone and stem not in self._littered and self._remove_files([f"{stem}.{index}"]):
                del self._indexes[stem]

    def _remove_files(self, names: Iterable[str]) -> bool:
        """Whether they are gone. What stays counts for nothing."""
        folder = self._open_folder()
        try:
            for name in names:
                folder.remove(name)
        except OSError as error:
            _logger.warning("a file that is no longer needed stays: %s", error)
            return False
        return True

    def _fresh_folder_number(self) -> int:
        """Of a folder that is not there: a file that is left in one would be taken for a part of what is written now."""
        while True:
            self._newest_folder_number += 1
            name = f"configuration-{self._newest_folder_number}"
            self._files.remove_folder(name)  # of a process before this one
            if name not in self._files.names():
                return self._newest_folder_number

    def _remove_failed_folders(self) -> None:
        """On a full disk they would only take room. Not the one that the position names: it may be there although its write has failed."""
        position = self._files.read_message(POSITION_FILE, sync_pb2.KeptPosition())
        if position is not None:
            self._remove_other_folders(but=position.folder)

    def _remove_other_folders(self, but: str = "") -> None:
        for name in self._files.names():
            if _FOLDER.fullmatch(name) and name not in (self._folder_name(), but):
                self._files.remove_folder(name)

    def _open_folder(self) -> StateFiles:
        return self._files.inside(self._folder_name())

    def _folder_name(self) -> str:
        return f"configuration-{self._folder_number}"


def _is_kept(configuration: Configuration, name: ResourceName) -> bool:
    return name in configuration.served or name in configuration.rejected


def _checksum(resources: Iterable[sync_pb2.KeptResource]) -> int:
    """Of the newest version of each, as `Configuration.checksum` has it."""
    newest = (kept.rejected.change.put if kept.HasField("rejected") else kept.served for kept in resources)
    return total_checksum(checksum_of(resource) for resource in newest if resource.ByteSize())


def _stem(name: ResourceName) -> str:
    """Readable, and different for different names also where files are found without regard to case."""
    identity = hashlib.sha256(name.identifier.encode()).hexdigest()[:16]
    plain = f"-{name.identifier}" if _PLAIN.fullmatch(name.identifier) else ""
    return f"{kind_name(name.kind)}{plain}-{identity}"
