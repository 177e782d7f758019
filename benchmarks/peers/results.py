"""From samples to verdicts: ratios of each round, their median and spread, goals, the table and the file of results. Pure but for reading facts of the machine.

Both of a ratio ran one after the other in the same round, so what the machine did to one it did to the other; the median of the ratios is the figure, not the ratio of
the medians.
"""

import json
import os
import platform
import statistics
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

BEST = "best"


@dataclass(frozen=True)
class Spread:
    """Of one figure over the rounds."""

    median: float
    lowest: float
    highest: float
    rounds: int

    @staticmethod
    def of(values: Sequence[float]) -> "Spread":
        """At least one value."""
        return Spread(statistics.median(values), min(values), max(values), len(values))


@dataclass(frozen=True)
class Goal:
    """What a figure has to be: at least or at most a bound; against one peer, the best of them, or by itself."""

    bound: float
    against: str = ""
    """A peer's name, BEST, or empty for a figure of ours alone."""
    is_at_most: bool = False

    def is_met(self, figure: float) -> bool:
        """The bound itself is good."""
        return figure <= self.bound if self.is_at_most else figure >= self.bound

    def text(self, unit: str = "") -> str:
        """For the table."""
        words = f"at {'most' if self.is_at_most else 'least'} {self.bound:g}{unit and ' ' + unit}"
        return f"{words} of {'the best' if self.against == BEST else self.against}" if self.against else words


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    row: str
    title: str
    unit: str
    values: dict[str, Spread]
    """By server; for a figure of ours alone only `edge`."""
    ratios: dict[str, Spread]
    """Ours by each peer's."""
    verdicts: tuple[tuple[str, float, bool], ...]
    """The goal's words, the figure compared with it, and whether it is met."""
    note: str = ""


def ratios(samples: dict[str, list[float]], ours: str = "edge") -> dict[str, Spread]:
    """Ours by each other's, round by round."""
    return {
        name: Spread.of([mine / theirs for mine, theirs in zip(samples[ours], values, strict=True)])
        for name, values in samples.items()
        if name != ours
    }


def judge(goal: Goal, by_peer: dict[str, Spread], unit: str = "") -> tuple[str, float, bool] | None:
    """The goal against the peer it names, or against the best: the one nearest to us or furthest ahead. None without that peer."""
    if goal.against == BEST:
        medians = [spread.median for spread in by_peer.values()]
        if not medians:
            return None
        figure = max(medians) if goal.is_at_most else min(medians)
    elif goal.against in by_peer:
        figure = by_peer[goal.against].median
    else:
        return None
    return goal.text(unit), figure, goal.is_met(figure)


def compared(
    row: tuple[str, str, str], samples: dict[str, list[float]], goals: Sequence[Goal], note: str = ""
) -> Figure:
    """A figure that all servers have."""
    by_peer = ratios(samples)
    verdicts = tuple(verdict for goal in goals if (verdict := judge(goal, by_peer)) is not None)
    return Figure(*row, {name: Spread.of(values) for name, values in samples.items()}, by_peer, verdicts, note)


def alone(row: tuple[str, str, str], values: Sequence[float], goal: Goal | None, note: str = "") -> Figure:
    """A figure of ours."""
    spread = Spread.of(values)
    verdicts = () if goal is None else ((goal.text(row[2]), spread.median, goal.is_met(spread.median)),)
    return Figure(*row, {"edge": spread}, {}, verdicts, note)


# -- what people read


def quantity(value: float) -> str:
    """Three digits that matter."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def lines_of(figure: Figure) -> list[str]:
    """One line for what was measured, one for each peer, one for each goal."""
    lines = [f"{figure.row}: {figure.title} ({figure.unit})"]
    for name, spread in figure.values.items():
        ratio = figure.ratios.get(name)
        tail = f"   edge/{name} {ratio.median:.2f} ({ratio.lowest:.2f} to {ratio.highest:.2f})" if ratio else ""
        lines.append(
            f"  {name:14}{quantity(spread.median):>12}  ({quantity(spread.lowest)} to {quantity(spread.highest)}, {spread.rounds} rounds){tail}"
        )
    lines.extend(
        f"  goal {words}: {'met' if is_met else 'MISSED'} ({value:.3g})" for words, value, is_met in figure.verdicts
    )
    if figure.note:
        lines.append(f"  {figure.note}")
    return lines


def table(figures: Sequence[Figure], peers: Sequence[str]) -> str:
    """The table of ratios: one line a figure."""
    widths = (34, 24, *(25 for _ in peers))
    head = ["work", "edge", *(f"edge / {name}" for name in peers)]
    lines = ["".join(f"{cell:<{width}}" for cell, width in zip(head, widths, strict=True)) + "goal"]
    for figure in figures:
        cells = [figure.row, f"{quantity(figure.values['edge'].median)} {figure.unit}"]
        for name in peers:
            ratio = figure.ratios.get(name)
            cells.append(f"{ratio.median:.2f} ({ratio.lowest:.2f} to {ratio.highest:.2f})" if ratio else "")
        goals = "; ".join(f"{words}: {'met' if is_met else 'MISSED'}" for words, _, is_met in figure.verdicts)
        lines.append("".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)) + goals)
    return "\n".join(lines)


# -- the machine


def interpreter() -> str:
    """Which CPython runs the edge, and whether it was built with profile-guided optimisation, as far as that can be seen: distributions do so without saying it."""
    variables = " ".join(str(sysconfig.get_config_var(name)) for name in ("CONFIG_ARGS", "PY_CFLAGS", "PY_LDFLAGS"))
    path = os.path.realpath(sys.executable)
    if path.startswith("/usr/bin/"):
        build = "the distribution's own, optimised build"
    elif "--enable-optimizations" in variables:
        build = "an optimised build"
    else:
        build = "NOT an optimised build: figures are too low"
    return f"CPython {platform.python_version()} at {path}, {build}"


def machine() -> dict[str, Any]:
    """What figures depend on."""
    processor = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        "unknown",
    )
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return {
        "cpu": processor,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "governor": governor.read_text().strip() if governor.exists() else "not readable",
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "load_average_at_start": os.getloadavg()[0],
        "interpreter": interpreter(),
    }


def write_results(path: Path, facts: dict[str, Any], figures: Sequence[Figure]) -> None:
    """The whole as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": facts, "figures": [asdict(figure) for figure in figures]}, indent=1) + "\n")
