"""`clocks.jsonl` of a run: whose clock the moments in the files of the run are of, a line for each process that writes them (docs/contracts.md)."""

import json
from pathlib import Path

from proto.moments import ClockAnchor, read_anchor

CLOCKS_FILE = "clocks.jsonl"


def note_clock(run_directory: Path, process: str, anchor: ClockAnchor) -> None:
    """Appended whole, by several processes: the last line of each counts."""
    line = json.dumps({"process": process} | anchor.to_json()) + "\n"
    with (run_directory / CLOCKS_FILE).open("ab", buffering=0) as file:
        file.write(line.encode())


def read_clocks(run_directory: Path) -> dict[str, ClockAnchor]:
    """By process; nothing of what cannot be read, or in a run of before there was such a file."""
    try:
        lines = (run_directory / CLOCKS_FILE).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    documents = (_parsed(line) for line in lines)
    read = ((document.get("process"), read_anchor(document)) for document in documents)
    return {str(process): anchor for process, anchor in read if anchor is not None}


def _parsed(line: str) -> dict[str, object]:
    try:
        document = json.loads(line)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
