"""What the stages of a request cost: hits of the same object through distributions that differ only in what is switched on, on one edge, as ratios to the plain one.

Stages that need no look at the request are decided when the configuration is compiled, so a hit has to cost with all of them what it costs without. A stage that looks
at each request, here the geographic restriction, costs something, which is shown.
"""

import asyncio
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

from google.protobuf import json_format

from benchmarks.peers import origin
from benchmarks.peers.invalidations import own_edge
from benchmarks.peers.processes import UnsupportedError
from benchmarks.peers.requests import HOST_NAME
from benchmarks.peers.results import Figure, Goal, Spread, alone
from benchmarks.peers.servers import Server
from benchmarks.peers.session import Session, ask, turns
from benchmarks.peers.wrk import Load, run_wrk
from proto.cdn.v1 import configuration_pb2
from tests.builders import behavior_message, distribution_message, origin_message
from tests.peers.control_plane import ScriptedControlPlane

ALL_METHODS = ("GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE")
COMPILED_AWAY: dict[str, Any] = {
    "default_behavior": {
        "allowed_methods": ALL_METHODS,
        "compress": True,
        "viewer_protocol_policy": "VIEWER_PROTOCOL_POLICY_ALLOW_ALL",
    },
    "error_responses": [{"error_status": 404, "minimum_ttl_seconds": 10, "page_path": "/small/error", "response_status": 404}],
}  # fmt: skip
"""What is decided without a look at the request. A field that this build's contract does not have yet is left out."""
GEO_RESTRICTION: dict[str, Any] = {"geo_restriction": {"type": "TYPE_DENY_LIST", "countries": ["AQ"]}}
"""Each viewer's country is looked up, and is another one."""
REFUSING: dict[str, Any] = {"geo_restriction": {"type": "TYPE_DENY_LIST", "countries": ["DE"]}}
"""The same with the viewer's own country: an edge that serves it all the same does not look, and there is nothing to measure."""
GEO_TABLE: dict[str, Any] = {
    "networks": [
        {"cidr": "127.0.0.0/8", "country": "DE"},
        *({"cidr": f"198.{18 + number // 256}.{number % 256}.0/24", "country": "AQ"} for number in range(512)),
    ]
}
"""Of the benchmark's viewers, and a few hundred others, so that there is something to look through; reserved addresses (RFC 1122, RFC 2544)."""
MOST_COST = Goal(0.97)
"""Nothing that is switched off or decided beforehand may cost more than 3 %."""

ONE_STAGE = Goal(round(1 / 1.5, 2))
"""A stage that looks at each request may cost half of a hit."""


@dataclass(frozen=True)
class Variant:
    """A distribution beside the plain one."""

    row: str
    title: str
    changes: dict[str, Any]
    goal: Goal | None
    refusing: dict[str, Any] | None = None
    """Changes with which the same request has to be refused, to prove that the stage works."""


VARIANTS = (
    Variant(
        "hit_stages_compiled_away", "all stages on that need no look at the request, to a plain hit", COMPILED_AWAY, MOST_COST
    ),
    Variant(
        "hit_one_stage_per_request", "a geographic restriction, looked at for each request, to a plain hit", GEO_RESTRICTION, ONE_STAGE, REFUSING
    ),
)  # fmt: skip


def known(changes: dict[str, Any], descriptor: Any) -> dict[str, Any]:
    """Those of the changes for which a message of the contract has fields, also inside; its descriptor has a class of its own in each implementation."""
    found: dict[str, Any] = {}
    for name, value in changes.items():
        field = descriptor.fields_by_name.get(name)
        if field is not None:
            is_inside = field.message_type is not None and isinstance(value, dict)
            found[name] = known(value, field.message_type) if is_inside else value
    return found


def with_changes(wanted: dict[str, Any], number: int = 2) -> configuration_pb2.Distribution:
    """A distribution of its own name; UnsupportedError when nothing of the changes can be said in this build."""
    changes = known(wanted, configuration_pb2.Distribution.DESCRIPTOR)
    if not changes:
        raise UnsupportedError(f"the contract has no {', '.join(wanted)}")
    host, _, port = origin.ADDRESS.partition(":")
    distribution = distribution_message(
        origin_message(host, int(port)), behavior_message(), id=f"E{number}", domain_name=f"d{number}.cdn.localhost"
    )
    if "default_behavior" in changes:
        distribution.default_behavior.ClearField("allowed_methods")  # parsing adds to what is there
    return json_format.ParseDict(changes, distribution)


async def measure(session: Session, variant: Variant) -> list[Figure]:
    """The plain distribution and the other one in turn, on an edge of their own."""
    distribution = with_changes(variant.changes)
    async with own_edge(session) as (control, server):
        await _tell(control, distribution)
        if variant.refusing is not None:
            await _prove(control, server, with_changes(variant.refusing, 3))
        plain = Load("/small/one")
        loads = {HOST_NAME: plain, distribution.domain_name: replace(plain, host=distribution.domain_name)}
        rates: dict[str, list[float]] = {host: [] for host in loads}
        costs: dict[str, list[float]] = {host: [] for host in loads}
        for host, load in loads.items():
            await _hit(session, server, host, load)
        for host in turns(list(loads), session.rounds):
            used = session.cpu_seconds(server)
            address = server.place.address
            sample = await asyncio.to_thread(run_wrk, address, loads[host], session.seconds, session.folder)
            rates[host].append(sample.requests_per_second)
            answers = sample.requests_per_second * session.seconds
            costs[host].append((session.cpu_seconds(server) - used) / answers * 1e6)
            session.forget_logs()
        for host, load in loads.items():
            await _hit(session, server, host, load)
    ratios = [mine / base for mine, base in zip(rates[distribution.domain_name], rates[HOST_NAME], strict=True)]
    note = ", ".join(f"{host} {Spread.of(values).median:.2f}" for host, values in costs.items())
    note = f"CPU time for each answer, us: {note}; {_switched(variant)}"
    return [alone((variant.row, variant.title, "ratio"), ratios, variant.goal, note)]


def _switched(variant: Variant) -> str:
    on = _names(known(variant.changes, configuration_pb2.Distribution.DESCRIPTOR))
    missing = _names(variant.changes) - on
    return f"switched on: {', '.join(sorted(on))}" + (
        f"; not in this build: {', '.join(sorted(missing))}" if missing else ""
    )


def _names(changes: dict[str, Any]) -> set[str]:
    return {
        inner for name, value in changes.items() for inner in (_names(value) if isinstance(value, dict) else {name})
    }


async def _tell(control: ScriptedControlPlane, distribution: configuration_pb2.Distribution) -> None:
    """The distribution and the countries of viewers; applied when it returns."""
    control.append(json_format.ParseDict(GEO_TABLE, configuration_pb2.GeoTable()))
    control.append(distribution)
    await control.wait_acknowledged(control.index, *control.streams)


async def _prove(control: ScriptedControlPlane, server: Server, refusing: configuration_pb2.Distribution) -> None:
    await _tell(control, refusing)
    answer = await asyncio.to_thread(ask, server.place.address, "/small/one", {"Host": refusing.domain_name})
    if answer.status != HTTPStatus.FORBIDDEN:
        raise UnsupportedError(f"a viewer who has to be refused is answered {answer.status}: the stage is not there")


async def _hit(session: Session, server: Server, host: str, load: Load) -> None:
    await asyncio.to_thread(session.verify, server, load.target, {"Host": host})
