"""The pages in docs/ name no file that is gone, and the metrics that nodes have."""

import re
from pathlib import Path

import pytest

from edge_node.caching.lookup import Reason, Result
from edge_node.model.counters import Counters
from edge_node.observability.metrics import NodeCollector, Sources
from edge_node.storage.disk.disk_budget import DiskStatistics
from edge_node.storage.protocol import StoreStatistics
from proto.message_counts import MessageCounts
from proto.state_files import StateFileStatistics
from tests.test_architecture import LAYERS
from tests.test_request_lifecycle import names_in_the_code

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(["README.md", *(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))])
FILE = re.compile(r"`([A-Za-z0-9_./-]*[A-Za-z0-9_]\.py)`")
LINK = re.compile(r"\]\(([^)#:]+?)(?:#[^)]*)?\)")
GONE = {
    "docs/decisions/0012-misses-without-a-task.md": {"plain_fetches.py", "tests/property/test_edge_plain_fetches.py"},
    "docs/caching.md": {"restart.py"},
}
"""Files that a page names and that are not here: of a decision that was superseded; that the reader writes."""


@pytest.fixture(scope="module")
def endings() -> set[str]:
    """Every file of the repository under its name, and with as many of its folders as one likes."""
    found = set[str]()
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT).parts
        if not parts[0].startswith((".", "build")):
            found |= {"/".join(parts[at:]) for at in range(len(parts))}
    return found


@pytest.mark.parametrize("page", PAGES)
def test_each_file_that_a_page_names_exists(page: str, endings: set[str]) -> None:
    text = (ROOT / page).read_text()
    missing = {name for name in FILE.findall(text) if name not in endings} - GONE.get(page, set())
    assert not missing


@pytest.mark.parametrize("page", PAGES)
def test_each_page_that_a_page_links_to_exists(page: str) -> None:
    folder = (ROOT / page).parent
    missing = [link for link in LINK.findall((ROOT / page).read_text()) if not (folder / link).exists()]
    assert not missing


class NoSession:
    """No control plane."""

    head_index = reconnects_total = rejections_total = 0
    message_counts = MessageCounts()

    def lease_state(self) -> str:
        return "none"

    def lease_remaining_seconds(self) -> float:
        return 0.0


def test_the_metrics_of_nodes_are_those_of_the_contract() -> None:
    contracts = (ROOT / "docs/contracts.md").read_text().partition("## Metrics")[2].partition("\n## ")[0]
    rows = [line for line in contracts.splitlines() if line.startswith("| `cdn_")]
    documented = {name for row in rows for name in re.findall(r"`(cdn_[a-z_]+)`", row.split(" | ")[0])}
    of_others = {name for name in documented if name.startswith(("cdn_dns_", "cdn_control_", "cdn_origin_"))}
    sources = Sources(
        {},
        Counters(),
        StoreStatistics(0),
        DiskStatistics(),
        NoSession(),
        lambda: 0,
        lambda: 0,
        is_compiled=False,
        is_fenced=lambda: False,
        files=StateFileStatistics(),
    )
    exported = {family.name for family in NodeCollector(sources).collect()}
    assert exported == documented - of_others


@pytest.mark.parametrize("program", sorted(LAYERS))
def test_the_layers_in_the_page_are_those_that_are_checked(program: str) -> None:
    page = (ROOT / "docs/architecture.md").read_text().partition("## Layers\n")[2]
    row = next(line for line in page.splitlines() if line.startswith(f"| `{program}` |"))
    told = [
        {name.strip(" `") for name in layer.split("\\|")} for layer in row.split(" | ", 1)[1].strip(" |").split("→")
    ]
    assert told == list(LAYERS[program])


def test_the_contract_explains_each_result_and_each_reason() -> None:
    section = (ROOT / "docs/contracts.md").read_text().partition("## Results and reasons")[2].partition("\n## ")[0]
    results, reasons = section.split("\n| reason | says |\n")
    for enum, table in ((Result, results), (Reason, reasons)):
        rows = [line for line in table.splitlines() if line.startswith("| `")]
        explained = [name for row in rows for name in re.findall(r"`([a-z_]+)`", row.split(" | ")[0])]
        assert sorted(explained) == sorted(enum)


def test_our_names_in_the_glossary_are_in_the_code() -> None:
    """Those in the first column of either table."""
    rows = [line.split(" | ")[0] for line in (ROOT / "docs/glossary.md").read_text().splitlines() if line[:2] == "| "]
    names = {name for row in rows for name in re.findall(r"`([A-Za-z_][A-Za-z0-9_.]*)`", row)}
    of_configuration = {"cloudfront", "rfc9111"}
    files = {name for name in names if name.endswith(".py")}
    assert len(names) > 10 and not names - files - names_in_the_code() - of_configuration
