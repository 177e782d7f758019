"""What may be compared, as it is typed."""

import json
from pathlib import Path

import pytest

from lab.errors import UsageError
from lab.regression.comparison import counts_document, read_counts
from lab.regression.subject import Subject, parse_subject
from lab.regression.system_calls import total_of


@pytest.mark.parametrize("text", ["HEAD", "../before", "HEAD,topology=a.yaml", "HEAD,scenario=b.yaml,code=compiled"])
def test_a_subject_is_told_as_it_was_typed(text: str) -> None:
    assert str(parse_subject(text)) == text


def test_settings_are_read() -> None:
    assert parse_subject("main,topology=t,code=compiled") == Subject("main", "t", "", "compiled")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "begins with a commit"),
        (",topology=a", "begins with a commit"),
        ("HEAD,colour=red", "'colour=red' is none of topology=..., scenario=..., code=..."),
        ("HEAD,topology", "is none of"),
        ("HEAD,topology=", "is none of"),
        ("HEAD,code=a", "code is source or compiled"),
        ("HEAD,code=source,code=source", "code is given twice"),
    ],
)
def test_what_makes_no_sense_is_named(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says.replace(".", r"\.")):
        parse_subject(text)


def test_counters_are_read_as_they_were_written(tmp_path: Path) -> None:
    counts = {"popularity": [{"origin.fetches": 12.0}, {"origin.fetches": 12.0}]}
    path = tmp_path / "counters.json"
    path.write_text(json.dumps(counts_document(counts)))
    assert read_counts(path) == counts


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "no counters"),
        ("[]", "no counters"),
        ('{"workloads": []}', "no counters"),
        ('{"version": 0, "workloads": {}}', "workloads of version 0"),
    ],
)
def test_a_file_that_has_none_is_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "counters.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=says):
        read_counts(path)


def test_the_last_line_of_strace_has_the_calls() -> None:
    table = """% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60.00    0.001234           1      1000           write
 40.00    0.000800           0      2001        12 epoll_wait
------ ----------- ----------- --------- --------- ----------------
100.00    0.002034           0      3001        12 total
"""
    assert total_of(table) == 3001
    assert total_of(table.replace("        12 total", "           total")) == 3001
    assert total_of("") is None
