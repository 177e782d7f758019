"""The verdict of a run as a reader meets it: every promise with what was found, and behind one click the evidence with the way of each request.

Read from `verdict` of summary.json (docs/report.md), which checkers wrote; this module judges nothing.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from lab.history.run_files import Record
from lab.report.markup import NOTHING, Markup, element, section, text

MARKS = {"valid": "✓", "invalid": "✗", "unknown": "?"}
HEADLINES = {"valid": "Valid", "invalid": "Invalid", "unknown": "Unknown"}
MOST_EVIDENCE = 50
"""Of one check. Checkers say how many there are; a page is for reading."""
MOST_WAY_SENTENCES = 40


def outcome_of(record: Mapping[str, Any]) -> str:
    """What is no outcome is unknown."""
    outcome = str(record.get("outcome", "unknown"))
    return outcome if outcome in MARKS else "unknown"


def verdict_pill(summary: Record) -> Markup:
    outcome = outcome_of(_verdict(summary))
    return element("div", text(f"{MARKS[outcome]} {HEADLINES[outcome]}"), f"verdict {outcome}")


def verdict_section(summary: Record) -> Markup:
    """What is broken first, then what nobody could tell, then what held."""
    checks = [each for each in _verdict(summary).get("checks") or [] if isinstance(each, Mapping)]
    if not checks:
        nothing = element("p", text("No checks were made in this run, so it has no verdict."), "note")
        return section("verdict", "Verdict", "", [nothing])
    order = ["invalid", "unknown", "valid"]
    checks = sorted(checks, key=lambda check: order.index(outcome_of(check)))
    counts = [(sum(outcome_of(check) == outcome for check in checks), outcome) for outcome in order]
    note = ", ".join(f"{count} {outcome}" for count, outcome in counts if count)
    return section("verdict", "Verdict", f"{note}. Each check opens to its evidence.", [_listed(checks)])


def _verdict(summary: Record) -> Mapping[str, Any]:
    verdict = summary.get("verdict")
    return verdict if isinstance(verdict, Mapping) else {}


def _listed(checks: Iterable[Record]) -> Markup:
    return element("div", [_check(check) for check in checks], "card checks")


def _check(check: Record) -> Markup:
    outcome = outcome_of(check)
    findings = _list(check.get("findings"))
    told = [each.get("sentence") for each in findings if isinstance(each, Mapping)]
    # Checkers end their sentences with those of the first findings, for a terminal.
    evidence = [*(each for each in _list(check.get("evidence")) if each not in told), *findings]
    name = element("span", text(str(check.get("name", "")).replace("_", " ")), "name")
    statement = element("div", [element("b", text(check.get("statement", ""))), name])
    head = [element("span", text(MARKS[outcome]), f"mark {outcome}"), statement]
    if not evidence:
        return element("div", [*head, NOTHING], "check")
    found = max(len(evidence), int(check.get("found") or 0))
    shown = [_evidence(each) for each in evidence[:MOST_EVIDENCE]]
    if found > len(shown):
        shown.append(element("li", text(f"and {found - len(shown):,} more, which are in the history"), "soft"))
    head.append(element("span", text("evidence"), "count"))
    return element("details", [element("summary", head, "check"), element("ul", shown, "evidence")])


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _evidence(each: Any) -> Markup:
    """A sentence; of a request also who it is, and its way through the tiers."""
    if not isinstance(each, Mapping):
        return element("li", text(each))
    names = [str(each[name]) for name in ("id", "request_id") if each.get(name)]
    way = [element("li", text(sentence)) for sentence in way_of(each)[:MOST_WAY_SENTENCES]]
    return element(
        "li",
        [
            text(each.get("sentence", "")),
            *(element("code", text(name)) for name in names),
            element("ol", way) if way else NOTHING,
        ],
    )


def way_of(evidence: Mapping[str, Any]) -> list[str]:
    """The sentences of the way of a request: a list of them, or those of an explanation (lab/history/explanation.py)."""
    path = evidence.get("path")
    way = path.get("sentences") if isinstance(path, Mapping) else evidence.get("way")
    return [str(sentence) for sentence in _list(way)]
