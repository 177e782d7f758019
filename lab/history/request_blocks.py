"""Makes rows of the table `requests` of the blocks that Locust processes have written (loadtests/request_block.py): once the load is over, and nobody waits for it."""

import shutil
from pathlib import Path
from typing import Final

from lab.history.schema import REQUESTS
from loadtests.block_file import cut_torn_block
from loadtests.request_block import read_block, rows_of
from proto.history_file import LARGEST_BYTES, HistoryFile

BLOCKS: Final = f"{REQUESTS.name}*.blocks"
"""Of the load, in its writer's folder: `requests.blocks`, or `requests-1.blocks` and so on of its workers."""
_MOST_TIMES_LARGER = 4
"""Than a file of blocks is its text."""


def write_lines(raw: Path, target: Path) -> tuple[list[Path], int]:
    """Files of lines in the folder `target`, one for each file of blocks in `raw`, and how many rows of blocks that were cut are left out. OSError."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    lost, files = 0, []
    for number, path in enumerate(sorted(raw.glob(f"*/{BLOCKS}"))):
        lost += cut_torn_block(path)
        files.append(target / f"{number}.tsv")
        _write_file(path, files[-1])
    return files, lost


def _write_file(path: Path, target: Path) -> None:
    columns = [column.name for column in REQUESTS.columns]
    lines = HistoryFile(target, columns, LARGEST_BYTES * _MOST_TIMES_LARGER)
    with path.open("rb") as file:
        while block := read_block(file):
            for row in rows_of(block):
                lines.add(row)
            lines.flush()
    lines.flush()  # viewers whose requests were all under way when the load ended have left no block
    if lines.is_behind or lines.dropped_rows:
        raise OSError(f"no room for the rows of {path.name}")
    lines.close()
