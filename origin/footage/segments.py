"""Which pictures and which sound belong to a segment of an endless showing of the film, and when each is due."""

from origin.footage.reader import Footage
from origin.footage.renditions import (
    PICTURES_PER_SECOND,
    SAMPLES_PER_SOUND_FRAME,
    SOUND_SAMPLES_PER_SECOND,
)
from origin.transport_stream import TICKS_PER_SECOND, Unit, multiplex

SEGMENT_SECONDS = 6
_PICTURES_PER_SEGMENT = SEGMENT_SECONDS * PICTURES_PER_SECOND
_TICKS_PER_PICTURE = TICKS_PER_SECOND // PICTURES_PER_SECOND
_TICKS_PER_SOUND_FRAME = SAMPLES_PER_SOUND_FRAME * TICKS_PER_SECOND // SOUND_SAMPLES_PER_SECOND
# One packet of a transport stream has room for two or three frames of 64 bytes; two packets are filled well by five.
_SOUND_FRAMES_PER_UNIT = 5


def segment_packets(footage: Footage, rendition: str, number: int, seconds: int) -> bytes:
    """Segment `number` from 0, of so many seconds, as packets of a transport stream."""
    start = number * SEGMENT_SECONDS * TICKS_PER_SECOND
    ticks = range(start, start + seconds * TICKS_PER_SECOND)
    return multiplex(_pictures(footage.pictures[rendition], ticks), _sound(footage.sound, ticks), ticks)


def _pictures(loop: tuple[bytes, ...], ticks: range) -> list[Unit]:
    numbers = range(ticks.start // _TICKS_PER_PICTURE, ticks.stop // _TICKS_PER_PICTURE)
    return [
        Unit(loop[number % len(loop)], number * _TICKS_PER_PICTURE, number % _PICTURES_PER_SEGMENT == 0)
        for number in numbers
    ]


def _sound(loop: tuple[bytes, ...], ticks: range) -> list[Unit]:
    """The frames that begin in the segment: frames do not end where segments do."""
    first, end = (-(-tick // _TICKS_PER_SOUND_FRAME) for tick in (ticks.start, ticks.stop))
    return [
        Unit(
            b"".join(loop[number % len(loop)] for number in range(group, min(group + _SOUND_FRAMES_PER_UNIT, end))),
            group * _TICKS_PER_SOUND_FRAME,
        )
        for group in range(first, end, _SOUND_FRAMES_PER_UNIT)
    ]
