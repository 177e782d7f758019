"""Profile `video`: an HLS player (RFC 8216) that adapts its bit rate and counts the stalls that its viewer sees.

One step is one request of the player: the master playlist, a media playlist, or a segment. The arithmetic is in
playback.py. Two of three sessions watch on demand, one watches live.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from loadtests import playback
from loadtests.connection import Request, Response
from loadtests.playback import (
    MediaPlaylist,
    PlaybackBuffer,
    PlaylistError,
    Segment,
    Variant,
    parse_master_playlist,
    parse_media_playlist,
)
from loadtests.users import ViewerUser
from loadtests.workload import RegionalPopularity

VOD_TITLES = ("mountains", "harbour", "forest", "night")
LIVE_CHANNEL = "news"
LIVE_SHARE = 1 / 3
# People zap: nobody in a short run watches to the end.
MEAN_SESSION_SECONDS = 30.0


@dataclass(slots=True)
class Session:
    """What the player knows of the title that it plays."""

    master_path: str
    ends_after_seconds: float
    # Seconds of video that go by in one of the run; a live channel cannot be watched faster than it happens.
    speed: float
    buffer: PlaybackBuffer = field(default_factory=PlaybackBuffer)
    buffer_as_of: float = 0.0
    variants: tuple[Variant, ...] = ()
    playlists: dict[str, MediaPlaylist] = field(default_factory=dict)
    next_sequence: int | None = None
    samples: list[float] = field(default_factory=list)

    @property
    def variant(self) -> Variant:
        throughput = playback.estimated_throughput(self.samples)
        return playback.choose_variant(self.variants, throughput, self.buffer.buffered_seconds)


class VideoUser(ViewerUser):
    """Watches one title after another."""

    profile = "video"
    weight = 1

    def __init__(self, environment: object) -> None:
        super().__init__(environment)
        self._popularity = RegionalPopularity(len(VOD_TITLES), self.population.region)
        self._begin_session()

    def _begin_session(self) -> None:
        is_live = self.rng.random() < LIVE_SHARE
        title = LIVE_CHANNEL if is_live else VOD_TITLES[self._popularity.pick(self.rng)]
        path = f"/hls/{'live' if is_live else 'vod'}/{title}/master.m3u8"
        length = self.rng.expovariate(1 / MEAN_SESSION_SECONDS)
        self._playing = Session(path, length, 1.0 if is_live else self.pace)

    def step(self) -> None:
        playing = self._playing
        if playing.variants:
            self._let_play(playing, time.monotonic())
        if not playing.variants:
            self._load_master(playing)
        else:
            self._play_on(playing)
        if playing.buffer.played_seconds >= playing.ends_after_seconds:
            self._stop_watching()

    def _stop_watching(self) -> None:
        self.new_viewer()
        self._begin_session()
        self.continue_after(self.rng.expovariate(1.0))

    def _load_master(self, playing: Session) -> None:
        text = self._fetch_playlist(playing.master_path, "/hls/master.m3u8", parse_master_playlist)
        if text is None:
            self.continue_after(1.0)
            return
        playing.variants = parse_master_playlist(playing.master_path, text)
        playing.buffer_as_of = time.monotonic()
        self.continue_after(0.0)

    def _play_on(self, playing: Session) -> None:
        variant = playing.variant
        playlist = playing.playlists.get(variant.path)
        segment = self._segment_in(playlist, playing) if playlist is not None else None
        if playlist is None or (segment is None and not playlist.is_complete):
            self._load_media_playlist(playing, variant)
        elif segment is None:
            self._stop_watching()  # the end of the title
        else:
            self._load_segment(playing, segment)

    def _segment_in(self, playlist: MediaPlaylist, playing: Session) -> Segment | None:
        if playing.next_sequence is None:
            playing.next_sequence = playback.first_sequence(playlist)
        return playback.next_segment(playlist, playing.next_sequence)

    def _load_media_playlist(self, playing: Session, variant: Variant) -> None:
        known = playing.playlists.get(variant.path)
        text = self._fetch_playlist(variant.path, "/hls/media.m3u8", parse_media_playlist)
        if text is None:
            self.continue_after(1.0)
            return
        playlist = parse_media_playlist(variant.path, text)
        playing.playlists[variant.path] = playlist
        # RFC 8216 section 6.3.4: half a target duration when the playlist has not changed, else at once what is in it.
        is_unchanged = known is not None and known.segments == playlist.segments
        self.continue_after(playlist.target_duration_seconds / 2 if is_unchanged else 0.0)

    def _fetch_playlist(self, path: str, name: str, parse: Callable[[str, str], object]) -> str | None:
        """The text of a playlist that can be parsed; what cannot is a failure."""

        def find_fault(response: Response) -> str:
            try:
                parse(path, response.body.decode(errors="replace"))
            except PlaylistError as error:
                return str(error)
            return ""

        response = self.fetch(Request(path), name, self.intended_start, find_fault).usable
        return response.body.decode() if response is not None else None

    def _load_segment(self, playing: Session, segment: Segment) -> None:
        started = time.monotonic()
        response = self.fetch(Request(segment.path, keeps_body=False), "/hls/segment", self.intended_start).usable
        now = time.monotonic()
        self._let_play(playing, now)
        if response is None:
            self.continue_after(0.5)
            return
        playing.samples.append(response.received_bytes * 8 / max(now - started, 1e-6))
        del playing.samples[: -playback.THROUGHPUT_MEMORY]
        playing.buffer = playing.buffer.with_segment(segment.duration_seconds)
        playing.next_sequence = segment.sequence + 1
        self.continue_after(playing.buffer.wait_before_next_seconds())

    def _let_play(self, playing: Session, now: float) -> None:
        stalls_before = playing.buffer.stalls
        playing.buffer = playing.buffer.after((now - playing.buffer_as_of) * playing.speed)
        playing.buffer_as_of = now
        self.report_stalls(playing.buffer.stalls - stalls_before)

    tasks = [step]  # noqa: RUF012  # Locust reads and may rewrite this list on the class
