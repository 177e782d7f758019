"""When a watchdog starts its agent again, when it kills it, when it ends, and when it gives up. A look is what time is to it: none of this waits."""

from collections.abc import Iterator, Sequence

import pytest

from lab.agent.watchdog import ALIVE, END, MOST_DEATHS, READY, SILENT_LOOKS, STARTING_LOOKS, watch

SILENCE = None
Words = Sequence[bytes | None]


class ScriptedAgent:
    """Says its words, one for each look, and is gone behind them; or when it is killed."""

    def __init__(self, words: Words) -> None:
        self._words = iter(words)
        self.answers = self.kills = 0

    def look(self) -> bytes | None:
        return b"" if self.kills else next(self._words, b"")

    def answer(self) -> None:
        self.answers += 1

    def kill(self) -> None:
        self.kills += 1


class UndyingAgent(ScriptedAgent):
    """Waits for a disk that does not answer: a kill reaches it when its words are over."""

    def look(self) -> bytes | None:
        return next(self._words, b"")


class Agents:
    """One after the other."""

    def __init__(self, *agents: ScriptedAgent) -> None:
        self._agents: Iterator[ScriptedAgent] = iter(agents)
        self.started = 0
        self.pauses: list[float] = []

    def start(self) -> ScriptedAgent:
        self.started += 1
        return next(self._agents)

    def watched(self) -> "Agents":
        watch(self.start(), self.start, self.pauses.append, lambda: 0.0)
        return self


def saying(*words: bytes | None) -> ScriptedAgent:
    return ScriptedAgent(words)


def test_an_agent_that_ends_in_order_is_the_last_one() -> None:
    assert Agents(saying(READY + END)).watched().started == 1
    assert Agents(saying(READY, ALIVE, END)).watched().started == 1
    assert Agents(saying(END)).watched().started == 1, "there was another agent already"


def test_one_that_is_killed_is_started_again() -> None:
    agents = Agents(saying(READY), saying(), saying(READY), saying(READY, END)).watched()
    assert agents.started == 4 and len(agents.pauses) == 3


def test_those_that_work_are_started_again_for_ever_and_soon() -> None:
    agents = Agents(*[saying(READY) for _ in range(200)], saying(END)).watched()
    assert agents.started == 201 and max(agents.pauses) <= 1.0


def test_it_gives_up_when_none_gets_ready() -> None:
    agents = Agents(saying(READY), *[saying() for _ in range(100)]).watched()
    assert agents.started == MOST_DEATHS + 2
    assert agents.pauses == sorted(agents.pauses) and max(agents.pauses) <= 5.0


@pytest.mark.parametrize("word", [READY, ALIVE])
def test_one_that_says_nothing_any_more_is_killed_and_replaced(word: bytes) -> None:
    hanging = saying(READY, word, *[SILENCE] * SILENT_LOOKS, ALIVE)
    agents = Agents(hanging, saying(READY, END)).watched()
    assert (hanging.kills, agents.started) == (1, 2)


def test_one_that_speaks_again_in_time_goes_on() -> None:
    """As after the sleep of a laptop, or when both were stopped: that is one look, however long it took."""
    slow = saying(READY, *([*[SILENCE] * (SILENT_LOOKS - 1), ALIVE] * 3), END)
    agents = Agents(slow).watched()
    assert (slow.kills, agents.started) == (0, 1)


def test_one_that_is_not_ready_yet_has_longer_but_not_for_ever() -> None:
    slow, hanging = saying(*[SILENCE] * (STARTING_LOOKS - 1), READY), saying(*[SILENCE] * STARTING_LOOKS, READY)
    agents = Agents(slow, hanging, saying(END)).watched()
    assert (slow.kills, hanging.kills, agents.started) == (0, 1, 3)


def test_one_that_hangs_while_it_ends_is_killed_and_not_replaced() -> None:
    hanging = saying(READY, END, *[SILENCE] * SILENT_LOOKS)
    assert Agents(hanging).watched().started == 1 and hanging.kills == 1


def test_no_other_one_is_started_before_a_killed_one_is_gone() -> None:
    """It has the lock still."""
    undying = UndyingAgent([READY, *[SILENCE] * SILENT_LOOKS * 3])
    agents = Agents(undying, saying(END)).watched()
    assert (undying.kills, agents.started) == (3, 2)


def test_each_word_is_answered_and_silence_is_not() -> None:
    agent = saying(READY, ALIVE, SILENCE, ALIVE, END)
    Agents(agent).watched()
    assert agent.answers == 4
