"""Questions to peers that have not been answered yet. One may be far away: its answer counts also when it comes after the round in which it was asked."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum

from edge_node.policy.fence import PeerStanding


class Silence(Enum):
    """Why there is no answer."""

    LATE = "late"
    """It may yet come."""
    GONE = "gone"
    """Nobody is there, or nobody who knows this question."""


Said = PeerStanding | Silence


@dataclass(frozen=True, slots=True)
class Answered:
    """What has come of a question, and when it was asked."""

    asked_at: float
    answer: Said


class OpenQuestions:
    """At most so many to each peer; a further one takes the place of the oldest."""

    def __init__(self, ask: Callable[[str], Awaitable[Said]], most_of_a_peer: int) -> None:
        self._ask = ask
        self._most = most_of_a_peer
        self._open: dict[str, deque[tuple[float, asyncio.Future[Said]]]] = {}

    def put(self, peer_id: str, address: str, asked_at: float) -> None:
        """Ask now."""
        questions = self._open.setdefault(peer_id, deque())
        if len(questions) >= self._most:
            questions.popleft()[1].cancel()
        questions.append((asked_at, asyncio.ensure_future(self._ask(address))))

    async def wait(self, seconds: float) -> None:
        """Until the newest question to each peer is answered, or so long."""
        newest = [questions[-1][1] for questions in self._open.values()]
        if newest:
            await asyncio.wait(newest, timeout=seconds)

    def take(self) -> dict[str, Answered]:
        """Of each peer that has answered since: its answer to the newest question of those. What was asked before that is of no use any more."""
        taken: dict[str, Answered] = {}
        for peer_id, questions in list(self._open.items()):
            while any(question.done() for _, question in questions):
                asked_at, question = questions.popleft()
                if question.done():
                    taken[peer_id] = Answered(asked_at, question.result())
                else:
                    question.cancel()
            if not questions:
                del self._open[peer_id]
        return taken

    async def close(self) -> None:
        """Nobody waits for the answers any more."""
        left = [question for questions in self._open.values() for _, question in questions]
        self._open.clear()
        for question in left:
            question.cancel()
        for question in left:
            with contextlib.suppress(asyncio.CancelledError):
                await question
