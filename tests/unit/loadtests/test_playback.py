"""The HLS player's arithmetic."""

import pytest

from loadtests.playback import (
    STARTUP_SECONDS,
    TARGET_BUFFER_SECONDS,
    PlaybackBuffer,
    PlaylistError,
    Variant,
    choose_variant,
    estimated_throughput,
    first_sequence,
    next_segment,
    parse_master_playlist,
    parse_media_playlist,
)

MASTER = """#EXTM3U
#EXT-X-VERSION:3
#EXT-X-STREAM-INF:BANDWIDTH=6000000,AVERAGE-BANDWIDTH=5000000,RESOLUTION=1920x1080,CODECS="avc1.640028,mp4a.40.2"
1080p/playlist.m3u8

#EXT-X-STREAM-INF:AVERAGE-BANDWIDTH=1,BANDWIDTH=800000
/hls/vod/other/360p.m3u8
"""
LIVE = "#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXT-X-MEDIA-SEQUENCE:40\n" + "".join(
    f"#EXTINF:6.000,\n{number}.ts\n" for number in range(40, 46)
)


def test_a_master_playlist_gives_variants_from_low_to_high() -> None:
    assert parse_master_playlist("/hls/vod/film/master.m3u8", MASTER) == (
        Variant(800_000, "/hls/vod/other/360p.m3u8"),
        Variant(6_000_000, "/hls/vod/film/1080p/playlist.m3u8"),
    )


@pytest.mark.parametrize("text", ["", "<html>", "#EXTM3U\n", "#EXTM3U\n#EXT-X-STREAM-INF:RESOLUTION=1x1\na.m3u8"])
def test_what_is_no_master_playlist_is_refused(text: str) -> None:
    with pytest.raises(PlaylistError):
        parse_master_playlist("/m", text)


def test_a_live_player_starts_three_segments_before_the_end_and_follows_the_window() -> None:
    playlist = parse_media_playlist("/hls/live/news/360p/playlist.m3u8", LIVE)
    assert not playlist.is_complete
    assert first_sequence(playlist) == 43
    segment = next_segment(playlist, 43)
    assert segment is not None
    assert segment.path == "/hls/live/news/360p/43.ts"
    assert segment.duration_seconds == 6.0
    behind = next_segment(playlist, 12)  # slid out of the window: goes on with the oldest
    assert behind is not None
    assert behind.sequence == 40
    assert next_segment(playlist, 46) is None


def test_a_film_starts_at_its_beginning_and_ends() -> None:
    playlist = parse_media_playlist("/p.m3u8", LIVE.replace("SEQUENCE:40", "SEQUENCE:0") + "#EXT-X-ENDLIST\n")
    assert playlist.is_complete
    assert first_sequence(playlist) == 0
    assert next_segment(playlist, len(playlist.segments)) is None


def test_a_media_playlist_needs_its_target_duration() -> None:
    with pytest.raises(PlaylistError, match="TARGETDURATION"):
        parse_media_playlist("/p.m3u8", "#EXTM3U\n#EXTINF:6,\n1.ts\n")


def test_a_number_that_is_none_is_a_playlist_error() -> None:
    with pytest.raises(PlaylistError, match=r"/p\.m3u8"):
        parse_media_playlist("/p.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:six\n")


def test_throughput_is_the_harmonic_mean_of_what_is_recent() -> None:
    assert estimated_throughput([]) == 0.0
    assert estimated_throughput([2.0, 6.0]) == pytest.approx(3.0)
    assert estimated_throughput([1.0, *[8.0] * 5]) == pytest.approx(8.0)


VARIANTS = (Variant(800_000, "low"), Variant(1_800_000, "middle"), Variant(6_000_000, "high"))


@pytest.mark.parametrize(
    ("throughput", "buffered", "path"),
    [
        (0.0, 10.0, "low"),  # nothing known
        (2_000_000.0, 10.0, "low"),  # 80 % of it do not carry the middle one
        (2_300_000.0, 10.0, "middle"),
        (90_000_000.0, 10.0, "high"),
        (90_000_000.0, 1.0, "low"),  # about to run dry
    ],
)
def test_the_bit_rate_follows_throughput_and_buffer(throughput: float, buffered: float, path: str) -> None:
    assert choose_variant(VARIANTS, throughput, buffered).path == path


def test_waiting_for_the_first_picture_is_no_stall() -> None:
    buffer = PlaybackBuffer().after(30.0)
    assert (buffer.stalls, buffer.stalled_seconds, buffer.is_playing) == (0, 0.0, False)


def test_a_buffer_plays_runs_dry_once_and_recovers() -> None:
    buffer = PlaybackBuffer().with_segment(6.0)
    assert buffer.is_playing
    buffer = buffer.after(4.0)
    assert (buffer.buffered_seconds, buffer.played_seconds) == (2.0, 4.0)
    buffer = buffer.after(5.0)
    assert (buffer.stalls, buffer.stalled_seconds, buffer.played_seconds) == (1, 3.0, 6.0)
    buffer = buffer.after(2.0)  # still the same stall
    assert (buffer.stalls, buffer.stalled_seconds) == (1, 5.0)
    buffer = buffer.with_segment(STARTUP_SECONDS / 2)
    assert not buffer.is_playing
    buffer = buffer.with_segment(6.0).after(1.0)
    assert (buffer.is_playing, buffer.stalls, buffer.played_seconds) == (True, 1, 7.0)


def test_a_full_buffer_waits() -> None:
    buffer = PlaybackBuffer().with_segment(TARGET_BUFFER_SECONDS + 5.0)
    assert buffer.wait_before_next_seconds() == 5.0
    assert PlaybackBuffer().with_segment(6.0).wait_before_next_seconds() == 0.0
