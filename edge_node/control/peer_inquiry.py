"""Asks other nodes where they stand when this one holds no lease: the rim of `policy/fence.py` (DESIGN section 4, rule 10).

Regional caches of the directory, and some of the other edges, are asked at their admin ports, all at the same time, once a round; so are nodes that have left the
directory (`known_peers.py`). A node with a lease asks nobody.

A round is over after half a second. A connection and a question take two round trips, so whoever is further away than a quarter of a second answers in a later round than
it was asked in: that answer counts, as one of the moment at which it was asked for.
"""

import asyncio
import json
import logging
import random
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import zip_longest
from math import inf
from typing import Final

from edge_node.control.open_questions import Answered, OpenQuestions, Said, Silence
from edge_node.model.configuration import Peer, Role
from edge_node.policy.fence import ANSWER_SECONDS, ROUND_SECONDS, Answers, FenceState, PeerStanding
from edge_node.storage.node_state import NodeState
from edge_node.upstream.source_address import SourceAddress

PATH: Final = "/standing"
MOST_ASKED: Final = 12
"""In one round: a regional cache, an edge, and one who has left the directory in turn; where there are more, others each time."""
LONGEST_ANSWER_BYTES: Final = 4_096
ROUNDS_UNTIL_GONE: Final = 3
"""A peer from which nothing comes in so many rounds in a row is taken for one that cannot be reached."""
PATIENCE_SECONDS: Final = ROUNDS_UNTIL_GONE * ROUND_SECONDS
"""How long an answer may take: two round trips, of a connection and of a question, of three quarters of a second (docs/topology.md bounds links by it)."""
LOOK_SECONDS: Final = 0.1
"""How late the end of the lease is noticed; what is served is decided by the clock and not by this."""

_FENCE_TEXTS: Final = {
    FenceState.LEASED: "the control plane has granted a lease",
    FenceState.ASKING: "the lease is over: other nodes are asked whether the control plane has gone on without this one",
    FenceState.FENCED: "the control plane has gone on without this node: what is stored is confirmed before it is served, until there is a lease again",
    FenceState.ALONE: "nobody who can be reached hears the control plane: what is stored is served as it is",
}

_logger = logging.getLogger("edge")


def log_fence(state: FenceState) -> None:
    """The operator is told why stored responses are asked for again."""
    level = logging.WARNING if state is FenceState.FENCED else logging.INFO
    _logger.log(level, "%s", _FENCE_TEXTS[state])


class PeerInquiry:
    """One node's questions."""

    def __init__(
        self,
        node_id: str,
        state: NodeState,
        clock: Callable[[], float],
        rng: random.Random,
        note_change: Callable[[FenceState], None],
        source: SourceAddress,
    ) -> None:
        self._node_id = node_id
        self._state = state
        self._clock = clock
        self._rng = rng
        self._note_change = note_change
        self._questions = OpenQuestions(partial(_ask_from, source), ROUNDS_UNTIL_GONE)
        self._noted = state.fence.state
        self._silent_rounds: dict[str, int] = {}
        """In how many rounds in a row nothing has come from a peer that was asked, whether or not others were asked in between. Only of those that are
        known, and while there is no lease."""

    async def run(self) -> None:
        """Ask for as long as there is something to ask."""
        try:
            while True:
                pause = await self._look()
                await asyncio.sleep(max(0.0, pause))
        finally:
            await self._questions.close()

    async def _look(self) -> float:
        """Asks, if there is something to ask; how long until it looks again."""
        began_at = self._clock()
        if self._state.fence.must_ask(began_at):
            await self.ask_round()
            pause = began_at + ROUND_SECONDS - self._clock()
        else:
            self._silent_rounds.clear()
            await self._questions.close()
            pause = LOOK_SECONDS
        self._note()
        return pause

    async def ask_round(self) -> None:
        """All who are to be asked, once."""
        asked_at, state = self._clock(), self._state
        peers = {peer.id: peer.admin for peer in self._choose(state.peers, state.former_peers)}
        for peer_id, address in peers.items():
            self._questions.put(peer_id, address, asked_at)
        await self._questions.wait(ANSWER_SECONDS)
        heard = {each: said for each, said in self._questions.take().items() if said.answer is not Silence.LATE}
        late = peers.keys() - heard.keys()
        not_asked = {peer.id for peer in (*state.peers, *state.former_peers)} - peers.keys() - heard.keys()
        self._silent_rounds = {each: rounds for each, rounds in self._silent_rounds.items() if each in late | not_asked}
        self._silent_rounds |= {each: self._silent_rounds.get(each, 0) + 1 for each in late}
        is_missing = any(map(self._may_yet_answer, late))
        oldest_at = min((said.asked_at for said in heard.values()), default=asked_at)
        answers = Answers(_as_of(oldest_at, heard.values()), is_missing)
        state.fence.round_ended(oldest_at, self._clock(), state.position, answers)

    def _choose(self, peers: Sequence[Peer], former: Sequence[Peer]) -> list[Peer]:
        """Those that held a lease when the control plane was heard last, and those that had lost theirs, who may have another one by now.

        However many there are of one sort, of the others some are asked too; first those who may yet answer, so that it is soon known whether they are gone.
        """
        others = [peer for peer in peers if peer.id != self._node_id and peer.admin]
        gone = [peer for peer in former if peer.id != self._node_id and peer.admin]
        self._rng.shuffle(others)
        if len(others) + len(gone) > MOST_ASKED:
            self._rng.shuffle(gone)
        sorts = (
            [peer for peer in others if peer.role is Role.REGIONAL],
            [peer for peer in others if peer.role is not Role.REGIONAL],
            gone,
        )
        in_turn = [peer for turn in zip_longest(*sorts) for peer in turn if peer is not None]
        in_turn.sort(key=lambda peer: not self._may_yet_answer(peer.id))
        return in_turn[:MOST_ASKED]

    def _may_yet_answer(self, peer_id: str) -> bool:
        """Whether it has not answered in time, and not often enough to be taken for gone."""
        return 0 < self._silent_rounds.get(peer_id, 0) < ROUNDS_UNTIL_GONE

    def _note(self) -> None:
        state = self._state.fence.state
        if state is not self._noted:
            self._noted = state
            self._note_change(state)


def _as_of(moment: float, heard: Iterable[Answered]) -> list[PeerStanding]:
    """What peers have said, as if they had all been asked at one moment, the oldest: who was asked later has renewed its lease that much less before it."""
    return [
        replace(said.answer, renewed_seconds_ago=said.answer.renewed_seconds_ago - (said.asked_at - moment))
        for said in heard
        if isinstance(said.answer, PeerStanding)
    ]


async def _ask_from(source: SourceAddress, address: str) -> Said:
    return await ask_peer(address, source)


async def ask_peer(address: str, source: SourceAddress) -> Said:
    """What the node with this admin port says, if it does."""
    host, _, port = address.rpartition(":")
    if not port.isdigit():
        return Silence.GONE
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await _ask(host.strip("[]"), int(port), source)
    except TimeoutError:
        return Silence.LATE
    except (OSError, ValueError, RecursionError, EOFError, asyncio.LimitOverrunError):
        return Silence.GONE


async def _ask(host: str, port: int, source: SourceAddress) -> Said:
    reader, writer = await asyncio.open_connection(
        host, port, limit=LONGEST_ANSWER_BYTES, local_addr=source.toward(host)
    )
    try:
        writer.write(f"GET {PATH} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        body = b""
        while len(body) <= LONGEST_ANSWER_BYTES and (piece := await reader.read(LONGEST_ANSWER_BYTES)):
            body += piece
    finally:
        writer.close()
    if len(body) > LONGEST_ANSWER_BYTES:
        return Silence.GONE
    return read_standing(json.loads(body)) if head.startswith(b"HTTP/1.1 200 ") else Silence.GONE


def write_standing(standing: PeerStanding) -> dict[str, object]:
    """As the admin port tells it."""
    ago = standing.renewed_seconds_ago
    return {
        "log_id": standing.log_id,
        "applied_index": standing.applied_index,
        "is_leased": standing.is_leased,
        "is_starting": standing.is_starting,
        "renewed_seconds_ago": None if ago == inf else ago,
    }


def read_standing(said: object) -> PeerStanding:
    """ValueError for what no node says."""
    if not isinstance(said, dict):
        raise ValueError("no object")
    ago = said.get("renewed_seconds_ago")
    log_id, index = said.get("log_id"), said.get("applied_index")
    if isinstance(ago, bool) or not (ago is None or (isinstance(ago, int | float) and 0 <= ago <= sys.float_info.max)):
        raise ValueError("an age that no float holds")
    if not isinstance(log_id, str) or isinstance(index, bool) or not (isinstance(index, int) and index >= 0):
        raise ValueError("members that are missing or of another kind")
    renewed_seconds_ago = inf if ago is None else float(ago)
    return PeerStanding(
        log_id, index, said.get("is_leased") is True, said.get("is_starting") is True, renewed_seconds_ago
    )
