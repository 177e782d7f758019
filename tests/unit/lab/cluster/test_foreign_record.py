"""What is taken from a record that cannot be read: never more than what ends a lab."""

import json

import pytest

from lab.cluster.foreign_record import Remains, read_remains
from lab.cluster.process_identity import ProcessIdentity


def test_processes_are_found_wherever_a_version_has_put_them() -> None:
    document = {
        "version": 99,
        "token": "abc",
        "starter": {"pid": 1, "started": "boot/1"},
        "nodes": [{"id": "edge", "process": {"pid": 12, "started": "boot/3"}}, {"id": "down", "process": None}],
        "helpers": {"relay": {"process": {"pid": 13, "started": "boot/4"}}},
    }
    remains = read_remains(json.dumps(document))
    assert remains == Remains("abc", "", (ProcessIdentity(12, "boot/3"), ProcessIdentity(13, "boot/4")))


def test_a_lab_in_containers_says_its_project() -> None:
    assert read_remains('{"version": 1, "project": "cdnlab-small"}').project == "cdnlab-small"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"token": 7, "project": null}',
        '{"nodes": [{"pid": "12"}, {"pid": -1, "started": "x"}]}',
        "[" * 100_000,
    ],
)
def test_of_anything_else_nothing_is_known(text: str) -> None:
    assert read_remains(text) == Remains()
