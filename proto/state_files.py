"""The files that a node trusts after a restart: the old content or the new, whole, or known to be damaged (DESIGN section 3).

Written beside, flushed, renamed over, and the folder flushed. In front of the content stand a mark of the form and a SHA-256 digest of the mark, the file's name and
the content, because a file system may keep a name and lose the bytes, a disk may flip a bit, and protobuf reads many damaged messages without complaint: a bit in the
name of a domain or in the port of an origin is another configuration. A file of another form, also one from before there were digests, is refused like a damaged one.

Shared by edge_node and dns_router, as `node_session.py` is. What is in the files, and when they are written, is theirs.
"""

import contextlib
import hashlib
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from google.protobuf.message import DecodeError, Message

MARK: Final = b"CDNFILE1"
_DIGEST_BYTES: Final = hashlib.sha256().digest_size

_logger = logging.getLogger(__name__)

_Message = TypeVar("_Message", bound=Message)


def nothing() -> None:
    """Is the matter with the disk."""


class DamagedFileError(Exception):
    """The content is not what was written; the message says which file."""


@dataclass(slots=True)
class StateFileStatistics:
    """For metrics and `/status`."""

    refused_total: int = 0
    """Files that were there at the start and could not be trusted."""
    write_failures_total: int = 0
    """Times that the disk did not take a file."""
    unwritten: set[str] = field(default_factory=set)
    """Files that are older than what should be in them: the disk did not take it when it was written last."""

    def to_json(self) -> dict[str, object]:
        """As `/status` has it."""
        return {
            "refused_total": self.refused_total,
            "write_failures_total": self.write_failures_total,
            "unwritten": sorted(self.unwritten),
        }


class StateFiles:
    """The files in one folder, which belongs to this process alone. OSError for a folder that cannot be made."""

    def __init__(self, folder: Path, before_write: Callable[[], None] = nothing) -> None:
        """`before_write` may raise OSError, as a disk that is full on purpose does."""
        self.statistics = StateFileStatistics()
        self.folder = folder
        self._before_write = before_write
        folder.mkdir(parents=True, exist_ok=True)

    def read(self, name: str) -> bytes | None:
        """The content; None when it was never written. DamagedFileError when it is not what was written, OSError when it cannot be read."""
        try:
            stored = (self.folder / name).read_bytes()
        except FileNotFoundError:
            return None
        head, content = stored[: len(MARK) + _DIGEST_BYTES], stored[len(MARK) + _DIGEST_BYTES :]
        if head != _head(name, content):
            raise DamagedFileError(f"{name} is damaged or was written by another version")
        return content

    def read_message(self, name: str, message: _Message) -> _Message | None:
        """The file as a message; None when there is none, or none to be trusted, which is said and counted."""
        try:
            content = self.read(name)
            if content is None:
                return None
            message.ParseFromString(content)
        except (OSError, DamagedFileError, DecodeError) as error:
            self.statistics.refused_total += 1
            _logger.warning("a file on disk is not used: %s", error)
            return None
        return message

    def write(self, name: str, content: bytes, *, is_durable: bool = True) -> None:
        """Replace the content in one step. It survives a power loss if `is_durable`, else kill -9 only. After an OSError it is the old content or the new, whole."""
        unfinished = self.folder / f"{name}.new"
        try:
            self._before_write()
            with unfinished.open("wb") as file:
                file.write(_head(name, content) + content)
                if is_durable:
                    file.flush()
                    os.fsync(file.fileno())
            unfinished.replace(self.folder / name)
            if is_durable:
                self._flush_folder()
        except OSError:
            self.statistics.write_failures_total += 1
            self.statistics.unwritten.add(name)
            with contextlib.suppress(OSError):
                unfinished.unlink()  # half of it would only take room
            raise
        self.statistics.unwritten.discard(name)

    def names(self) -> list[str]:
        """Of the files and folders that are there."""
        with contextlib.suppress(FileNotFoundError):
            return sorted(path.name for path in self.folder.iterdir())
        return []

    def inside(self, name: str) -> "StateFiles":
        """Those in a folder of this one, which is made if it is not there."""
        return StateFiles(self.folder / name, self._before_write)

    def remove(self, name: str) -> None:
        """A file, also when there is none. OSError when it stays."""
        (self.folder / name).unlink(missing_ok=True)

    def remove_folder(self, name: str) -> None:
        """With all that is in it, as far as that can be done."""
        shutil.rmtree(self.folder / name, ignore_errors=True)

    def _flush_folder(self) -> None:
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _head(name: str, content: bytes) -> bytes:
    """The name is in the digest: one file is never taken for another."""
    return MARK + hashlib.sha256(b"%b\0%b\0%b" % (MARK, name.encode(), content)).digest()
