"""The ladder of bit rates: what playlists promise, and what `make` encodes by."""

from dataclasses import dataclass

from origin.transport_stream import PACKET_BYTES


@dataclass(frozen=True, slots=True)
class Rendition:
    """One bit rate of a stream. Pictures and sound need a small part of it; null packets are the rest, so that segments weigh what they do in the field."""

    name: str
    bits_per_second: int
    width: int
    height: int
    codecs: str
    """RFC 6381; of H.264 the profile, its constraints and the level as they stand in the stream, two hexadecimal digits each."""

    def packets_in(self, seconds: int) -> int:
        """Whole packets of a transport stream in so many seconds, at most what the bit rate allows."""
        return self.bits_per_second * seconds // 8 // PACKET_BYTES


RENDITIONS = (
    Rendition("360p", 800_000, 640, 360, "avc1.4d401e,mp4a.40.2"),
    Rendition("540p", 1_800_000, 960, 540, "avc1.4d401f,mp4a.40.2"),
    Rendition("720p", 3_200_000, 1280, 720, "avc1.4d401f,mp4a.40.2"),
    Rendition("1080p", 6_000_000, 1920, 1080, "avc1.640028,mp4a.40.2"),
)
PICTURES_PER_SECOND = 25
SOUND_SAMPLES_PER_SECOND = 48_000
SAMPLES_PER_SOUND_FRAME = 1_024
"""Of AAC (ISO/IEC 14496-3)."""
PICTURE_LOOP_SECONDS = 12
SOUND_LOOP_SECONDS = 24
"""The shortest that is a whole number of frames and of segments."""
