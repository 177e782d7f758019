"""HTTP Live Streaming (RFC 8216): films on demand and endless live channels, of one small film that loops, four bit rates each.

Null packets fill segments up to their bit rate, so they weigh what such segments weigh elsewhere; they are different in each segment, which tells one from another.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from origin.footage.reader import Footage
from origin.footage.renditions import PICTURES_PER_SECOND, RENDITIONS, Rendition
from origin.footage.segments import SEGMENT_SECONDS, segment_packets
from origin.messages import Generated, Insertion, Request, Response
from origin.patterns import pieces
from origin.transport_stream import PACKET_BYTES

LIVE_WINDOW_SEGMENTS = 6
# A player that is behind may still fetch what left the playlist a while ago (RFC 8216, 6.2.2 asks for at least a playlist's length).
LIVE_KEPT_SEGMENTS = 100
_SHORTEST_FILM_SEGMENTS, _LONGEST_FILM_SEGMENTS = 105, 150
_WANTED_SECONDS = re.compile(r"-([1-9][0-9]{0,4})s$", re.ASCII)
_VOD_CACHE_CONTROL = "public, max-age=31536000, immutable"
_LIVE_SEGMENT_CACHE_CONTROL = "public, max-age=3600"
_LIVE_PLAYLIST_CACHE_CONTROL = f"public, max-age={SEGMENT_SECONDS // 2}"
_PLAYLIST_TYPE = "application/vnd.apple.mpegurl"
_MAX_NAME_CHARACTERS = 100


def film_seconds(title: str) -> int:
    """How long a film is: what the end of its title says (`forest-90s`), else 10.5 to 15 minutes."""
    wanted = _WANTED_SECONDS.search(title)
    if wanted:
        return int(wanted[1])
    spread = _LONGEST_FILM_SEGMENTS - _SHORTEST_FILM_SEGMENTS + 1
    return SEGMENT_SECONDS * (
        _SHORTEST_FILM_SEGMENTS + int.from_bytes(sha256(title.encode()).digest()[:4], "big") % spread
    )


@dataclass(frozen=True, slots=True)
class Video:
    """Answers under /hls/."""

    footage: Footage

    def respond(self, request: Request, now: float) -> Response:
        """The answer to a GET or HEAD."""
        match request.path.split("/")[2:]:
            case ["vod" | "live" as kind, name, "master.m3u8"] if _is_name(name):
                return _master(kind)
            case ["vod", name, rendition, file] if _is_name(name):
                return self._film_file(name, rendition, file)
            case ["live", name, rendition, file] if _is_name(name):
                return self._live_file(name, rendition, file, now)
            case _:
                return _not_found("no-store")

    def expected_segment(self, kind: str, name: str, rendition: Rendition, number: int) -> bytes:
        """The bytes of a segment: what a checker compares with."""
        seconds = SEGMENT_SECONDS if kind == "live" else _seconds_of(number, film_seconds(name))
        return b"".join(pieces(self._segment_body(_seed(kind, name, rendition, number), rendition, number, seconds)))

    def _film_file(self, title: str, rendition_name: str, file: str) -> Response:
        rendition, length = _rendition(rendition_name), film_seconds(title)
        if rendition is None:
            return _not_found("no-store")
        if file == "playlist.m3u8":
            count = -(-length // SEGMENT_SECONDS)
            durations = [_seconds_of(number, length) for number in range(count)]
            lines = [*_media_head(0), "#EXT-X-PLAYLIST-TYPE:VOD", *_entries(0, durations), "#EXT-X-ENDLIST"]
            return _playlist(lines, _VOD_CACHE_CONTROL)
        number = _segment_number(file)
        seconds = 0 if number is None else _seconds_of(number, length)
        if number is None or seconds <= 0:
            return _not_found("no-store")
        seed = _seed("vod", title, rendition, number)
        return self._segment(seed, self._segment_body(seed, rendition, number, seconds), _VOD_CACHE_CONTROL)

    def _live_file(self, channel: str, rendition_name: str, file: str, now: float) -> Response:
        rendition, current = _rendition(rendition_name), int(now // SEGMENT_SECONDS)
        if rendition is None:
            return _not_found("no-store")
        if file == "playlist.m3u8":
            first = current - LIVE_WINDOW_SEGMENTS
            began = datetime.fromtimestamp(first * SEGMENT_SECONDS, UTC).isoformat().replace("+00:00", "Z")
            entries = _entries(first, [SEGMENT_SECONDS] * LIVE_WINDOW_SEGMENTS)
            lines = [*_media_head(first), f"#EXT-X-PROGRAM-DATE-TIME:{began}", *entries]
            return _playlist(lines, _LIVE_PLAYLIST_CACHE_CONTROL)
        number = _segment_number(file)
        if number is None or not current - LIVE_KEPT_SEGMENTS <= number < current:
            # Not produced yet, or gone: an early 404 must not stay in a cache when the segment appears.
            return _not_found("no-store")
        seed = _seed("live", channel, rendition, number)
        body = self._segment_body(seed, rendition, number, SEGMENT_SECONDS)
        return self._segment(seed, body, _LIVE_SEGMENT_CACHE_CONTROL)

    def _segment_body(self, seed: str, rendition: Rendition, number: int, seconds: int) -> Generated:
        packets = segment_packets(self.footage, rendition.name, number, seconds)
        total = rendition.packets_in(seconds)
        return Generated(seed, total * PACKET_BYTES, insertion=Insertion(packets, total))

    def _segment(self, seed: str, body: Generated, cache_control: str) -> Response:
        tag = sha256(f"{self.footage.digest}/{seed}".encode()).hexdigest()[:16]
        headers = (("Content-Type", "video/mp2t"), ("Cache-Control", cache_control), ("ETag", f'"{tag}"'))
        return Response(200, headers, body, accepts_ranges=True)


def _seconds_of(number: int, length: int) -> int:
    """How long segment `number` of a film is: the last may be shorter, and behind it there is nothing left."""
    return min(SEGMENT_SECONDS, length - number * SEGMENT_SECONDS)


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
    lines = ["#EXT-X-INDEPENDENT-SEGMENTS"]
    for item in RENDITIONS:
        bandwidth, size = f"BANDWIDTH={item.bits_per_second}", f"RESOLUTION={item.width}x{item.height}"
        rest = f'FRAME-RATE={PICTURES_PER_SECOND:.3f},CODECS="{item.codecs}"'
        lines += [f"#EXT-X-STREAM-INF:{bandwidth},{size},{rest}", f"{item.name}/playlist.m3u8"]
    return _playlist(lines, _VOD_CACHE_CONTROL if kind == "vod" else "public, max-age=60")


def _rendition(name: str) -> Rendition | None:
    return next((item for item in RENDITIONS if item.name == name), None)


def _media_head(first: int) -> list[str]:
    return [f"#EXT-X-TARGETDURATION:{SEGMENT_SECONDS}", f"#EXT-X-MEDIA-SEQUENCE:{first}"]


def _entries(first: int, durations: list[int]) -> list[str]:
    numbered = enumerate(durations, start=first)
    return [line for number, seconds in numbered for line in (f"#EXTINF:{seconds:.3f},", f"{number}.ts")]


def _segment_number(file: str) -> int | None:
    stem = file.removesuffix(".ts")
    is_number = stem != file and stem.isascii() and stem.isdigit() and len(stem) <= 12 and str(int(stem)) == stem
    return int(stem) if is_number else None
