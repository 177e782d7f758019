"""One run of a workload in a lab that has just come up, and what it came to."""

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from lab.clients.http_client import UnreachableError, ask, get_json
from lab.errors import LabError
from lab.regression.counters import Counts, counts_of, gains
from lab.regression.lab_under_test import LabUnderTest, Samples
from lab.regression.system_calls import count_system_calls
from lab.regression.viewer_connections import Batch, Viewers, request_bytes
from lab.regression.workloads import Ask, Step, Workload

SETTLED_SECONDS: Final = 2.0
"""For counts of what is over already, and for viewers who wait for a gate."""
_POLL_SECONDS: Final = 0.01
HITS: Final = 1_000
"""While system calls are counted."""
HIT: Final = "/echo/burst-0?size=1024&cache-control=max-age%3D86400"


async def count_all(lab: LabUnderTest, workloads: Sequence[Workload]) -> dict[str, Counts]:
    """By name. One behind the other, in one lab: what a workload leaves in the caches is part of the next one's conditions."""
    counts = {each.name: await count_workload(lab, each) for each in workloads}
    if calls := await count_system_calls(lab.edge.pid, partial(_ask_for_hits, lab)):
        counts["system calls"] = {"edge.system_calls": calls / HITS}
    return counts


async def _ask_for_hits(lab: LabUnderTest) -> None:
    viewers = Viewers(lab.edge.http, lab.site)
    hit = request_bytes(Ask(HIT), viewers.host)
    try:
        await viewers.ask([hit] * HITS, 1)
    finally:
        viewers.close()


async def count_workload(lab: LabUnderTest, workload: Workload) -> Counts:
    """LabError when a request or an invalidation is not answered."""
    viewers = Viewers(lab.edge.http, lab.site)
    before = lab.samples()
    try:
        batches = [await _do(lab, viewers, step) for step in workload.steps]
    finally:
        viewers.close()
    _wait_for_counts(lab, before[lab.edge.id], workload.requests)
    roles = {each.id: each.role for each in lab.nodes}
    seen = {
        "viewer.bytes": float(sum(each.body_bytes for each in batches)),
        "viewer.failures": float(
            sum(count for each in batches for status, count in each.statuses.items() if status >= 400)
        ),
    }
    return {**counts_of(gains(before, lab.samples(), roles)), **seen}


async def _do(lab: LabUnderTest, viewers: Viewers, step: Step) -> Batch:
    if step.invalidated:
        _invalidate(lab, list(step.invalidated))
    requests = [request_bytes(each, viewers.host) for each in step.asks]
    asked = asyncio.ensure_future(viewers.ask(requests, len(requests) if step.are_together else 1))
    try:
        if step.gate:
            await _open_gate(lab, step)
        return await asked
    finally:
        asked.cancel()


def _invalidate(lab: LabUnderTest, paths: list[str]) -> None:
    assert lab.distribution is not None
    with lab.api() as api:
        api.wait_invalidated(lab.distribution.id, api.invalidate(lab.distribution.id, paths))


async def _open_gate(lab: LabUnderTest, step: Step) -> None:
    """Once all viewers of the step wait, for a fetch or for one of their own; or after a while, which then shows in the counts."""
    origin = lab.of_role("origin")[0].admin
    collapsed = lab.edge.samples().get("cdn_collapsed_requests_total", 0.0)

    def all_wait() -> bool:
        return _collapsed_since(lab, collapsed) + _waiting(origin, step.gate) >= len(step.asks)

    await _until(all_wait)
    if ask(origin, f"/gates/{step.gate}", method="POST").status >= 300:
        raise LabError(f"origin: gate {step.gate} does not open")


def _collapsed_since(lab: LabUnderTest, before: float) -> float:
    return lab.edge.samples().get("cdn_collapsed_requests_total", 0.0) - before


def _waiting(origin: str, gate: str) -> int:
    try:
        return int(get_json(origin, f"/gates/{gate}")["waiting"])
    except UnreachableError:  # nobody has come to it yet
        return 0


async def _until(is_so: Callable[[], bool]) -> None:
    """Or until it has taken too long."""
    deadline = time.monotonic() + SETTLED_SECONDS
    for _ in range(int(SETTLED_SECONDS / _POLL_SECONDS)):
        if is_so() or time.monotonic() >= deadline:
            return
        await asyncio.sleep(_POLL_SECONDS)


def _wait_for_counts(lab: LabUnderTest, before: Samples, requests: int) -> None:
    """An edge counts a request a moment after its last byte has gone."""
    deadline = time.monotonic() + SETTLED_SECONDS
    while _requests(lab.edge.samples()) - _requests(before) < requests and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


def _requests(samples: Samples) -> float:
    return sum(value for name, value in samples.items() if name.startswith("cdn_requests_total"))
