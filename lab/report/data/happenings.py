"""What was done in a run and when: marks, faults, and invalidations from issue to receipt. In seconds of the axis.

From the history where it has them; else from events.jsonl, receipts.json, and from when nodes did not answer their scrapes.
"""

from dataclasses import dataclass
from enum import StrEnum

from lab.history.reader import History
from lab.history.run_files import Record, RunData
from lab.report.data.axis import Axis
from lab.report.data.outages import watched_nodes
from proto.moments import NANOSECONDS_PER_SECOND

# A node that missed one scrape may have been slow; what is drawn as an outage of a run without a record of its faults is longer than that.
_LEAST_DOWN_SECONDS = 1.5


class Lane(StrEnum):
    """What kind of thing it is, for its colour and its place."""

    FAULT = "fault"
    INVALIDATION = "invalidation"
    CONFIGURATION = "configuration"
    STEP = "step"
    OTHER = "other"


_LANES = {
    **dict.fromkeys(("fault", "healed", "kill", "start", "return"), Lane.FAULT),
    **dict.fromkeys(("invalidation", "receipt", "no_receipt"), Lane.INVALIDATION),
    **dict.fromkeys(("write", "configuration", "distribution", "origin_change"), Lane.CONFIGURATION),
    **dict.fromkeys(("step", "load", "stop", "time"), Lane.STEP),
}


@dataclass(frozen=True, slots=True)
class Mark:
    """What the run did, numbered in the order in which it began. `ended` is None for a moment."""

    number: int
    kind: str
    lane: Lane
    subject: str
    text: str
    began: float
    ended: float | None = None

    @property
    def label(self) -> str:
        """Short, for a plot."""
        return f"{self.kind.replace('_', ' ')} {self.subject}".strip()


@dataclass(frozen=True, slots=True)
class Band:
    """A fault while it held, or an invalidation between issue and receipt. `ended` is the end of the run if it was not over by then."""

    lane: Lane
    label: str
    text: str
    began: float
    ended: float
    places: tuple[str, ...] = ()
    """Nodes and links that it was done to."""


def marks_of(run: RunData, history: History, axis: Axis) -> tuple[Mark, ...]:
    rows = history.rows(
        "SELECT kind, subject, text, began_ns, ended_ns FROM marks WHERE began_ns IS NOT NULL ORDER BY began_ns, ended_ns"
    )
    if not rows:
        return _marks_of_events(run, axis)
    return tuple(
        Mark(
            number=number,
            kind=str(kind),
            lane=_LANES.get(str(kind), Lane.OTHER),
            subject=str(subject or ""),
            text=str(text or f"{kind} {subject or ''}"),
            began=axis.seconds(began),
            ended=None if ended is None or ended <= began else axis.seconds(ended),
        )
        for number, (kind, subject, text, began, ended) in enumerate(rows, start=1)
    )


def _marks_of_events(run: RunData, axis: Axis) -> tuple[Mark, ...]:
    zero = axis.zero_ns / NANOSECONDS_PER_SECOND
    return tuple(
        Mark(
            number=number,
            kind=str(event["kind"]),
            lane=_LANES.get(str(event["kind"]), Lane.OTHER),
            subject=str(event.get("subject") or ""),
            text=str(event.get("text") or f"{event['kind']} {event.get('subject', '')}"),
            began=round(float(event["time"]) - zero, 3),
        )
        for number, event in enumerate(run.events, start=1)
    )


def faults_of(run: RunData, history: History, axis: Axis) -> tuple[Band, ...]:
    """One band for each fault, whichever places it was in. Without a record of them, one for each node that was down."""
    rows = history.rows(
        """SELECT id, any_value(fault), any_value(target), list(DISTINCT place ORDER BY place), any_value(parameters), min(began_ns),
                  CASE WHEN count(*) = count(healed_ns) THEN max(healed_ns) END
           FROM faults WHERE began_ns IS NOT NULL GROUP BY id ORDER BY min(began_ns)"""
    )
    if not rows and "faults" in history.missing:
        return _outages(run, history, axis)
    return tuple(
        Band(
            lane=Lane.FAULT,
            label=f"{fault} {target or ''}".strip(),
            text=_fault_text(str(fault), places or [], parameters),
            began=axis.seconds(began),
            ended=axis.duration_seconds if healed is None else axis.seconds(healed),
            places=tuple(str(place) for place in places or ()),
        )
        for _, fault, target, places, parameters, began, healed in rows
    )


def _fault_text(fault: str, places: list[str], parameters: str | None) -> str:
    with_what = f" with {parameters}" if parameters and parameters != "{}" else ""
    return f"{fault} at {', '.join(places)}{with_what}" if places else fault + with_what


def _outages(run: RunData, history: History, axis: Axis) -> tuple[Band, ...]:
    return tuple(
        Band(
            Lane.FAULT, f"{each.node} down", f"{each.node} did not answer on its admin port", began, ended, (each.node,)
        )
        for each in watched_nodes(run, history, axis)
        for began, ended in each.down
        if ended - began >= _LEAST_DOWN_SECONDS
    )


def configurations_of(history: History, axis: Axis) -> tuple[Band, ...]:
    """Changes of configuration, from when they were asked for until they were confirmed."""
    rows = history.rows(
        """SELECT kind, subject, version, asked_ns, confirmed_ns FROM writes
           WHERE kind NOT IN ('object', 'invalidation') AND asked_ns IS NOT NULL ORDER BY asked_ns"""
    )
    return tuple(
        Band(
            lane=Lane.CONFIGURATION,
            label=f"{kind} {subject or ''}".strip(),
            text=f"{kind} {subject or ''} became version {version}"
            if confirmed
            else f"{kind} {subject or ''}: never confirmed",
            began=axis.seconds(asked),
            ended=axis.duration_seconds if confirmed is None else axis.seconds(confirmed),
        )
        for kind, subject, version, asked, confirmed in rows
        if 0 <= axis.seconds(asked) <= axis.duration_seconds
    )


def invalidations_of(run: RunData, history: History, axis: Axis) -> tuple[Band, ...]:
    """From issue to receipt."""
    rows = history.rows(
        """SELECT id, paths, coalesce(issued_ns, asked_ns), completed_ns FROM invalidations
           WHERE coalesce(issued_ns, asked_ns) IS NOT NULL ORDER BY 3"""
    )
    if not rows:
        rows = [_of_receipt(receipt) for receipt in run.receipts if receipt.get("issued_monotonic_ns") is not None]
    return tuple(
        _invalidation(str(name), str(paths), axis.seconds(issued), None if done is None else axis.seconds(done), axis)
        for name, paths, issued, done in rows
        if 0 <= axis.seconds(issued) <= axis.duration_seconds
    )


def _of_receipt(receipt: Record) -> tuple[str, str, int, int | None]:
    paths = " ".join(str(path) for path in receipt.get("paths", []))
    name = str(receipt.get("invalidation_id", ""))
    return name, paths, receipt["issued_monotonic_ns"], receipt.get("completed_monotonic_ns")


def _invalidation(name: str, paths: str, issued: float, done: float | None, axis: Axis) -> Band:
    taken = "no receipt in this run" if done is None else f"receipt after {(done - issued) * 1000:.0f} ms"
    ended = axis.duration_seconds if done is None else done
    return Band(Lane.INVALIDATION, paths or name, f"{name} of {paths}: {taken}", issued, ended)
