"""An HLS player's arithmetic: playlists (RFC 8216), the choice of a bit rate, the playback buffer and its stalls.

Pure: it is told how long a segment took and answers what the viewer on the sofa saw. Fetching is video.py's.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from urllib.parse import urljoin

# Leaves room for the estimate to be wrong, as dash.js and Shaka do.
THROUGHPUT_SAFETY = 0.8
# Segments that the estimate remembers; a harmonic mean over few follows a change within one buffer.
THROUGHPUT_MEMORY = 5
STARTUP_SECONDS = 2.0
TARGET_BUFFER_SECONDS = 12.0
# Below this the player steps down whatever the estimate says: a stall costs more than sharpness.
PANIC_BUFFER_SECONDS = 2.0
# RFC 8216 section 6.3.3: a live player should not start less than three target durations from the end.
LIVE_EDGE_SEGMENTS = 3

_BANDWIDTH = re.compile(r"[:,]BANDWIDTH=(\d+)")


class PlaylistError(ValueError):
    """The text is not a playlist that a player could play."""


@dataclass(frozen=True, slots=True)
class Variant:
    bandwidth_bits_per_second: int
    path: str


@dataclass(frozen=True, slots=True)
class Segment:
    sequence: int
    duration_seconds: float
    path: str


@dataclass(frozen=True, slots=True)
class MediaPlaylist:
    target_duration_seconds: float
    segments: tuple[Segment, ...]
    is_complete: bool


def parse_master_playlist(path: str, text: str) -> tuple[Variant, ...]:
    """Variants from the lowest bit rate to the highest (RFC 8216 section 4.3.4.2)."""
    lines = _playlist_lines(text)
    variants = []
    for line, following in pairwise(lines):
        if line.startswith("#EXT-X-STREAM-INF:") and not following.startswith("#"):
            bandwidth = _BANDWIDTH.search(line.replace("#EXT-X-STREAM-INF", ""))
            if bandwidth is None:
                raise PlaylistError(f"{path}: EXT-X-STREAM-INF without BANDWIDTH")
            variants.append(Variant(int(bandwidth.group(1)), urljoin(path, following)))
    if not variants:
        raise PlaylistError(f"{path}: no variants")
    return tuple(sorted(variants, key=lambda variant: variant.bandwidth_bits_per_second))


def parse_media_playlist(path: str, text: str) -> MediaPlaylist:
    try:
        return _parse_media_playlist(path, text)
    except ValueError as error:
        raise PlaylistError(f"{path}: {error}") from error


def _parse_media_playlist(path: str, text: str) -> MediaPlaylist:
    target_duration, sequence, duration = 0.0, 0, 0.0
    segments: list[Segment] = []
    is_complete = False
    for line in _playlist_lines(text):
        tag, _, value = line.partition(":")
        if tag == "#EXT-X-TARGETDURATION":
            target_duration = float(value)
        elif tag == "#EXT-X-MEDIA-SEQUENCE":
            sequence = int(value)
        elif tag == "#EXTINF":
            duration = float(value.split(",")[0])
        elif tag == "#EXT-X-ENDLIST":
            is_complete = True
        elif not line.startswith("#"):
            segments.append(Segment(sequence + len(segments), duration, urljoin(path, line)))
    if target_duration <= 0:
        raise PlaylistError("no EXT-X-TARGETDURATION")
    return MediaPlaylist(target_duration, tuple(segments), is_complete)


def _playlist_lines(text: str) -> list[str]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines or lines[0] != "#EXTM3U":
        raise PlaylistError("a playlist begins with #EXTM3U")
    return lines


def first_sequence(playlist: MediaPlaylist) -> int:
    """Where playback begins: at the start on demand, three segments before the end when live."""
    if not playlist.segments:
        return 0
    position = 0 if playlist.is_complete else max(0, len(playlist.segments) - LIVE_EDGE_SEGMENTS)
    return playlist.segments[position].sequence


def next_segment(playlist: MediaPlaylist, sequence: int) -> Segment | None:
    """The segment to fetch; the oldest one left when `sequence` has slid out of a live window; None at the end."""
    return next((segment for segment in playlist.segments if segment.sequence >= sequence), None)


def estimated_throughput(samples_bits_per_second: Sequence[float]) -> float:
    """Harmonic mean of the last segments: one slow segment weighs more than one fast one. Zero when nothing is known."""
    recent = [sample for sample in samples_bits_per_second[-THROUGHPUT_MEMORY:] if sample > 0]
    return len(recent) / sum(1 / sample for sample in recent) if recent else 0.0


def choose_variant(variants: Sequence[Variant], throughput_bits_per_second: float, buffered_seconds: float) -> Variant:
    """The sharpest that the estimate carries; the lowest while nothing is known or the buffer is about to run dry."""
    if buffered_seconds < PANIC_BUFFER_SECONDS:
        return variants[0]
    budget = throughput_bits_per_second * THROUGHPUT_SAFETY
    affordable = [variant for variant in variants if variant.bandwidth_bits_per_second <= budget]
    return affordable[-1] if affordable else variants[0]


@dataclass(frozen=True, slots=True)
class PlaybackBuffer:
    """Seconds of video in hand. Playback starts at STARTUP_SECONDS, stalls when dry, resumes at STARTUP_SECONDS."""

    buffered_seconds: float = 0.0
    is_playing: bool = False
    has_started: bool = False
    played_seconds: float = 0.0
    stalls: int = 0
    stalled_seconds: float = 0.0

    def after(self, elapsed_seconds: float) -> "PlaybackBuffer":
        """The world moved on; waiting before the first picture is start-up, not a stall."""
        if not self.is_playing:
            waited = elapsed_seconds if self.has_started else 0.0
            return replace(self, stalled_seconds=self.stalled_seconds + waited)
        if elapsed_seconds <= self.buffered_seconds:
            left = self.buffered_seconds - elapsed_seconds
            return replace(self, buffered_seconds=left, played_seconds=self.played_seconds + elapsed_seconds)
        return replace(
            self,
            buffered_seconds=0.0,
            is_playing=False,
            played_seconds=self.played_seconds + self.buffered_seconds,
            stalls=self.stalls + 1,
            stalled_seconds=self.stalled_seconds + elapsed_seconds - self.buffered_seconds,
        )

    def with_segment(self, duration_seconds: float) -> "PlaybackBuffer":
        buffered = self.buffered_seconds + duration_seconds
        is_playing = self.is_playing or buffered >= STARTUP_SECONDS
        return replace(
            self, buffered_seconds=buffered, is_playing=is_playing, has_started=self.has_started or is_playing
        )

    def wait_before_next_seconds(self) -> float:
        """How long a player idles because enough is in hand."""
        return max(0.0, self.buffered_seconds - TARGET_BUFFER_SECONDS) if self.is_playing else 0.0
