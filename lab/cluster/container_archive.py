"""Files of a container, whether it runs, stands still or has ended: the engine reads them, with what is in its volumes, and gives them as an archive."""

import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, cast

from docker.errors import NotFound
from docker.models.containers import Container

_PIECE_BYTES = 1 << 20


def copy_files(container: Container, source: str, folder: Path) -> None:
    """The regular files directly in a folder of the container, which need not be there. The engine's own errors; OSError where the copy cannot be written, or is cut."""
    try:
        pieces, _ = container.get_archive(source, chunk_size=_PIECE_BYTES)
    except NotFound:
        return
    try:
        _unpack(pieces, folder)
    except tarfile.TarError as error:  # as of a file that has grown meanwhile
        raise OSError(f"the archive of {source} is damaged: {error}") from error


def _unpack(pieces: Iterator[bytes], folder: Path) -> None:
    with tarfile.open(fileobj=cast(IO[bytes], _Pieces(pieces)), mode="r|") as archive:
        for member in archive:
            name = PurePosixPath(member.name)
            content = archive.extractfile(member) if member.isfile() and len(name.parts) == 2 else None
            if content is not None:
                _copy(content, folder / name.name)


def _copy(content: IO[bytes], path: Path) -> None:
    with path.open("wb") as file:
        while piece := content.read(_PIECE_BYTES):
            file.write(piece)


class _Pieces:
    """A stream of pieces as a file that is read."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = iter(pieces)
        self._rest = b""

    def read(self, size: int) -> bytes:
        """So many bytes, or what is left."""
        gathered = [self._rest]
        length = len(self._rest)
        while length < size and (piece := next(self._pieces, b"")):
            gathered.append(piece)
            length += len(piece)
        whole = b"".join(gathered)
        self._rest = whole[size:]
        return whole[:size]
