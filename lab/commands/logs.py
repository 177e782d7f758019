"""`cdnlab logs NODE`: the end of a node's log, and what follows."""

from pathlib import Path

from lab.cluster.finding import find_lab
from lab.interrupts import interruptible


def run(*, node_id: str, is_followed: bool, count: int, state_dir: Path) -> int:
    lab = find_lab(state_dir)
    try:
        with interruptible():
            for line in lab.logs(node_id, count, is_followed=is_followed):
                print(line, flush=is_followed)
    except KeyboardInterrupt:
        pass  # how one stops following
    finally:
        lab.close()
    return 0
