"""docs/request-lifecycle.md is true: its table is the one in the code, and all files and names that it mentions exist."""

import ast
import importlib
import re
from pathlib import Path

import pytest

from edge_node.stages.stage import Evaluated, Stage
from edge_node.stages.table import STAGES
from tests.stage_table import BEGIN, END, PAGE, file_of, stage_table, table_in

ROOT = Path(__file__).resolve().parent.parent
IN_BACKTICKS = re.compile(r"`([^`\n]+)`")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
OF_OTHERS = frozenset({"Deployed", "Range", "Status", "distribution_deployed"})
"""Names on the page that are not of the edge node's code."""


def page() -> str:
    return PAGE.read_text()


def mentioned() -> list[str]:
    """What stands in backticks, outside of drawings."""
    return IN_BACKTICKS.findall(re.sub(r"^    .*$", "", page(), flags=re.MULTILINE))


def names_in_the_code() -> set[str]:
    """Of classes, functions, their members, constants and enum members, of a class also with the class before it."""
    names = set[str]()
    for path in (ROOT / "edge_node").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                names |= {f"{node.name}.{name}" for name in names_of_a_class(node)} | {node.name}
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                names.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
    return names


def names_of_a_class(node: ast.ClassDef) -> set[str]:
    names = set[str]()
    for inner in ast.walk(node):
        if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(inner.name)
        elif isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
            names.add(inner.id)
        elif isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store):
            names.add(inner.attr)
    return names


def test_the_table_of_stages_is_not_stale() -> None:
    text = page()
    assert text.count(BEGIN) == text.count(END) == 1
    assert table_in(text) == stage_table(), "run `python -m tests.stage_table`"


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_the_rule_of_a_stage_is_where_the_table_says(stage: Stage) -> None:
    file, name = file_of(stage.rule)
    assert (ROOT / "edge_node" / file).is_file()
    module, _, _ = stage.rule.rpartition(".")
    assert hasattr(importlib.import_module(f"edge_node.{module}"), name)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_a_stage_does_what_its_row_says(stage: Stage) -> None:
    """What is evaluated by the route is compiled or is the routing itself; what each request passes is there to be run."""
    assert stage.compiles is None or stage.run is None
    if stage.evaluated in (Evaluated.WHILE_PARSED, Evaluated.BY_PIPELINE):
        assert stage.compiles is None and stage.run is None
    if stage.evaluated is Evaluated.BY_ROUTE:
        assert stage.run is None
    if stage.evaluated in (Evaluated.PER_REQUEST, Evaluated.BY_SECTION):
        assert stage.run is not None or stage.compiles is not None


def test_each_file_on_the_page_exists() -> None:
    files = [
        name for name in mentioned() if name.endswith(".py") or ("/" in name and NAME.fullmatch(name.split("/")[0]))
    ]
    assert len(files) > 30, "the pattern finds nothing any more"
    missing = [name for name in files if not ((ROOT / "edge_node" / name).exists() or (ROOT / name).exists())]
    assert not missing


def test_each_name_on_the_page_exists() -> None:
    names = [name for name in mentioned() if NAME.fullmatch(name) and not name.endswith(".py")]
    assert len(names) > 40, "the pattern finds nothing any more"
    known = names_in_the_code() | OF_OTHERS
    assert not [name for name in names if name not in known]
