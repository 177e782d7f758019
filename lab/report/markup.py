"""HTML of a report: text from a run is escaped here and nowhere else. Functions take plain text and give `Markup`."""

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import NewType

Markup = NewType("Markup", str)
NOTHING = Markup("")
COLUMNS_OF_A_WIDE_TABLE = 5
"""On a phone such a table is scrolled rather than squeezed."""


def text(value: object) -> Markup:
    return Markup(html.escape(str(value)))


def element(
    tag: str, content: Iterable[Markup] | Markup, css_class: str = "", attributes: Mapping[str, str] | None = None
) -> Markup:
    inner = content if isinstance(content, str) else "".join(content)
    all_attributes = ({"class": css_class} if css_class else {}) | dict(attributes or {})
    written = "".join(f' {name}="{html.escape(value)}"' for name, value in all_attributes.items())
    return Markup(f"<{tag}{written}>{inner}</{tag}>")


def join(parts: Iterable[Markup]) -> Markup:
    return Markup("".join(parts))


def section(name: str, title: str, note: str, content: Iterable[Markup]) -> Markup:
    """Nothing at all when there is nothing to show. `name` is its anchor."""
    parts = [part for part in content if part]
    if not parts:
        return NOTHING
    note_markup = element("p", text(note), "note") if note else NOTHING
    return element("section", [element("h2", text(title)), note_markup, *parts], attributes={"id": name})


def table(columns: Sequence[str], rows: Iterable[Sequence[Markup]], numeric: frozenset[int] = frozenset()) -> Markup:
    """A scrolling table; columns in `numeric` are set flush right. Nothing when there are no rows."""
    classes = ["number" if index in numeric else "" for index in range(len(columns))]
    head = element("tr", [element("th", text(name), css) for name, css in zip(columns, classes, strict=True)])
    body = [element("tr", [element("td", cell, css) for cell, css in zip(row, classes, strict=True)]) for row in rows]
    if not body:
        return NOTHING
    is_wide = len(columns) >= COLUMNS_OF_A_WIDE_TABLE
    listing = element("table", [element("thead", head), element("tbody", body)], "many" if is_wide else "")
    return element("div", listing, "card table")


def fold(title: Markup, content: Markup) -> Markup:
    """Shown by one click."""
    return element("details", [element("summary", title), content], "card fold") if content else NOTHING
