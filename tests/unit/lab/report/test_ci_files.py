"""The verdict as CI systems read it: judged by a parser of XML, whatever stands in a check."""

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.checkers.verdict import Check, Outcome
from lab.report.ci_files import JudgedRun, junit_document, markdown_summary

GOOD = Check("bodies", Outcome.VALID, "Every body is whole.", ("12 bodies",))
BAD = Check("freshness", Outcome.INVALID, "No answer is older than a receipt.", ("1 was", "/a <b> & | `c`\nd"))
UNSURE = Check("latency", Outcome.UNKNOWN, "Requests were fast enough.", ("nobody asked",))


def run_of(*checks: Check, expects: Outcome = Outcome.VALID, remark: str = "") -> JudgedRun:
    return JudgedRun("edge-loss", "An edge is lost", expects, checks, remark)


def suite_of(run: JudgedRun) -> ET.Element:
    suites = ET.fromstring(junit_document(run))
    (suite,) = suites.findall("testsuite")
    assert suites.tag == "testsuites" and suites.get("tests") == suite.get("tests")
    return suite


def test_an_invalid_check_is_a_failure_and_an_unknown_one_an_error() -> None:
    suite = suite_of(run_of(GOOD, BAD, UNSURE, remark="load fell behind"))
    assert {name: suite.get(name) for name in ("name", "tests", "failures", "errors")} == {
        "name": "cdnlab.edge-loss", "tests": "3", "failures": "1", "errors": "1"
    }  # fmt: skip
    good, bad, unsure = suite.findall("testcase")
    assert good.findtext("system-out") == "12 bodies" and good.find("failure") is None
    failure, error = bad.find("failure"), unsure.find("error")
    assert failure is not None and (failure.get("message"), failure.get("type"), failure.text) == (
        BAD.statement, "invalid", "1 was\n/a <b> & | `c`\nd"
    )  # fmt: skip
    assert error is not None and error.get("type") == "unknown"
    assert suite.findtext("system-out") == "load fell behind"


@pytest.mark.parametrize(("checks", "failures"), [((GOOD, BAD), "0"), ((GOOD,), "1"), ((UNSURE,), "1")])
def test_a_scenario_that_shows_what_breaks_passes_when_it_broke(checks: tuple[Check, ...], failures: str) -> None:
    suite = suite_of(run_of(*checks, expects=Outcome.INVALID))
    (case,) = suite.findall("testcase")
    assert (case.get("name"), suite.get("failures"), suite.get("errors")) == ("verdict is invalid", failures, "0")


_ANYTHING = st.text(max_size=20)
_CHECKS = st.builds(Check, _ANYTHING, st.sampled_from(Outcome), _ANYTHING, st.lists(_ANYTHING, max_size=3).map(tuple))


@given(st.lists(_CHECKS, max_size=4), st.sampled_from(Outcome), _ANYTHING)
def test_whatever_stands_in_a_check_the_files_can_be_read(checks: list[Check], expects: Outcome, remark: str) -> None:
    run = run_of(*checks, expects=expects, remark=remark)
    suite = suite_of(run)
    is_listed = expects is Outcome.VALID
    assert len(suite.findall("testcase")) == (len(checks) if is_listed else 1)
    rows = [line for line in markdown_summary(run).splitlines() if line.startswith("|")]
    assert len(rows) == 2 + len(checks)
    assert all(row.replace("\\|", "").count("|") == 4 for row in rows)


def test_what_is_broken_stands_first_for_people() -> None:
    lines = markdown_summary(run_of(GOOD, UNSURE, BAD)).splitlines()
    assert lines[0] == "## ❌ An edge is lost: invalid"
    assert [line[2] for line in lines if line.startswith("| ")][1:] == ["❌", "❔", "✅"]
    assert "/a &lt;b&gt; &amp; \\| \\`c\\` d" in lines[-3]
