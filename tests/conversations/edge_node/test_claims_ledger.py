"""The ledgers in docs/: what fidelity.md and semantics.md name exists, and every section of the reference that the edge node cites stands in the ledger."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LEDGERS = ["fidelity.md", "semantics.md"]
NAMED = re.compile(r"`([\w./*-]+)`")


def named_files(document: str) -> set[str]:
    """Every file that is named in backticks, with or without its folder."""
    text = (ROOT / "docs" / document).read_text()
    return {name for name in NAMED.findall(text) if name.endswith(".py") or name.startswith(("tests/", "edge_node/"))}


@pytest.mark.parametrize("document", LEDGERS)
def test_what_a_ledger_names_exists(document: str) -> None:
    names = named_files(document)
    assert len(names) > 10, "the pattern finds nothing any more"
    folders = [ROOT, ROOT / "edge_node"]
    for start in (ROOT / "tests/conversations", ROOT / "edge_node"):
        folders += [path for path in start.rglob("*") if path.is_dir()]
    missing = sorted(name for name in names if not any((folder / name).exists() for folder in folders))
    assert not missing


@pytest.mark.parametrize("document", LEDGERS)
def test_every_row_names_a_test(document: str) -> None:
    """In a table with a column for it; `the same` is the row above."""
    has_column = False
    rows = 0
    for line in (ROOT / "docs" / document).read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")] if line.startswith("|") else []
        if not cells:
            has_column = False
        elif cells[-1] in ("test", "shown by"):
            has_column = True
        elif has_column and not set(line) <= set("|-"):
            rows += 1
            assert "test_" in cells[-1] or cells[-1] == "the same", line
    assert rows > 20


def test_every_section_about_caching_is_in_the_ledger() -> None:
    """Reference 2.1 to 2.12 are what a cache does."""
    cited = set[str]()
    for path in (ROOT / "edge_node").rglob("*.py"):
        cited |= set(re.findall(r"[Rr]eference (2\.\d+)", path.read_text()))
    listed = set(re.findall(r"^\| (\d\.\d+) \|", (ROOT / "docs/fidelity.md").read_text(), re.MULTILINE))
    assert len(cited) > 8 and cited <= listed
