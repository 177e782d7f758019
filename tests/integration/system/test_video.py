"""The lab's film through the CDN, in players of other people: every rendition, whole and from the middle, on demand and live."""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from urllib.parse import urljoin

import pytest

from lab.clients.http_client import ask
from tests.integration.system_lab import ORIGIN, Site, SystemLab, wait_until
from tests.players import Ffmpeg, chromium, chromium_version, needs_chromium, needs_ffmpeg

FILM_SECONDS = 31
FILM = f"/hls/vod/harbour-{FILM_SECONDS}s/"
"""Longer than both loops, with a last segment of one second."""
PICTURES_PER_SECOND = 25
FIRST_CHROMIUM_WITH_HLS = 142
PROFILES = {"4d": "Main", "64": "High"}
PAGE = """<!doctype html><video muted autoplay></video><script>
const video = document.querySelector("video")
const film = new URLSearchParams(location.hash.slice(1)).get("film")
const tell = what => fetch("/echo/player/" + what)
let hasJumped = false
video.onerror = () => tell("error/" + encodeURIComponent(video.error.message))
video.onended = () => tell(`ended/${video.currentTime.toFixed(1)}`)
video.ontimeupdate = () => {
  if (video.currentTime > 2 && !hasJumped) {
    hasJumped = true
    tell(`playing/${video.duration.toFixed(1)}`)
    video.currentTime = 20
  }
  if (video.currentTime > 22 && video.currentTime < 31) {
    const shown = video.getVideoPlaybackQuality()
    tell(`jumped/${video.videoWidth}/${shown.totalVideoFrames - shown.droppedVideoFrames}/${shown.corruptedVideoFrames}/${video.webkitAudioDecodedByteCount}`)
    video.ontimeupdate = null
    video.currentTime = 28
  }
}
video.src = film
</script>"""


@pytest.fixture
def site(lab: SystemLab) -> Site:
    return lab.make_site()


@pytest.fixture
def player(lab: SystemLab, site: Site) -> Ffmpeg:
    return Ffmpeg(lab.http(lab.edges()[0]), site.host)


def renditions(lab: SystemLab, site: Site, folder: str) -> list[tuple[dict[str, str], str]]:
    """Attributes and path of each, as the master playlist has them."""
    text = lab.get(lab.edges()[0], site.host, folder + "master.m3u8").body.decode()
    found = re.findall(r"#EXT-X-STREAM-INF:(.*)\n(.*)\n", text)
    assert len(found) >= 3
    return [
        (dict(re.findall(r'([A-Z-]+)="?([^",]+(?:,mp4a[^"]*)?)"?', attributes)), urljoin(folder, path))
        for attributes, path in found
    ]


@needs_ffmpeg
def test_the_master_playlist_leads_a_player_to_all_renditions(lab: SystemLab, site: Site, player: Ffmpeg) -> None:
    found = player.probe(FILM + "master.m3u8")
    promised = [int(attributes["BANDWIDTH"]) for attributes, _ in renditions(lab, site, FILM)]
    assert [int(program["tags"]["variant_bitrate"]) for program in found["programs"]] == promised
    assert float(found["format"]["duration"]) == FILM_SECONDS


@needs_ffmpeg
@pytest.mark.slow
def test_every_rendition_plays_whole_and_is_what_the_master_playlist_says(
    lab: SystemLab, site: Site, player: Ffmpeg
) -> None:
    for attributes, path in renditions(lab, site, FILM):
        picture, sound = player.probe(path)["streams"]
        assert (picture["codec_name"], sound["codec_name"], sound["profile"]) == ("h264", "aac", "LC")
        assert attributes["RESOLUTION"] == f"{picture['width']}x{picture['height']}"
        assert attributes["FRAME-RATE"] == "25.000" and picture["avg_frame_rate"] == "25/1"
        said = re.fullmatch(r"avc1\.(..)..(..),mp4a\.40\.2", attributes["CODECS"])
        assert said and PROFILES[said[1]] in picture["profile"] and int(said[2], 16) == picture["level"]
        pictures = player.decoded(path, "-map", "0:v")
        assert len(pictures) == FILM_SECONDS * PICTURES_PER_SECOND
        assert {round(after - before, 4) for (before, _), (after, _) in pairwise(pictures)} == {0.04}
        heard = player.decoded(path, "-map", "0:a")
        assert abs(len(heard) * 1_024 / 48_000 - FILM_SECONDS) < 0.05


def test_no_segment_is_faster_than_its_bandwidth(lab: SystemLab, site: Site) -> None:
    edge = lab.edges()[0]
    for attributes, path in renditions(lab, site, FILM):
        playlist = lab.get(edge, site.host, path).body.decode()
        for seconds, name in re.findall(r"#EXTINF:([\d.]+),\n(.*)\n", playlist):
            size = len(lab.get(edge, site.host, urljoin(path, name)).body)
            assert 0.99 < size * 8 / float(seconds) / int(attributes["BANDWIDTH"]) <= 1


@needs_ffmpeg
def test_from_the_middle_a_player_shows_what_it_shows_there_when_it_plays_all(player: Ffmpeg) -> None:
    path = FILM + "540p/playlist.m3u8"
    whole = player.decoded(path, "-map", "0:v")
    rest = player.decoded(path, "-map", "0:v", seek_seconds=20.0)
    assert rest and rest == whole[-len(rest) :] and 9 < len(rest) / PICTURES_PER_SECOND < 14


@needs_ffmpeg
def test_a_live_channel_plays_at_once_from_before_its_end(player: Ffmpeg) -> None:
    pictures = player.decoded("/hls/live/news/360p/playlist.m3u8", "-map", "0:v", "-frames:v", "300")
    assert len(pictures) == 300


@contextmanager
def browser(lab: SystemLab, site: Site, film: str, profile: Path) -> Iterator[None]:
    """Chromium with the page, which is content of the lab as well."""
    kind = [("content-type", "text/html")]
    stored = ask(lab.http(ORIGIN), "/bucket/pages/player.html", method="PUT", body=PAGE.encode(), headers=kind)
    assert stored.status == 200
    url = f"http://{site.host}/bucket/pages/player.html#film={film}"
    process = chromium(lab.http(lab.edges()[0]), site.host, url, profile)
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.nightly
@needs_chromium
@pytest.mark.slow
def test_a_browser_plays_jumps_and_ends(lab: SystemLab, site: Site, tmp_path: Path) -> None:
    """With its own player for HLS: pictures and sound are decoded, none is corrupt."""
    if (version := chromium_version()) < FIRST_CHROMIUM_WITH_HLS:
        pytest.skip(f"Chromium {version} has no player for HLS of its own")
    told: dict[str, list[str]] = {}

    def has_ended() -> bool:
        for request in lab.origin("GET", "/requests?path_prefix=/echo/player/")["requests"]:
            what, *values = request["target"].removeprefix("/echo/player/").split("/")
            told[what] = values
        assert "error" not in told, told
        return "ended" in told

    with browser(lab, site, FILM + "master.m3u8", tmp_path):
        wait_until(has_ended, "the film to end", timeout_seconds=60, most_pause_seconds=0.5)
    assert told["playing"] == [f"{FILM_SECONDS:.1f}"]
    width, shown, corrupt, sound_bytes = (int(value) for value in told["jumped"])
    assert width in (640, 960, 1280, 1920) and shown > 10 and corrupt == 0 and sound_bytes > 0
    assert abs(float(told["ended"][0]) - FILM_SECONDS) < 0.2
