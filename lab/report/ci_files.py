"""The verdict of a run for those who read it in a CI system: `junit.xml`, which test reporters take, and `summary.md`, for a page of the job. Pure.

A check that is invalid is a failure, one that is unknown an error: neither may pass for a test that passed. A scenario that expects another verdict than valid is one
test: whether it came to that; its checks stand in the test's output.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree as ET

from lab.checkers.verdict import Check, Outcome, verdict

_NOT_IN_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""XML 1.0 section 2.2."""
_ELEMENTS: Final = {Outcome.INVALID: "failure", Outcome.UNKNOWN: "error"}
_MARKS: Final = {Outcome.VALID: "✅", Outcome.INVALID: "❌", Outcome.UNKNOWN: "❔"}


@dataclass(frozen=True, slots=True)
class JudgedRun:
    """What is told of it."""

    scenario: str
    title: str
    expects: Outcome
    checks: Sequence[Check]
    remark: str = ""
    """On all of it, such as that the load fell behind."""

    @property
    def outcome(self) -> Outcome:
        return verdict(self.checks)


def junit_document(run: JudgedRun) -> str:
    """As Jenkins, GitLab and others read it: a test suite with a test case for each check."""
    cases = [_case(run, check) for check in run.checks] if run.expects is Outcome.VALID else [_expectation(run)]
    counts = {
        "tests": len(cases),
        "failures": sum(case.find("failure") is not None for case in cases),
        "errors": sum(case.find("error") is not None for case in cases),
    }
    told = {name: str(count) for name, count in counts.items()}
    suites = ET.Element("testsuites", told)
    suite = ET.SubElement(suites, "testsuite", {"name": f"cdnlab.{run.scenario}", **told})
    suite.extend(cases)
    if run.remark:
        ET.SubElement(suite, "system-out").text = _text(run.remark)
    ET.indent(suites)
    return ET.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _case(run: JudgedRun, check: Check) -> ET.Element:
    case = ET.Element("testcase", {"classname": f"cdnlab.{run.scenario}", "name": _text(check.name)})
    if check.outcome is Outcome.VALID:
        ET.SubElement(case, "system-out").text = _text("\n".join(check.evidence))
    else:
        told = {"message": _text(check.statement), "type": str(check.outcome)}
        ET.SubElement(case, _ELEMENTS[check.outcome], told).text = _text("\n".join(check.evidence))
    return case


def _expectation(run: JudgedRun) -> ET.Element:
    """Of a scenario that shows what breaks."""
    case = ET.Element("testcase", {"classname": f"cdnlab.{run.scenario}", "name": f"verdict is {run.expects}"})
    told = "\n".join(f"{check.outcome}: {check.statement}" for check in run.checks)
    if run.outcome is not run.expects:
        message = {"message": f"the verdict is {run.outcome}, and {run.expects} was expected", "type": str(run.outcome)}
        ET.SubElement(case, "failure", message).text = _text(told)
    else:
        ET.SubElement(case, "system-out").text = _text(told)
    return case


def markdown_summary(run: JudgedRun) -> str:
    """A heading, and a row for each check, what is broken first."""
    order = [Outcome.INVALID, Outcome.UNKNOWN, Outcome.VALID]
    checks = sorted(run.checks, key=lambda check: order.index(check.outcome))
    is_expected = run.outcome is run.expects
    lines = [
        f"## {_MARKS[Outcome.VALID if is_expected else Outcome.INVALID]} {_cell(run.title)}: {run.outcome}",
        "",
        f"Scenario `{run.scenario}`"
        + ("" if run.expects is Outcome.VALID else f", expected to be {run.expects}")
        + ".",
        *(("", f"{_cell(run.remark)}.") if run.remark else ()),
        "",
        "| | check | what was found |",
        "|---|---|---|",
        *(
            f"| {_MARKS[check.outcome]} | {_cell(check.statement)} | {'<br>'.join(map(_cell, check.evidence))} |"
            for check in checks
        ),
    ]
    return "\n".join(lines) + "\n"


def _text(text: str) -> str:
    return _NOT_IN_XML.sub("�", text)


def _cell(text: str) -> str:
    """On one line, and nothing of it a mark of Markdown or HTML."""
    escaped = re.sub(r"([\\`*_\[\]|])", r"\\\1", " ".join(text.split()))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
