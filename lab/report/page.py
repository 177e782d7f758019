"""The frame of a report: one HTML document with its style, its drawings and their data inside. It loads nothing."""

import html
import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from lab.report.markup import Markup

_FILES = Path(__file__).parent / "files"
_SCRIPTS = ("tools.js", "world.js", "timeline.js", "start.js")
_LAND = "land.json"


@cache
def _file(name: str) -> str:
    return (_FILES / name).read_text(encoding="utf-8")


def land() -> list[list[int]]:
    """Outlines of the continents, in tenths of a degree; where they are from stands in the file."""
    rings: list[list[int]] = json.loads(_file(_LAND))["rings"]
    return rings


def page(title: str, body: Iterable[Markup], data: Mapping[str, Any]) -> str:
    # "</" inside a script element would end it (HTML section 4.12.1.3), and "<!--" open a comment; in JSON both may be written otherwise.
    document = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    scripts = "\n".join(_file(name) for name in _SCRIPTS)
    return (
        "<!doctype html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>\n<link rel='icon' href='data:,'>\n"
        f"<title>{html.escape(title)}</title>\n<style>{_file('report.css')}</style>\n</head>\n<body>\n<main>\n{''.join(body)}\n</main>\n"
        f"<script type='application/json' id='data'>{document}</script>\n<script>{scripts}</script>\n</body>\n</html>\n"
    )
