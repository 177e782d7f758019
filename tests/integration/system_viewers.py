"""Viewers that keep asking while a test does something to the lab, and remember strictly what each of them saw."""

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tests.integration.system_lab import SystemLab
from tests.peers.viewer import Answer, Viewer

PAUSE_SECONDS = 0.01
"""Between two requests of a viewer: load enough to be in everybody's way, and CPU left for the lab on a small machine."""
RECONNECT_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Seen:
    """One answer. Times are of the monotonic clock."""

    edge: str
    path: str
    began_at: float
    status: int
    version: int
    """x-amz-version-id of a bucket's object, else 0."""
    result: str
    """The word of X-Cache."""
    is_right: bool


def is_ok(_path: str, answer: Answer) -> bool:
    return answer.status == 200


class Viewers:
    """`async with Viewers(lab, host, edges, path_of) as viewers:`; `path_of(n)` is the path of each viewer's n-th request."""

    def __init__(
        self, lab: SystemLab, host: str, edges: Sequence[str], path_of: Callable[[int], str], *, per_edge: int = 1
    ) -> None:
        self._addresses = {edge: lab.http(edge) for edge in edges}
        self._host = host
        self._path_of = path_of
        self._per_edge = per_edge
        self._is_stopping = False
        self._tasks: list[asyncio.Task[None]] = []
        self.is_right: Callable[[str, Answer], bool] = is_ok
        self.seen: list[Seen] = []
        self.errors: list[str] = []
        self._counts = dict.fromkeys(edges, 0)
        self._answered = asyncio.Condition()

    async def __aenter__(self) -> Self:
        self._group = asyncio.TaskGroup()
        await self._group.__aenter__()
        for edge in self._addresses:
            for _ in range(self._per_edge):
                self._tasks.append(self._group.create_task(self._view(edge)))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_stopping = True
        await self._group.__aexit__(kind, error, trace)

    def wrong(self) -> list[Seen | str]:
        """Everything that no viewer may meet."""
        return [*self.errors, *(seen for seen in self.seen if not seen.is_right)]

    async def see_more(self, count: int, timeout_seconds: float = 20.0) -> None:
        """Until every edge has answered so many more requests."""
        before = dict(self._counts)
        wanted = {edge: seen + count for edge, seen in before.items()}
        async with asyncio.timeout(timeout_seconds), self._answered:
            await self._answered.wait_for(lambda: all(self._counts[edge] >= number for edge, number in wanted.items()))

    async def _view(self, edge: str) -> None:
        numbers = itertools.count()
        while not self._is_stopping:
            try:
                async with Viewer(self._addresses[edge]) as viewer:
                    await self._view_on(viewer, edge, numbers)
            except (OSError, EOFError, TimeoutError) as error:
                self.errors.append(f"{time.monotonic():.3f} {edge}: {error!r}")
                await asyncio.sleep(RECONNECT_SECONDS)

    async def _view_on(self, viewer: Viewer, edge: str, numbers: "itertools.count[int]") -> None:
        """One connection, until the viewer has seen enough or the edge says that it closes."""
        while not self._is_stopping:
            path = self._path_of(next(numbers))
            began_at = time.monotonic()
            answer = await viewer.get(self._host, path)
            version = int(answer.get("x-amz-version-id") or 0)
            is_right = self.is_right(path, answer)
            self.seen.append(Seen(edge, path, began_at, answer.status, version, answer.result, is_right))
            async with self._answered:
                self._counts[edge] += 1
                self._answered.notify_all()
            if answer.get("connection") == "close":
                return
            await asyncio.sleep(PAUSE_SECONDS)
