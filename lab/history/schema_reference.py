"""The tables as Markdown, for docs/history.md: `python -m lab.history.schema_reference` prints what belongs between its markers."""

from collections.abc import Iterator

from lab.history.schema import TABLES, Table

BEGIN, END = "<!-- tables: generated -->", "<!-- end of tables -->"


def render() -> str:
    """Every table with its columns."""
    return "\n\n".join("\n".join(_lines(table)) for table in TABLES)


def _lines(table: Table) -> Iterator[str]:
    yield f"### `{table.name}`"
    yield ""
    yield f"{table.says[0].upper()}{table.says[1:]}. Written by {table.written_by}."
    yield ""
    yield "| column | type | says |"
    yield "|---|---|---|"
    for column in table.columns:
        yield f"| `{column.name}` | {column.type.value} | {column.says} |"


if __name__ == "__main__":
    print(render())
