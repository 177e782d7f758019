"""The frame of a report: HTML elements, the style sheet and the script that draws the plots.

Everything is inline, so the page is one file that loads nothing. Text from a run is escaped here and nowhere else:
functions take plain text and return `Markup`. What goes into a report belongs to report.py.
"""

import html
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NewType

import vl_convert

Markup = NewType("Markup", str)

# Of Vega-Lite, as Altair 6.3 writes it.
VEGA_LITE_VERSION = "6.4"

_STYLE = """
:root { color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --ink: #17202a; --soft: #5b6875; --line: #e1e5ea; --accent: #0b66a8;
  --good: #1c7d58; --bad: #b3293a; --unsure: #9a6a00; --good-bg: #e3f4ec; --bad-bg: #fbe7e9; --unsure-bg: #fbf1da; }
@media (prefers-color-scheme: dark) { :root {
  --page: #10151b; --card: #171e26; --ink: #e6ebf0; --soft: #96a3b0; --line: #2a343f; --accent: #6cb8f0;
  --good: #5cc99c; --bad: #f0808d; --unsure: #e5b75c; --good-bg: #12342a; --bad-bg: #3b1a20; --unsure-bg: #362a12; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.55 system-ui, -apple-system, "Segoe UI",
  Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif; -webkit-text-size-adjust: 100%; }
main { max-width: 1180px; margin: 0 auto; padding: 40px 24px 72px; }
h1 { font-size: 30px; line-height: 1.2; letter-spacing: -0.015em; margin: 2px 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 20px; letter-spacing: -0.01em; margin: 48px 0 4px; }
h3 { font-size: 14px; font-weight: 600; margin: 0 0 10px; }
p { margin: 0 0 14px; } a { color: var(--accent); }
.kicker, .note, th, .figure-name { color: var(--soft); }
.kicker { font-size: 12px; font-weight: 600; letter-spacing: 0.09em; text-transform: uppercase; margin: 0; }
.note { max-width: 74ch; }
header { display: flex; gap: 24px; align-items: flex-start; justify-content: space-between; flex-wrap: wrap; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 18px 20px; }
.verdict { font-size: 17px; font-weight: 700; border-radius: 999px; padding: 9px 20px; white-space: nowrap; }
.valid { color: var(--good); } .invalid { color: var(--bad); } .unknown { color: var(--unsure); }
.verdict.valid { background: var(--good-bg); } .verdict.invalid { background: var(--bad-bg); }
.verdict.unknown { background: var(--unsure-bg); }
.checks { list-style: none; margin: 22px 0 0; padding: 4px 20px; }
.checks > li { display: grid; grid-template-columns: 26px 1fr; padding: 13px 0; border-top: 1px solid var(--line); }
.checks > li:first-child { border-top: 0; } .checks .mark { font-weight: 700; }
.checks ul { margin: 3px 0 0; padding-left: 18px; color: var(--soft); font-size: 14px; overflow-wrap: anywhere; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin: 20px 0 0; }
.figures .card { padding: 14px 16px; } .figure-name { font-size: 13px; }
.figure { font-size: 25px; font-weight: 650; letter-spacing: -0.02em; font-variant-numeric: tabular-nums; line-height: 1.3; }
.figure small { font-size: 14px; font-weight: 500; color: var(--soft); letter-spacing: 0; margin-left: 3px; }
.plots { display: grid; gap: 16px; margin-top: 16px; }
.plots.small { grid-template-columns: repeat(auto-fit, minmax(min(320px, 100%), 1fr)); }
.plots > * { min-width: 0; } .plot { width: 100%; min-height: 60px; }
.table { overflow-x: auto; margin-top: 16px; padding: 6px 20px 10px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
th { font-size: 12.5px; font-weight: 600; text-align: left; } td, th { padding: 8px 16px 8px 0; vertical-align: top; }
tr + tr td, thead + tbody td { border-top: 1px solid var(--line); } td:last-child, th:last-child { padding-right: 0; }
td:first-child code { white-space: nowrap; }
.number { text-align: right; white-space: nowrap; } code { font: 13px ui-monospace, "SF Mono", Menlo, "DejaVu Sans Mono", monospace; }
.events { columns: 2; column-gap: 32px; margin: 14px 0 0; padding: 0; list-style: none; font-size: 14px; }
.events li { break-inside: avoid; padding: 3px 0 3px 30px; text-indent: -30px; }
.events b { display: inline-block; width: 30px; text-indent: 0; color: var(--accent); font-variant-numeric: tabular-nums; }
.events time { color: var(--soft); font-variant-numeric: tabular-nums; }
footer { margin-top: 56px; color: var(--soft); font-size: 13px; }
@media (max-width: 640px) { main { padding: 24px 14px 48px; } h1 { font-size: 24px; } h2 { margin-top: 38px; }
  .card { padding: 14px 14px; border-radius: 10px; } .events { columns: 1; } .figures { grid-template-columns: 1fr 1fr; }
  .checks { padding: 2px 14px; } .table { padding: 4px 14px 8px; } }
@media print { body { background: #fff; } .card { break-inside: avoid; } }
"""

# Plots are drawn again when the reader's system turns dark or light; widths follow the window by themselves.
_SCRIPT = """
const plots = JSON.parse(document.getElementById("plots").textContent);
const dark = window.matchMedia("(prefers-color-scheme: dark)");
function configuration() {
  const ink = dark.matches ? "#e6ebf0" : "#17202a", soft = dark.matches ? "#96a3b0" : "#5b6875";
  const line = dark.matches ? "#2a343f" : "#e1e5ea";
  const font = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif';
  return { background: null, font, view: { stroke: null },
    axis: { labelColor: soft, titleColor: soft, gridColor: line, domainColor: line, tickColor: line,
      labelFontSize: 12, titleFontSize: 12, titleFontWeight: 500, labelPadding: 6, titlePadding: 8, labelLimit: 190 },
    legend: { labelColor: ink, labelFontSize: 12.5, symbolType: "square", symbolSize: 90, columnPadding: 18, offset: 8 },
    rule: { color: soft }, text: { color: ink }, style: { "guide-label": { font }, "guide-title": { font } } };
}
function draw() {
  for (const [id, specification] of Object.entries(plots)) {
    vegaEmbed("#" + id, specification, { mode: "vega-lite", actions: false, renderer: "svg", config: configuration() })
      .catch(error => { document.getElementById(id).textContent = "This plot could not be drawn: " + error; });
  }
}
dark.addEventListener("change", draw);
draw();
"""


def text(value: object) -> Markup:
    return Markup(html.escape(str(value)))


def element(tag: str, content: Iterable[Markup] | Markup, css_class: str = "") -> Markup:
    inner = content if isinstance(content, str) else "".join(content)
    attribute = f' class="{html.escape(css_class)}"' if css_class else ""
    return Markup(f"<{tag}{attribute}>{inner}</{tag}>")


def join(parts: Iterable[Markup]) -> Markup:
    return Markup("".join(parts))


def section(title: str, note: str, content: Iterable[Markup]) -> Markup:
    """Nothing at all when there is nothing to show."""
    parts = [part for part in content if part]
    if not parts:
        return Markup("")
    note_markup = element("p", text(note), "note") if note else Markup("")
    return element("section", [element("h2", text(title)), note_markup, *parts])


def table(columns: Sequence[str], rows: Iterable[Sequence[Markup]], numeric: frozenset[int] = frozenset()) -> Markup:
    """A scrolling table; columns in `numeric` are set flush right."""
    classes = ["number" if index in numeric else "" for index in range(len(columns))]
    head = element("tr", [element("th", text(name), css) for name, css in zip(columns, classes, strict=True)])
    body = [element("tr", [element("td", cell, css) for cell, css in zip(row, classes, strict=True)]) for row in rows]
    if not body:
        return Markup("")
    return element("div", element("table", [element("thead", head), element("tbody", body)]), "card table")


class Plots:
    """Collects specifications; each gets the place in which the script draws it."""

    def __init__(self) -> None:
        self.specifications: dict[str, Mapping[str, Any]] = {}

    def place(self, title: str, specification: Mapping[str, Any]) -> Markup:
        name = f"plot-{len(self.specifications) + 1}"
        self.specifications[name] = specification
        figure = Markup(f'<div class="plot" id="{name}"></div>')
        return element("div", [element("h3", text(title)), figure], "card")


def page(title: str, body: Iterable[Markup], plots: Plots) -> str:
    # "</" inside a script element would end it (HTML section 4.12.1.3); in JSON the slash may be escaped.
    specifications = json.dumps(plots.specifications).replace("</", "<\\/")
    # Its type stub asks for a snippet; without one the bundle defines window.vegaEmbed, which is what is wanted.
    bundle = vl_convert.javascript_bundle(vl_version=VEGA_LITE_VERSION)  # type: ignore[call-arg]  # see above
    bundle = bundle.replace("</script", "<\\/script")
    return (
        "<!doctype html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>\n"
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n{''.join(body)}\n</main>\n"
        f"<script type='application/json' id='plots'>{specifications}</script>\n"
        f"<script>{bundle}</script>\n<script>{_SCRIPT}</script>\n</body>\n</html>\n"
    )
