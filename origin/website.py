"""A small website: an index, 200 pages with text, and the style sheet, script and images that they refer to.

The same bytes on every origin and every day. Assets carry their hash in the name and may be kept for ever; pages change rarely but
may be kept only for a short time, as real sites do.
"""

import json
from functools import lru_cache
from hashlib import sha256
from random import Random

from origin import images
from origin.conditions import http_date
from origin.messages import Request, Response

PAGES = 200
IMAGES = 400
IMAGES_PER_PAGE = 5

# One moment for the whole site, so that Last-Modified agrees between origins: 2026-01-01.
_PUBLISHED = http_date(1_767_225_600)
_PAGE_CACHE_CONTROL = "public, max-age=60"
_INDEX_CACHE_CONTROL = "public, max-age=30"
_IMAGE_CACHE_CONTROL = "public, max-age=86400"
_ASSET_CACHE_CONTROL = "public, max-age=31536000, immutable"
_SMALLEST_IMAGE_BYTES, _LARGEST_IMAGE_BYTES = 2 << 10, 200 << 10
# 64 images of at most 200 KiB: what the bench asks for again and again, in at most 13 MB.
_REMEMBERED_IMAGES = 64

_IMAGE_TYPES = {"png": "image/png", "svg": "image/svg+xml", "jpg": "image/jpeg"}
_EXTENSIONS = tuple(_IMAGE_TYPES)
_VOCABULARY = (
    "edge cache viewer origin region packet route latency byte stream object tier signal window header policy key link replica "
    "copy stale fresh receipt snapshot index path query cookie segment burst night morning river harbour mountain bridge garden "
    "letter engine market paper window silver copper amber green winter summer early late near far small large quick slow the a "
    "of and with from under over between after before"
)
_WORDS = _VOCABULARY.split()


class Website:
    """The site, with its style sheet and script made once and its recent images remembered."""

    def __init__(self) -> None:
        self._style, self._script = _style_sheet(), _script()
        self.style_path = f"/assets/site-{_short_hash(self._style)}.css"
        self.script_path = f"/assets/app-{_short_hash(self._script)}.js"
        self._image = lru_cache(maxsize=_REMEMBERED_IMAGES)(_image)
        self._page = lru_cache(maxsize=PAGES + 1)(self._build_page)

    def respond(self, request: Request) -> Response:
        """The answer to a GET or HEAD anywhere on the site."""
        path = request.path
        if path in ("/", "/index.html"):
            return self._page(0)
        directory, _, name = path[1:].partition("/")
        match directory:
            case "pages":
                number = _number_of(name, (".html",), PAGES)
                return self._page(number) if number else not_found()
            case "images":
                number = _number_of(name, tuple(f".{extension}" for extension in _EXTENSIONS), IMAGES)
                return self._image(number, name.rpartition(".")[2]) if number else not_found()
            case "assets":
                return self._asset(path)
            case "favicon.ico":
                return self._image(1, "png")
            case "robots.txt":
                return _document(b"User-agent: *\nAllow: /\n", "text/plain; charset=utf-8", _IMAGE_CACHE_CONTROL)
            case _:
                return not_found()

    def _asset(self, path: str) -> Response:
        if path == self.style_path:
            return _document(self._style, "text/css; charset=utf-8", _ASSET_CACHE_CONTROL)
        if path == self.script_path:
            return _document(self._script, "text/javascript; charset=utf-8", _ASSET_CACHE_CONTROL)
        return not_found()

    def _build_page(self, number: int) -> Response:
        body = _index_body() if number == 0 else _page_body(number)
        title = "cdnlab demo site" if number == 0 else f"Page {number}"
        html = (
            f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
            f'<link rel="stylesheet" href="{self.style_path}">\n<script src="{self.script_path}" defer></script>\n</head>\n'
            f"<body>\n<h1>{title}</h1>\n{body}</body>\n</html>\n"
        )
        cache_control = _PAGE_CACHE_CONTROL if number else _INDEX_CACHE_CONTROL
        return _document(html.encode(), "text/html; charset=utf-8", cache_control)


def not_found() -> Response:
    """404 of the site; short-lived in caches, as a page may appear."""
    headers = (("Content-Type", "text/html; charset=utf-8"), ("Cache-Control", "public, max-age=10"))
    return Response(404, headers, b"<!doctype html>\n<title>Not found</title>\n<h1>404: there is no such page</h1>\n")


def image_path(number: int) -> str:
    """Where image `number` is on the site; its type follows from the number."""
    return f"/images/{number}.{_EXTENSIONS[number % len(_EXTENSIONS)]}"


def images_of_page(number: int) -> list[int]:
    """The images that a page shows; low numbers are shown more often."""
    rng = Random(f"page-images-{number}")
    return sorted({1 + int(IMAGES * rng.random() ** 2) for _ in range(IMAGES_PER_PAGE)})


def _document(body: bytes, content_type: str, cache_control: str) -> Response:
    headers = (
        ("Content-Type", content_type),
        ("Cache-Control", cache_control),
        ("ETag", f'"{_short_hash(body)}"'),
        ("Last-Modified", _PUBLISHED),
    )
    return Response(200, headers, body, accepts_ranges=True)


def _image(number: int, extension: str) -> Response:
    rng = Random(f"image-size-{number}")
    # Squared: many small ones and a few large ones.
    size = _SMALLEST_IMAGE_BYTES + int((_LARGEST_IMAGE_BYTES - _SMALLEST_IMAGE_BYTES) * rng.random() ** 2)
    build = {"png": images.png, "svg": images.svg, "jpg": images.jpeg}[extension]
    return _document(build(f"image-{number}", size), _IMAGE_TYPES[extension], _IMAGE_CACHE_CONTROL)


def _short_hash(body: bytes) -> str:
    return sha256(body).hexdigest()[:12]


def _number_of(name: str, extensions: tuple[str, ...], largest: int) -> int | None:
    stem, dot, extension = name.rpartition(".")
    if f"{dot}{extension}" not in extensions or not (stem.isascii() and stem.isdigit()) or len(stem) > 6:
        return None
    return int(stem) if stem[0] != "0" and int(stem) <= largest else None


def _sentence(rng: Random) -> str:
    words = " ".join(rng.choice(_WORDS) for _ in range(rng.randrange(6, 18)))
    return words.capitalize() + "."


def _paragraphs(rng: Random, count: int) -> str:
    return "".join(f"<p>{' '.join(_sentence(rng) for _ in range(rng.randrange(3, 8)))}</p>\n" for _ in range(count))


def _page_body(number: int) -> str:
    rng = Random(f"page-{number}")
    pictures = "".join(
        f'<img src="{image_path(image)}" alt="image {image}" width="240" loading="lazy">\n'
        for image in images_of_page(number)
    )
    following = number % PAGES + 1
    links = f'<p><a href="/index.html">Index</a> <a href="/pages/{following}.html">Next</a></p>\n'
    return _paragraphs(rng, rng.randrange(6, 30)) + pictures + links


def _index_body() -> str:
    links = "".join(f'<li><a href="/pages/{number}.html">Page {number}</a></li>\n' for number in range(1, PAGES + 1))
    return f'<img src="{image_path(1)}" alt="a gradient" width="240">\n<ul>\n{links}</ul>\n'


def _style_sheet() -> bytes:
    rng = Random("style")
    rules = [
        "body{max-width:50rem;margin:2rem auto;font:1rem/1.6 system-ui,sans-serif;color:#222}",
        "img{margin:.5rem}",
    ]
    rules += [f".shade-{n}{{background:hsl({rng.randrange(360)} 60% 92%);padding:{n % 7}px}}" for n in range(400)]
    return "\n".join(rules).encode()


def _script() -> bytes:
    table = json.dumps([_sentence(Random(f"script-{number}")) for number in range(600)], indent=1)
    return f"const sentences = {table};\ndocument.title += ' (' + sentences.length + ')';\n".encode()
