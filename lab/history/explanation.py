"""The way of one request: everything that a history knows of it, as short sentences and as a JSON value.

What the router had told the viewer, each tier's answer and what it asked upstream, the origin, who fetched the body when it was not this request, the invalidations
that match its path, and the faults in force meanwhile. Moments are told as seconds since the request began. Pure. Many requests are looked up at once: each table is
read once, however many there are.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lab.history.path_patterns import matches, patterns_of
from lab.history.reader import History

Record = Mapping[str, Any]
MOST_ROWS = 20
"""Of one table, for one request."""
_NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Explanation:
    """Of one request."""

    sentences: tuple[str, ...]
    """In the order of the way."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """The rows that it is made of, by table: `request`, `served`, `fills`, `origin`, `made_by`, `invalidations`, `faults`."""

    def to_json(self) -> dict[str, Any]:
        """As verdict files and the report have it."""
        return {"sentences": list(self.sentences), "facts": dict(self.facts)}


def explain(history: History, ids: Sequence[str]) -> dict[str, Explanation]:
    """Of requests by their `id`; one that the history does not have is not in the answer."""
    if not ids:
        return {}
    requests = history.records("SELECT * FROM requests WHERE id IN (SELECT unnest(?::VARCHAR[]))", [list(set(ids))])
    request_ids = sorted({row["request_id"] for row in requests if row["request_id"]})
    produced = sorted({row["stamp_produced_ns"] for row in requests if row["stamp_produced_ns"] is not None})
    by_request = {
        table: _grouped(history, table, "request_id", request_ids) for table in ("served", "fills", "origin_requests")
    }
    made_by = _grouped(history, "origin_requests", "started_ns", produced)
    invalidations = history.records("SELECT * FROM invalidations ORDER BY issued_ns")
    faults = history.records("SELECT * FROM faults ORDER BY began_ns")
    nodes = {row["address"]: row for row in history.records("SELECT * FROM nodes")}
    return {
        request["id"]: _way(
            {
                "request": request,
                "served": by_request["served"][request["request_id"]],
                "fills": by_request["fills"][request["request_id"]],
                "origin": by_request["origin_requests"][request["request_id"]],
                "made_by": made_by[request["stamp_produced_ns"]],
                "invalidations": list(_matching(invalidations, request))[-MOST_ROWS:],
                "faults": list(_in_force(faults, request))[:MOST_ROWS],
            },
            nodes,
        )
        for request in requests
    }


def _grouped(history: History, table: str, column: str, keys: Sequence[Any]) -> defaultdict[Any, list[dict[str, Any]]]:
    groups: defaultdict[Any, list[dict[str, Any]]] = defaultdict(list)
    if not keys:
        return groups
    kind = "BIGINT" if isinstance(keys[0], int) else "VARCHAR"
    question = f"SELECT * FROM {table} WHERE {column} IN (SELECT unnest(?::{kind}[])) ORDER BY started_ns"
    for row in history.records(question, [list(keys)]):
        if len(groups[row[column]]) < MOST_ROWS:
            groups[row[column]].append(row)
    return groups


def _matching(invalidations: Iterable[Record], request: Record) -> Iterable[Record]:
    for row in invalidations:
        is_of_host = (row["host"] or "").lower() == (request["host"] or "").lower()
        if is_of_host and any(matches(each, request["path"] or "") for each in patterns_of(row["paths"])):
            yield row


def _in_force(faults: Iterable[Record], request: Record) -> Iterable[Record]:
    begin, end = _moment(request), request["ended_ns"]
    for row in faults:
        began, healed = row["began_ns"], row["healed_ns"]
        if None not in (begin, end, began) and began <= end and (healed is None or healed >= begin):
            yield row


def _moment(request: Record) -> int | None:
    started: int | None = request["started_ns"]
    return request["intended_ns"] if started is None else started


def _way(facts: Mapping[str, Any], nodes: Mapping[str, Record]) -> Explanation:
    request: Record = facts["request"]
    zero = _moment(request)
    sentences = [_asked(request), *_routed(request, nodes, zero)]
    steps = [(row["started_ns"] or 0, _served(row, zero)) for row in facts["served"]]
    steps += [(row["started_ns"] or 0, _filled(row, zero)) for row in facts["fills"]]
    steps += [(row["started_ns"] or 0, _origin(row, zero)) for row in facts["origin"]]
    sentences += [sentence for _, sentence in sorted(steps)]
    sentences.append(_got(request, zero))
    sentences += [
        f"What came was made for request {row['request_id']}: {_origin(row, zero)}"
        for row in facts["made_by"]
        if row["request_id"] != request["request_id"] and row["path"] == request["path"]
    ]
    sentences += [_invalidated(row, zero) for row in facts["invalidations"]]
    sentences += [_fault(row, zero) for row in facts["faults"]]
    return Explanation(tuple(sentences), facts)


def _at(moment: int | None, zero: int | None) -> str:
    return "at an unknown moment" if moment is None or zero is None else f"at {(moment - zero) / _NANOSECONDS:+.3f} s"


def _asked(request: Record) -> str:
    identity = f" as {request['identity']}" if request["identity"] else ""
    return (
        f"A viewer in {request['region']} asked for {request['method']} {request['host']}{request['path']}{identity}."
    )


def _routed(request: Record, nodes: Mapping[str, Record], zero: int | None) -> Iterable[str]:
    if request["dns_answer"] is not None:
        named = [_named(address, nodes) for address in request["dns_answer"].split(",") if address]
        yield f"The router had named {', '.join(named) or 'nobody'} {_at(request['dns_asked_ns'], zero)}."
    if request["address"] is not None:
        yield f"It was sent to {_named(request['address'], nodes)}, in {request['attempts'] or 1} attempt(s)."


def _named(address: str, nodes: Mapping[str, Record]) -> str:
    return str(nodes[address]["node"]) if address in nodes else address


def _served(row: Record, zero: int | None) -> str:
    return f"{row['node']} answered {_at(row['started_ns'], zero)}: {row['result']}, {row['reason']}, status {row['status']}, at index {row['index']}."


def _filled(row: Record, zero: int | None) -> str:
    how = "validated with" if row["is_conditional"] else "asked"
    came = f"failed ({row['error']})" if row["error"] else f"got status {row['status']}"
    return (
        f"{row['node']} {how} the {row['tier']} {row['upstream']} {_at(row['started_ns'], zero)}, at index {row['index']}, "
        f"and {came} {_at(row['ended_ns'], zero)}."
    )


def _origin(row: Record, zero: int | None) -> str:
    wrong = f", changed by the misbehaviour {row['misbehaviour']}" if row["misbehaviour"] else ""
    return (
        f"{row['node']} answered {row['status']} with version {row['version']} {_at(row['started_ns'], zero)}{wrong}."
    )


def _got(request: Record, zero: int | None) -> str:
    if request["status"] is None:
        return f"The viewer got no answer: {request['error']}, {_at(request['ended_ns'], zero)}."
    stamp = "" if request["stamp_version"] is None else f" of version {request['stamp_version']}"
    made = "" if request["stamp_produced_ns"] is None else f", produced {_at(request['stamp_produced_ns'], zero)}"
    error = f"; the viewer saw: {request['error']}" if request["error"] else ""
    bytes_ = f"{request['received_bytes']} bytes" if request["received_bytes"] is not None else "an unknown body"
    return f"The viewer got {request['status']} ({request['x_cache']}), {bytes_}{stamp}{made}, {_at(request['ended_ns'], zero)}{error}."


def _invalidated(row: Record, zero: int | None) -> str:
    left_out = f"; it leaves out {row['left_out']}" if row["left_out"] else ""
    return (
        f"Invalidation {row['id']} ({row['paths']}) has index {row['index']}, was issued {_at(row['issued_ns'], zero)}, "
        f"and its receipt was complete {_at(row['completed_ns'], zero)}{left_out}."
    )


def _fault(row: Record, zero: int | None) -> str:
    return f"Fault {row['fault']} at {row['place']}: from {_at(row['began_ns'], zero)[3:]} to {_at(row['healed_ns'], zero)[3:]}."
