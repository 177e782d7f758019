"""The leases on disk: a file for each, whole or not there at all, and flushed before the fault that it is about."""

import json
import os
from pathlib import Path

from lab.errors import LabError
from lab.faults.lease import Lease, lease_from_json

_ENDING, _UNFINISHED, _UNREADABLE = ".json", ".writing", ".unreadable"


class Journal:
    """Of one agent; nobody else writes there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self) -> tuple[list[Lease], list[str]]:
        """Every lease, and the names of files that are none: they are put aside. What was not finished has never been."""
        leases, unreadable = [], []
        for path in sorted(self._folder.iterdir()):
            if path.suffix == _UNFINISHED:
                path.unlink()
            elif path.suffix == _ENDING:
                try:
                    leases.append(lease_from_json(json.loads(path.read_text(encoding="utf-8"))))
                except (ValueError, KeyError, TypeError):
                    path.replace(path.with_suffix(_UNREADABLE))
                    unreadable.append(path.name)
        return sorted(leases, key=lambda lease: lease.injected_at), unreadable

    def write(self, lease: Lease) -> None:
        """On the disk when this returns; LabError when it cannot be."""
        path = self._folder / f"{lease.id}{_ENDING}"
        unfinished = path.with_suffix(_UNFINISHED)
        try:
            with unfinished.open("w", encoding="utf-8") as file:
                json.dump(lease.to_json(), file)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
            self._flush_folder()
        except OSError as error:
            raise LabError(f"the lease cannot be written to {path}: {error.strerror}") from error

    def remove(self, lease_id: str) -> None:
        """Not to be found again, not even after the power has failed."""
        try:
            (self._folder / f"{lease_id}{_ENDING}").unlink(missing_ok=True)
            self._flush_folder()
        except OSError as error:
            raise LabError(f"the lease {lease_id} cannot be removed: {error.strerror}") from error

    def _flush_folder(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
