"""Before a run: are the links between the places as they were asked for? Figures of a run over links that are not would be those of a busy machine."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from lab.clients.relays import CheckFailedError, LinkMeasurement, measure_links, round_trips
from lab.cluster.interface import Cluster
from lab.errors import LabError
from lab.topology.layout import Role

LINKS_FILE = "links.json"
TRIES = 3
"""Of the whole self-test, which tries each link three times itself: what a machine is busy with for a moment should not end a run."""
_SHOWN = 5


class LinksAreOffError(LabError):
    """Nothing is reported over links that are not as they should be.

    Of links that are only late, as on a busy machine, an upper limit that was kept can be told nevertheless: with links as asked it would be kept as well.
    """

    def __init__(self, message: str, *, is_only_late: bool = False) -> None:
        super().__init__(message)
        self.is_only_late = is_only_late


def measure(lab: Cluster) -> tuple[LinkMeasurement, ...]:
    """Every link, once; nothing in a lab without relays. LabError when they do not answer."""
    relays = next((node for node in lab.nodes() if node.role is Role.WAN), None)
    if relays is None:
        return ()
    try:
        return measure_links(lab.addresses(relays.id).admin)
    except CheckFailedError as error:
        raise LabError(
            f"the links between the places cannot be measured: {error}; see `cdnlab logs {relays.id}`"
        ) from error


def check_before_run(lab: Cluster, run_directory: Path, say: Callable[[str], None]) -> None:
    """Writes what was found to the run's folder, and says it; nothing without relays, also of a run before in that folder. LinksAreOffError after three tries."""
    (run_directory / LINKS_FILE).unlink(missing_ok=True)
    if all(node.role is not Role.WAN for node in lab.nodes()):
        return
    say(
        "measuring the links between the places: a second, or a minute or two where there are hundreds with a bandwidth"
    )
    found = _measure_until_right(lab)
    (run_directory / LINKS_FILE).write_text(
        json.dumps([asdict(each) for each in found], indent=1) + "\n", encoding="utf-8"
    )
    trips = round_trips(found)
    off = [each for each in found if each.is_off]
    if off:
        raise LinksAreOffError(describe_off(off, len(trips)), is_only_late=all(_is_late(each) for each in off))
    link, asked, measured = max(trips, key=lambda trip: trip[1])
    say(
        f"{len(trips)} links are as asked; the longest, {link}, takes {measured:.1f} ms there and back ({asked:g} asked)"
    )


def _measure_until_right(lab: Cluster) -> tuple[LinkMeasurement, ...]:
    for _ in range(TRIES - 1):
        found = measure(lab)
        if not any(each.is_off for each in found):
            return found
    return measure(lab)


def _is_late(link: LinkMeasurement) -> bool:
    return link.what in ("delay", "handshake") and link.measured is not None and link.measured > link.asked


def describe_off(off: list[LinkMeasurement], links: int) -> str:
    """Which ones, and what to do."""
    names = {each.link for each in off}
    lines = [f"{len(names)} of {links} links are not as they were asked for, so no figure of a run would be right:"]
    lines += [f"  {each}" for each in off[:_SHOWN]]
    if len(off) > _SHOWN:
        lines.append(f"  and {len(off) - _SHOWN} more: `cdnlab wan check`")
    lines.append(
        "the machine may be busy: try again when it is not; `relays: false` in the topology, or --no-relays, runs without distance"
    )
    return "\n".join(lines)
