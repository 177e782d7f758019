"""`cdnlab wan check`: what was asked of each link between the places, and what it is."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from lab.clients.relays import LinkMeasurement
from lab.cluster.finding import find_lab
from lab.commands.status import align
from lab.errors import EXIT_FAILED, LabError
from lab.experiments.links import measure


def run(*, state_dir: Path, is_json: bool) -> int:
    """Exit status 1 when a link is off."""
    found = measure(find_lab(state_dir))
    if not found:
        raise LabError(
            "this lab has no relays: its places are no distance from each other (`relays` in docs/topology.md)"
        )
    is_off = any(each.is_off for each in found)
    if is_json:
        print(json.dumps({"is_off": is_off, "measurements": [asdict(each) for each in found]}, indent=1))
    else:
        _print_table(found)
    return EXIT_FAILED if is_off else 0


def _print_table(found: Sequence[LinkMeasurement]) -> None:
    rows = [("LINK", "DIRECTION", "WHAT", "ASKED", "MEASURED", "ALLOWED", "")]
    for each in found:
        measured = "nothing" if each.measured is None else f"{each.measured:.1f}"
        allowed = f"± {each.allowed:.1f} {each.unit}"
        verdict = "off" if each.is_off else ""
        rows.append((each.link, each.direction, each.what, f"{each.asked:.1f}", measured, allowed, verdict))
    print("\n".join(align(rows)))
    links, off = {each.link for each in found}, {each.link for each in found if each.is_off}
    print(f"{len(off)} of {len(links)} links are off" if off else f"all {len(links)} links are as asked")
