"""Reads the film's files: elementary streams, cut into what is shown or heard at one moment."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

from origin.footage.renditions import RENDITIONS

FILES = Path(__file__).parent / "files"
_ACCESS_UNIT_DELIMITER = b"\x00\x00\x00\x01\x09"
_ADTS_HEADER_BYTES = 7


@dataclass(frozen=True, slots=True)
class Footage:
    """The film. After the last picture or frame comes the first again."""

    pictures: Mapping[str, tuple[bytes, ...]]
    """By rendition: coded pictures as a byte stream (H.264, annex B), each behind its delimiter; those that begin a segment need no other."""
    sound: tuple[bytes, ...]
    """Frames of AAC behind ADTS headers (ISO/IEC 14496-3, 1.A.2.2)."""
    digest: str
    """Of all bytes: other files are another film."""


def read_footage(folder: Path = FILES) -> Footage:
    """From the files that come with the origin."""
    streams = {item.name: (folder / f"{item.name}.h264").read_bytes() for item in RENDITIONS}
    sound = (folder / "sound.aac").read_bytes()
    digest = sha256(b"".join((*streams.values(), sound))).hexdigest()
    pictures = {name: tuple(split_pictures(stream)) for name, stream in streams.items()}
    return Footage(pictures, tuple(split_sound(sound)), digest)


def split_pictures(stream: bytes) -> Iterator[bytes]:
    """Access units of H.264: each begins with a delimiter (ISO/IEC 14496-10, 7.4.1.2.3)."""
    starts = []
    start = stream.find(_ACCESS_UNIT_DELIMITER)
    while start >= 0:
        starts.append(start)
        start = stream.find(_ACCESS_UNIT_DELIMITER, start + 1)
    return (stream[start:end] for start, end in pairwise((*starts, len(stream))))


def split_sound(stream: bytes) -> Iterator[bytes]:
    """Frames of AAC: each header says how long it is with its frame. ValueError where none stands."""
    position = 0
    while position < len(stream):
        header = stream[position : position + _ADTS_HEADER_BYTES]
        length = (int.from_bytes(header[3:6], "big") >> 5) & 0x1FFF
        if header[:1] != b"\xff" or length <= _ADTS_HEADER_BYTES or position + length > len(stream):
            raise ValueError(f"no frame of AAC at byte {position}")
        yield stream[position : position + length]
        position += length
