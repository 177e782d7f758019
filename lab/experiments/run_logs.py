"""Keeps what nodes have printed: it is evidence, but the lab's folder goes when the lab does."""

from contextlib import suppress
from pathlib import Path
from typing import Final

from lab.cluster.interface import Cluster
from lab.errors import LabError

KEPT_LINES: Final = 2_000


def keep_logs(lab: Cluster, run_directory: Path) -> None:
    """As far as there is a lab to ask: what went wrong before must not be hidden by this."""
    directory = run_directory / "logs"
    directory.mkdir(exist_ok=True)
    with suppress(LabError):
        for node in lab.nodes():
            lines = lab.logs(node.id, KEPT_LINES)
            (directory / f"{node.id}.log").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
