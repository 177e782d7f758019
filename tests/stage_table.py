"""The table of stages in docs/request-lifecycle.md, made from `edge_node/stages/table.py`: `python -m tests.stage_table` writes it into the page."""

from pathlib import Path

from edge_node.model.configuration import Role
from edge_node.stages.stage import Evaluated, Stage
from edge_node.stages.table import STAGES

PAGE = Path(__file__).resolve().parent.parent / "docs" / "request-lifecycle.md"
BEGIN = "<!-- The table of stages: made by `python -m tests.stage_table`. -->\n"
END = "<!-- End of the table. -->\n"

_EVALUATED = {
    Evaluated.WHILE_PARSED: "while the head is parsed",
    Evaluated.BY_SECTION: "for each request whose header section has the field; such a section is not remembered",
    Evaluated.BY_ROUTE: "once for a route",
    Evaluated.BY_CONNECTION: "for each request, by the facts of its connection",
    Evaluated.PER_REQUEST: "for each request",
    Evaluated.BY_PIPELINE: "for each request",
}


def file_of(rule: str) -> tuple[str, str]:
    """The file below edge_node/ and the name in it."""
    module, _, name = rule.rpartition(".")
    return module.replace(".", "/") + ".py", name


def stage_table() -> str:
    """In Markdown."""
    lines = ["| | stage | reference | at | evaluated | the rule |", "|---|---|---|---|---|---|"]
    return "\n".join([*lines, *[_row(number, stage) for number, stage in enumerate(STAGES, 1)], ""])


def _row(number: int, stage: Stage) -> str:
    tiers = "both" if len(stage.roles) == len(Role) else stage.roles[0].value
    file, name = file_of(stage.rule)
    is_configured = stage.evaluated in (Evaluated.BY_CONNECTION, Evaluated.PER_REQUEST) and stage.compiles is not None
    evaluated = _EVALUATED[stage.evaluated] + (", where configuration asks for it" if is_configured else "")
    return f"| {number} | {stage.name} | {stage.section} | {tiers} | {evaluated} | `{name}` in `{file}` |"


def table_in(page: str) -> str:
    """The table that a page has."""
    return page.partition(BEGIN)[2].partition(END)[0]


if __name__ == "__main__":
    text = PAGE.read_text()
    PAGE.write_text(text.replace(BEGIN + table_in(text) + END, BEGIN + stage_table() + END))
