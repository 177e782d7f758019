"""When nodes did not answer the scrapes of their admin ports, and what viewers saw go wrong."""

from collections.abc import Iterable
from dataclasses import dataclass

from lab.history.reader import History
from lab.history.run_files import RunData
from lab.report.data.axis import Axis
from proto.moments import NANOSECONDS_PER_SECOND


@dataclass(frozen=True, slots=True)
class Watched:
    """One node: the stretches in which it did not answer, as two seconds of the axis each."""

    node: str
    down: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class ViewerError:
    """One that a viewer saw, at seconds of the axis."""

    at: float
    region: str
    url: str
    address: str
    error: str


@dataclass(frozen=True, slots=True)
class ViewerErrors:
    """The first of them, and how many there are."""

    first: tuple[ViewerError, ...]
    total: int


def watched_nodes(run: RunData, history: History, axis: Axis) -> tuple[Watched, ...]:
    """A node that is down at the last look is down until then."""
    rows = history.rows("SELECT DISTINCT node, at_ns, is_up FROM samples WHERE at_ns IS NOT NULL ORDER BY node, at_ns")
    looks = [(str(node), axis.seconds(at), bool(is_up)) for node, at, is_up in rows]
    if not looks:
        zero = axis.zero_ns / NANOSECONDS_PER_SECOND
        looks = [(str(line["node"]), float(line["time"]) - zero, bool(line["up"])) for line in run.metrics]
    by_node: dict[str, list[tuple[float, bool]]] = {}
    for node, at, is_up in looks:
        by_node.setdefault(node, []).append((at, is_up))
    return tuple(Watched(node, tuple(_down(by_node[node]))) for node in sorted(by_node))


def _down(looks: Iterable[tuple[float, bool]]) -> Iterable[tuple[float, float]]:
    """From the first look without an answer to the next with one."""
    began: float | None = None
    last = 0.0
    for at, is_up in looks:
        last = at
        if is_up and began is not None:
            yield round(began, 3), round(at, 3)
            began = None
        elif not is_up and began is None:
            began = at
    if began is not None:
        yield round(began, 3), round(last, 3)


def viewer_errors(run: RunData, history: History, axis: Axis, most: int) -> ViewerErrors:
    """Of the history where there is one; else failures.jsonl."""
    if "requests" not in history.missing:
        rows = history.rows(
            """SELECT coalesce(ended_ns, intended_ns), region, path, address, error FROM viewer_requests
               WHERE error IS NOT NULL AND coalesce(ended_ns, intended_ns) IS NOT NULL ORDER BY 1 LIMIT ?""",
            [most],
        )
        total = int(history.value("SELECT count(*) FROM viewer_requests WHERE error IS NOT NULL"))
        first = (ViewerError(axis.seconds(at), *(str(each or "") for each in rest)) for at, *rest in rows)
        return ViewerErrors(tuple(first), total)
    zero = axis.zero_ns / NANOSECONDS_PER_SECOND
    listed = (
        ViewerError(
            round(float(each["time"]) - zero, 3),
            *(str(each.get(name) or "") for name in ("region", "url", "address", "error")),
        )
        for each in run.failures[:most]
    )
    return ViewerErrors(tuple(listed), len(run.failures))
