"""Files that survive kill -9: a reader finds the old content or the new, whole, or learns that there is none.

Written beside, flushed, renamed over, and the folder flushed. A checksum stands in front of the content, because a file
system may keep the name and lose the bytes, and protobuf reads many damaged messages without complaint.
What is in them is the business of `applier`.
"""

import hashlib
import os
from pathlib import Path
from typing import Final

_DIGEST_BYTES: Final = hashlib.sha256().digest_size


class StateFiles:
    """The files in one folder that belongs to this process alone. Every method may raise OSError."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def read(self, name: str) -> bytes | None:
        """The content; None when it was never written, or is damaged."""
        try:
            stored = (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None
        digest, content = stored[:_DIGEST_BYTES], stored[_DIGEST_BYTES:]
        return content if hashlib.sha256(content).digest() == digest else None

    def write(self, name: str, content: bytes) -> None:
        """Replace the content; durable when it returns."""
        unfinished = self._folder / f"{name}.unfinished"
        with unfinished.open("wb") as file:
            file.write(hashlib.sha256(content).digest() + content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(self._folder / name)
        self._flush_folder()

    def _flush_folder(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
