"""HTTP Live Streaming (RFC 8216), generated: films on demand and endless live channels, four bit rates each.

Segments are null packets in valid transport stream framing, sized by the bit rate: real for caches and players' buffers, black to the eye.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from origin.messages import Generated, Pattern, Request, Response
from origin.patterns import PACKET_BYTES, read

SEGMENT_SECONDS = 6
LIVE_WINDOW_SEGMENTS = 6
# A player that is behind may still fetch what left the playlist a while ago (RFC 8216, 6.2.2 asks for at least a playlist's length).
LIVE_KEPT_SEGMENTS = 100
_SHORTEST_FILM_SEGMENTS, _LONGEST_FILM_SEGMENTS = 105, 150
_VOD_CACHE_CONTROL = "public, max-age=31536000, immutable"
_LIVE_SEGMENT_CACHE_CONTROL = "public, max-age=3600"
_LIVE_PLAYLIST_CACHE_CONTROL = f"public, max-age={SEGMENT_SECONDS // 2}"
_PLAYLIST_TYPE = "application/vnd.apple.mpegurl"
_MAX_NAME_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class Rendition:
    """One bit rate of a stream."""

    name: str
    bits_per_second: int
    resolution: str
    codecs: str

    @property
    def segment_bytes(self) -> int:
        """Whole packets for one segment's seconds."""
        return self.bits_per_second * SEGMENT_SECONDS // 8 // PACKET_BYTES * PACKET_BYTES


RENDITIONS = (
    Rendition("360p", 800_000, "640x360", "avc1.4d401e,mp4a.40.2"),
    Rendition("540p", 1_800_000, "960x540", "avc1.4d401f,mp4a.40.2"),
    Rendition("720p", 3_200_000, "1280x720", "avc1.4d401f,mp4a.40.2"),
    Rendition("1080p", 6_000_000, "1920x1080", "avc1.640028,mp4a.40.2"),
)


def respond(request: Request, now: float) -> Response:
    """The answer to a GET or HEAD under /hls/."""
    match request.path.split("/")[2:]:
        case ["vod" | "live" as kind, name, "master.m3u8"] if _is_name(name):
            return _master(kind)
        case ["vod", name, rendition, file] if _is_name(name):
            return _film_file(name, rendition, file)
        case ["live", name, rendition, file] if _is_name(name):
            return _live_file(name, rendition, file, now)
        case _:
            return _not_found("no-store")


def film_segments(title: str) -> int:
    """How many segments a film has: 10.5 to 15 minutes."""
    spread = _LONGEST_FILM_SEGMENTS - _SHORTEST_FILM_SEGMENTS + 1
    return _SHORTEST_FILM_SEGMENTS + int.from_bytes(sha256(title.encode()).digest()[:4], "big") % spread


def expected_segment(kind: str, name: str, rendition: Rendition, number: int) -> bytes:
    """The bytes of a segment: what a checker compares with."""
    return read(_seed(kind, name, rendition, number), 0, rendition.segment_bytes, Pattern.TRANSPORT_STREAM)


def _is_name(name: str) -> bool:
    return 0 < len(name) <= _MAX_NAME_CHARACTERS


def _seed(kind: str, name: str, rendition: Rendition, number: int) -> str:
    return f"hls/{kind}/{name}/{rendition.name}/{number}"


def _not_found(cache_control: str) -> Response:
    return Response(
        404, (("Content-Type", "text/plain"), ("Cache-Control", cache_control)), b"there is no such stream\n"
    )


def _playlist(lines: list[str], cache_control: str) -> Response:
    body = "\n".join(["#EXTM3U", "#EXT-X-VERSION:3", *lines, ""]).encode()
    tag = sha256(body).hexdigest()[:16]
    headers = (("Content-Type", _PLAYLIST_TYPE), ("Cache-Control", cache_control), ("ETag", f'"{tag}"'))
    return Response(200, headers, body, accepts_ranges=True)


def _master(kind: str) -> Response:
    lines = []
    for item in RENDITIONS:
        attributes = f'BANDWIDTH={item.bits_per_second},RESOLUTION={item.resolution},CODECS="{item.codecs}"'
        lines += [f"#EXT-X-STREAM-INF:{attributes}", f"{item.name}/playlist.m3u8"]
    return _playlist(lines, _VOD_CACHE_CONTROL if kind == "vod" else "public, max-age=60")


def _rendition(name: str) -> Rendition | None:
    return next((item for item in RENDITIONS if item.name == name), None)


def _film_file(title: str, rendition_name: str, file: str) -> Response:
    rendition, count = _rendition(rendition_name), film_segments(title)
    if rendition is None:
        return _not_found("no-store")
    if file == "playlist.m3u8":
        return _playlist(
            [*_media_head(0), "#EXT-X-PLAYLIST-TYPE:VOD", *_entries(range(count)), "#EXT-X-ENDLIST"], _VOD_CACHE_CONTROL
        )
    number = _segment_number(file)
    if number is None or number >= count:
        return _not_found("no-store")
    return _segment("vod", title, rendition, number)


def _live_file(channel: str, rendition_name: str, file: str, now: float) -> Response:
    rendition, current = _rendition(rendition_name), int(now // SEGMENT_SECONDS)
    if rendition is None:
        return _not_found("no-store")
    if file == "playlist.m3u8":
        first = current - LIVE_WINDOW_SEGMENTS
        began = datetime.fromtimestamp(first * SEGMENT_SECONDS, UTC).isoformat().replace("+00:00", "Z")
        lines = [*_media_head(first), f"#EXT-X-PROGRAM-DATE-TIME:{began}", *_entries(range(first, current))]
        return _playlist(lines, _LIVE_PLAYLIST_CACHE_CONTROL)
    number = _segment_number(file)
    if number is None or not current - LIVE_KEPT_SEGMENTS <= number < current:
        # Not produced yet, or gone: an early 404 must not stay in a cache when the segment appears.
        return _not_found("no-store")
    return _segment("live", channel, rendition, number)


def _media_head(first: int) -> list[str]:
    return [f"#EXT-X-TARGETDURATION:{SEGMENT_SECONDS}", f"#EXT-X-MEDIA-SEQUENCE:{first}"]


def _entries(numbers: range) -> list[str]:
    return [line for number in numbers for line in (f"#EXTINF:{SEGMENT_SECONDS:.3f},", f"{number}.ts")]


def _segment_number(file: str) -> int | None:
    stem = file.removesuffix(".ts")
    is_number = stem != file and stem.isascii() and stem.isdigit() and len(stem) <= 12 and str(int(stem)) == stem
    return int(stem) if is_number else None


def _segment(kind: str, name: str, rendition: Rendition, number: int) -> Response:
    seed = _seed(kind, name, rendition, number)
    headers = (
        ("Content-Type", "video/mp2t"),
        ("Cache-Control", _VOD_CACHE_CONTROL if kind == "vod" else _LIVE_SEGMENT_CACHE_CONTROL),
        ("ETag", f'"{sha256(seed.encode()).hexdigest()[:16]}"'),
    )
    body = Generated(seed, rendition.segment_bytes, pattern=Pattern.TRANSPORT_STREAM)
    return Response(200, headers, body, accepts_ranges=True)
