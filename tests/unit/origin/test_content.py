"""The website, the API, downloads and video: what a browser, a client and a player rely on."""

import base64
import json
import re
import struct
import zlib
from dataclasses import replace
from typing import Any

import pytest
import vl_convert

from origin import downloads, hls, images
from origin.bucket import BucketStore
from origin.conditions import apply_conditions
from origin.footage.reader import read_footage
from origin.footage.renditions import RENDITIONS, Rendition
from origin.footage.segments import SEGMENT_SECONDS
from origin.messages import BodyRule, Generated, Response
from origin.patterns import pieces
from origin.scenarios import KINDS, Scenarios, body_rule, kind_of
from origin.website import Website
from tests.origin_builders import a_get, a_request

_NOW = 1_800_000_003.5
_FOOTAGE = read_footage()


def answer(method: str, target: str, *headers: tuple[str, str], body: bytes = b"", now: float = _NOW) -> Response:
    request = a_request(method, target, *headers, body=body)
    return apply_conditions(request, Scenarios(BucketStore(), _FOOTAGE).respond(request, kind_of(request.path), now, 1))


def get(target: str, *headers: tuple[str, str], now: float = _NOW) -> Response:
    return answer("GET", target, *headers, now=now)


def body_of(response: Response) -> bytes:
    if isinstance(response.body, Generated):
        return b"".join(pieces(response.body))
    return bytes(response.body)


def json_of(response: Response) -> Any:
    return json.loads(body_of(response))


# The website


@pytest.mark.parametrize("page", ["/", "/index.html", "/pages/1.html", "/pages/200.html"])
def test_everything_a_page_refers_to_is_there(page: str) -> None:
    site = Website()
    html = body_of(site.respond(a_get(page))).decode()
    references = re.findall(r'(?:href|src)="([^"]+)"', html)
    assert len([reference for reference in references if reference.startswith("/images/")]) >= 1
    assert {site.respond(a_get(reference)).status for reference in references} == {200}


def test_a_page_shows_several_images_a_style_sheet_and_a_script() -> None:
    html = body_of(get("/pages/7.html")).decode()
    assert len(re.findall(r"<img ", html)) >= 3
    assert re.search(r'href="/assets/site-[0-9a-f]{12}\.css"', html)
    assert re.search(r'src="/assets/app-[0-9a-f]{12}\.js"', html)


def test_two_origins_serve_the_same_site() -> None:
    for target in ("/", "/pages/3.html", "/images/9.jpg"):
        assert get(target) == get(target)  # each of them from an origin of its own


def test_lifetimes_are_those_of_a_real_site() -> None:
    style = re.findall(r'href="(/assets/[^"]+)"', body_of(get("/")).decode())[0]
    assert get(style).header("cache-control") == "public, max-age=31536000, immutable"
    assert get("/pages/1.html").header("cache-control") == "public, max-age=60"
    assert get("/images/1.svg").header("cache-control") == "public, max-age=86400"


@pytest.mark.parametrize(
    "target", ["/pages/0.html", "/pages/201.html", "/pages/01.html", "/images/1.gif", "/nothing", "/assets/x.css"]
)
def test_what_is_not_there_is_404(target: str) -> None:
    assert get(target).status == 404


@pytest.mark.parametrize("number", [1, 2, 3, 50])
def test_images_have_realistic_sizes(number: int) -> None:
    for extension in ("png", "jpg", "svg"):
        assert 2 << 10 <= len(body_of(get(f"/images/{number}.{extension}"))) <= 201 << 10


def test_a_png_has_the_wanted_size_and_valid_chunks() -> None:
    picture = images.png("a", 50_000)
    assert len(picture) == 50_000
    position, kinds = 8, []
    while position < len(picture):
        (length,) = struct.unpack_from(">I", picture, position)
        data = picture[position + 4 : position + 8 + length]
        assert struct.unpack_from(">I", picture, position + 8 + length) == (zlib.crc32(data),)
        kinds.append(data[:4])
        position += length + 12
    assert kinds == [b"IHDR", b"IDAT", b"paDd", b"IEND"]


@pytest.mark.parametrize(("build", "kind"), [(images.png, "png"), (images.jpeg, "jpeg")])
def test_a_renderer_shows_the_picture(build: Any, kind: str) -> None:
    """Differently coloured for different seeds, so that it was really decoded and not left out."""

    def rendered(seed: str) -> bytes:
        data = base64.b64encode(build(seed, 9_000)).decode()
        link = f'<image href="data:image/{kind};base64,{data}" width="40" height="40"/>'
        picture: bytes = vl_convert.svg_to_png(
            f'<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40">{link}</svg>'
        )
        return picture

    empty = vl_convert.svg_to_png('<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40"></svg>')
    assert len({empty, rendered("a"), rendered("b"), rendered("c")}) == 4


def test_a_jpeg_of_any_size() -> None:
    for size in (2_048, 70_000, 200_000):
        assert abs(len(images.jpeg("a", size)) - size) <= 4


# The API


def test_products_come_in_pages_and_sorted() -> None:
    first, second = json_of(get("/api/products")), json_of(get("/api/products?page=2"))
    assert [item["id"] for item in first["products"] + second["products"]] == list(range(1, 41))
    prices = [item["price"] for item in json_of(get("/api/products?sort=-price"))["products"]]
    assert prices == sorted(prices, reverse=True)
    assert get("/api/products").header("cache-control") == "public, max-age=10"


@pytest.mark.parametrize("target", ["/api/products?page=0", "/api/products?page=x", "/api/products?sort=colour"])
def test_wrong_parameters_are_400(target: str) -> None:
    assert get(target).status == 400


def test_a_product_and_none() -> None:
    assert json_of(get("/api/products/17"))["id"] == 17
    assert get("/api/products/501").status == 404 and get("/api/nothing").status == 404


def test_me_is_private_and_different_for_each() -> None:
    anna = get("/api/me", ("Authorization", "Bearer anna"))
    ben = get("/api/me", ("Cookie", "theme=dark; session=ben"))
    assert json_of(anna)["credentials"] == "anna" and json_of(ben)["credentials"] == "ben"
    assert json_of(anna)["user"] != json_of(ben)["user"]
    assert anna.header("cache-control") == "private, no-store"


@pytest.mark.parametrize("header", [("Cookie", "theme=dark"), ("Cookie", "session="), ("Authorization", "Bearer")])
def test_me_without_credentials_is_401(header: tuple[str, str]) -> None:
    response = get("/api/me", header)
    assert response.status == 401 and response.header("www-authenticate")


def test_the_cart_echoes_json_only() -> None:
    response = answer("POST", "/api/cart", body=b'{"id": 3}')
    assert response.status == 201 and json_of(response)["received"] == {"id": 3}
    assert answer("POST", "/api/cart", body=b"{").status == 400


def test_the_time_revalidates_within_a_second_and_changes_after() -> None:
    tag = get("/api/time").header("etag")
    assert tag is not None
    assert get("/api/time", ("If-None-Match", tag), now=_NOW + 0.4).status == 304
    assert get("/api/time", ("If-None-Match", tag), now=_NOW + 0.5).status == 200


# Methods


def test_methods() -> None:
    assert answer("DELETE", "/pages/1.html").status == 405
    assert answer("GET", "/api/cart").header("allow") == "POST, OPTIONS"
    assert answer("OPTIONS", "/download/1KiB.bin").header("allow") == "GET, HEAD, OPTIONS"
    assert answer("CONNECT", "host:443").status == 405


@pytest.mark.parametrize(
    ("method", "path", "rule"),
    [
        ("PUT", "/bucket/b/k", BodyRule(True, 64 << 20)),
        ("POST", "/api/cart", BodyRule(True, 65_536)),
        ("POST", "/echo/x", BodyRule(False, None)),
    ],
)
def test_only_bodies_that_are_used_are_kept(method: str, path: str, rule: BodyRule) -> None:
    assert body_rule(method, path) == rule


def test_every_kind_has_a_counter() -> None:
    paths = ("/", "/api/x", "/bucket/x", "/download/x", "/echo/x", "/hls/x", "/misbehave/x", "/a", "*", "")
    assert {kind_of(path) for path in paths} <= set(KINDS)


# Downloads


@pytest.mark.parametrize(
    ("target", "length"),
    [
        ("/download/10MiB.bin", 10 << 20),
        ("/download/1GiB.bin", 1 << 30),
        ("/download/5GiB.bin", 5 << 30),
        ("/download/setup.exe?size=3MB", 3_000_000),
        ("/download/0.bin", 0),
    ],
)
def test_downloads_are_as_long_as_they_say(target: str, length: int) -> None:
    response = get(target)
    assert len(response.body) == length and response.header("etag") and response.header("last-modified")


def test_a_range_far_in_holds_the_expected_bytes() -> None:
    offset = (4 << 30) + 12_345
    response = get("/download/5GiB.bin", ("Range", f"bytes={offset}-{offset + 999}"))
    assert response.status == 206 and body_of(response) == downloads.expected_bytes("5GiB.bin", offset, 1_000)


def test_versions_differ_in_content_and_validators() -> None:
    first, second = get("/download/1KiB.bin"), get("/download/1KiB.bin?v=2")
    assert body_of(first) == downloads.expected_bytes("1KiB.bin", 0, 1_024)
    assert body_of(second) == downloads.expected_bytes("1KiB.bin", 0, 1_024, version=2) != body_of(first)
    assert first.header("etag") != second.header("etag") and first.header("last-modified") != second.header(
        "last-modified"
    )


@pytest.mark.parametrize(
    ("target", "status"), [("/download/x", 404), ("/download/x?size=2PiB", 400), ("/download/1KiB.bin?v=0", 400)]
)
def test_wrong_downloads(target: str, status: int) -> None:
    assert get(target).status == status


@pytest.mark.parametrize(
    ("text", "size"), [("1", 1), ("2KiB", 2_048), ("2kb", 2_000), ("1TiB", 1 << 40), ("-1", None), ("", None)]
)
def test_sizes(text: str, size: int | None) -> None:
    assert downloads.parse_size(text) == size


# Video


def test_a_master_playlist_leads_to_media_playlists_of_rising_bit_rates() -> None:
    master = body_of(get("/hls/vod/film/master.m3u8")).decode()
    rates = [int(rate) for rate in re.findall(r"BANDWIDTH=(\d+)", master)]
    names = [line for line in master.splitlines() if line and not line.startswith("#")]
    assert len(rates) >= 3 and rates == sorted(rates)
    assert {get(f"/hls/vod/film/{name}").status for name in names} == {200}


def test_a_film_is_longer_than_ten_minutes_and_all_its_segments_are_there() -> None:
    playlist = body_of(get("/hls/vod/film/720p/playlist.m3u8")).decode()
    assert sum(float(seconds) for seconds in re.findall(r"#EXTINF:([\d.]+),", playlist)) >= 600
    assert playlist.endswith("#EXT-X-ENDLIST\n")
    segments = [line for line in playlist.splitlines() if line.endswith(".ts")]
    assert {get(f"/hls/vod/film/720p/{name}").status for name in (segments[0], segments[-1])} == {200}
    assert get(f"/hls/vod/film/720p/{len(segments)}.ts").status == 404


@pytest.mark.parametrize("title", ["forest-40s", "forest-3s"])
def test_a_title_may_say_how_long_it_is(title: str) -> None:
    playlist = body_of(get(f"/hls/vod/{title}/720p/playlist.m3u8")).decode()
    durations = [float(seconds) for seconds in re.findall(r"#EXTINF:([\d.]+),", playlist)]
    assert f"{sum(durations):.0f}s" in title and max(durations) <= SEGMENT_SECONDS
    last = get(f"/hls/vod/{title}/720p/{len(durations) - 1}.ts")
    assert abs(len(body_of(last)) * 8 / durations[-1] - 3_200_000) < 1_504
    assert get(f"/hls/vod/{title}/720p/{len(durations)}.ts").status == 404


@pytest.mark.parametrize("title", ["x-0s", "x-100000s", "x-9", "x-1s-", "x-٣s"])
def test_other_titles_are_as_long_as_any_film(title: str) -> None:
    assert 630 <= hls.film_seconds(title) <= 900


@pytest.mark.parametrize("rendition", RENDITIONS)
def test_a_segment_has_the_size_of_its_bit_rate_and_valid_framing(rendition: Rendition) -> None:
    body = body_of(get(f"/hls/vod/film/{rendition.name}/3.ts"))
    assert body == hls.Video(_FOOTAGE).expected_segment("vod", "film", rendition, 3)
    assert 0 <= rendition.bits_per_second - len(body) * 8 / SEGMENT_SECONDS < 1_000
    assert set(body[::188]) == {0x47} and len(body) % 188 == 0


def test_a_range_of_a_segment_is_what_the_whole_has_there() -> None:
    whole = body_of(get("/hls/vod/film/360p/3.ts"))
    for start, end in ((0, 0), (187, 188), (64_000, 130_001), (len(whole) - 1_000, len(whole) - 1)):
        part = get("/hls/vod/film/360p/3.ts", ("Range", f"bytes={start}-{end}"))
        assert part.status == 206 and body_of(part) == whole[start : end + 1]


def test_segments_of_other_titles_numbers_and_films_have_other_tags() -> None:
    other = hls.Video(replace(_FOOTAGE, digest="another"))
    tags = [get(f"/hls/{name}.ts").header("etag") for name in ("vod/a/360p/0", "vod/b/360p/0", "vod/a/360p/1")]
    assert len({*tags, other.respond(a_get("/hls/vod/a/360p/0.ts"), _NOW).header("etag")}) == 4
    assert tags[0] == get("/hls/vod/a/360p/0.ts", now=_NOW + 60).header("etag")


def test_segments_of_two_titles_differ_nearly_everywhere() -> None:
    """What a cache mixes up is noticed in any part of it, though both show the same film."""
    one, other = (body_of(get(f"/hls/vod/{title}/720p/3.ts")) for title in ("a", "b"))
    same = sum(left == right for left, right in zip(one[::97], other[::97], strict=True))
    assert same < len(one[::97]) / 10


def test_a_live_window_slides_with_the_clock() -> None:
    def window(now: float) -> list[int]:
        playlist = body_of(get("/hls/live/one/720p/playlist.m3u8", now=now)).decode()
        return [int(name) for name in re.findall(r"(\d+)\.ts", playlist)]

    early, late = window(600.0), window(606.0)
    assert early == [94, 95, 96, 97, 98, 99] and late == [number + 1 for number in early]
    assert window(605.9) == early


def test_live_playlists_live_half_a_target_duration() -> None:
    assert get("/hls/live/one/720p/playlist.m3u8").header("cache-control") == "public, max-age=3"


@pytest.mark.parametrize(("number", "status"), [(99, 200), (0, 200), (100, 404)])
def test_live_segments_appear_when_they_are_over(number: int, status: int) -> None:
    response = get(f"/hls/live/one/720p/{number}.ts", now=600.0)
    assert response.status == status
    assert status == 200 or response.header("cache-control") == "no-store"


@pytest.mark.parametrize(
    "target", ["/hls/vod/film/4k/playlist.m3u8", "/hls/vod/film/720p/x.ts", "/hls/vod/film/720p/03.ts", "/hls/x"]
)
def test_no_such_stream(target: str) -> None:
    assert get(target).status == 404


def test_content_is_asked_for_through_one_function() -> None:
    assert get("/echo/x").status == 200 and get("/misbehave/status?code=503").status == 503
    assert a_get("/misbehave/x").path == "/misbehave/x" and get("/misbehave/x").status == 404
