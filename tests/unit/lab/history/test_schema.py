"""The schema is what programs write, and what the documents say."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from control_plane.history import DIRECTORY_COLUMNS
from dns_router.history import TABLES as ROUTER_TABLES
from edge_node.observability.history import TABLES as EDGE_TABLES
from lab.history.schema import TABLES
from lab.history.schema_reference import BEGIN, END, render
from proto.history_recorder import LIVES_COLUMNS

WRITTEN = {**EDGE_TABLES, **ROUTER_TABLES, "directory": DIRECTORY_COLUMNS, "lives": LIVES_COLUMNS}


@pytest.mark.parametrize(("name", "columns"), WRITTEN.items())
def test_a_program_writes_the_columns_of_the_schema(name: str, columns: Sequence[str]) -> None:
    (table,) = [each for each in TABLES if each.name == name]
    assert tuple(columns) == tuple(column.name for column in table.columns)


def test_the_documents_have_the_tables_as_they_are() -> None:
    text = (Path(__file__).parents[4] / "docs" / "history.md").read_text()
    between = text.partition(BEGIN)[2].partition(END)[0].strip()
    assert between == render(), "run python -m lab.history.schema_reference and put what it prints between the markers"
