"""How questions travel between tiers: an edge asks regional caches, best first, then the origin; each part of the way takes its time, fails, or is cut."""

from collections import deque
from collections.abc import Mapping
from random import Random

from control_plane.nodes import Role
from edge_node.policy.parent_selection import rank_regionals
from tests.simulation.cache import NOT_MODIFIED, Question
from tests.simulation.node import Node, Respond
from tests.simulation.plan import ORIGIN
from tests.simulation.stored import validator
from tests.simulation.world import Callback, World

ANSWER_SECONDS = 1.8
"""How long one waits for an answer before the next one is asked."""
FAILURES = 0.25


class Tiers:
    """The way from an edge to the origin."""

    def __init__(self, world: World, versions: Mapping[str, int], *, is_origin_failing: bool) -> None:
        self.nodes: dict[str, Node] = {}
        self.is_origin_failing = is_origin_failing
        self._world, self._versions = world, versions
        self._dice: dict[str, Random] = {}
        self._waiting: deque[tuple[float, Callback]] = deque()

    def ask(self, node: Node, question: Question, answer: Respond) -> None:
        """The next tier."""
        regionals = self._regionals(node, question) if node.description.role is Role.EDGE else ()
        self._ask_next(node, question, answer, regionals)

    def _regionals(self, node: Node, question: Question) -> tuple[Node, ...]:
        """Those that its directory names, by the product's own order; none for a node that has forgotten where it stands (rule 7)."""
        peers = rank_regionals(node.cache.state.regionals, {}, question.path.encode(), lambda _: False)
        return tuple(self.nodes[peer.id] for peer in peers)

    def _ask_next(self, node: Node, question: Question, answer: Respond, regionals: tuple[Node, ...]) -> None:
        if not regionals:
            self._ask_origin(node, question, answer)
            return
        regional, *others = regionals
        is_over = False

        def ended(result: int | None) -> None:
            nonlocal is_over
            if not is_over:
                is_over = True
                answer(result)

        def next_one() -> None:
            nonlocal is_over
            if not is_over:
                is_over = True
                self._ask_next(node, question, answer, tuple(others))

        self._waiting.append((self._world.now + ANSWER_SECONDS, next_one))
        if len(self._waiting) == 1:
            self._world.after(ANSWER_SECONDS, self._time_out)
        self._ask_regional(node, regional, question, (ended, next_one))

    def _time_out(self) -> None:
        """Whoever has waited for so long asks the next one, unless there has been an answer. All wait equally long, so one timer is enough for them."""
        waiting, now = self._waiting, self._world.now
        while waiting and waiting[0][0] <= now:
            waiting.popleft()[1]()
        if waiting:
            self._world.after(waiting[0][0] - now, self._time_out)

    def _ask_regional(self, node: Node, regional: Node, question: Question, then: "_Then") -> None:
        """It is asked again elsewhere at once where nobody listens, and after a while where nothing comes back."""
        world, network, source, target = self._world, node.network, node.place, regional.place
        back = self._travel_seconds(node)
        ended, next_one = then

        def returned(result: int | None) -> None:
            world.after(back, lambda: ended(result) if network.reaches(source, target) else None)

        def arrived() -> None:
            if not regional.is_up:
                next_one()
            elif regional.cache.log_id:
                regional.cache.serve(question, returned, lambda: self._ask_origin(regional, question, returned))
            else:
                self._ask_origin(regional, question, returned)

        def listened() -> None:
            if network.reaches(source, target):
                network.run_in(target, arrived)

        world.after(self._travel_seconds(node), listened)

    def _ask_origin(self, node: Node, question: Question, answer: Respond) -> None:
        """The version that is read lies somewhere in the middle of the fetch."""
        world, network, place, wanted = self._world, node.network, node.place, question.wanted
        there, back = self._travel_seconds(node), self._travel_seconds(node)
        has_failed = self.is_origin_failing and self._dice_of(node.node_id).random() < FAILURES

        def read() -> None:
            if not network.reaches(place, ORIGIN):
                world.after(ANSWER_SECONDS, lambda: answer(None))
                return
            version = self._versions[question.path]
            is_same = wanted is not None and validator(version) == validator(wanted)
            result = None if has_failed else NOT_MODIFIED if is_same else version
            world.after(back, lambda: answer(result))

        world.after(there, read)

    def _dice_of(self, node_id: str) -> Random:
        dice = self._dice.get(node_id)
        if dice is None:
            dice = self._dice[node_id] = self._world.dice(f"upstream of {node_id}")
        return dice

    def _travel_seconds(self, node: Node) -> float:
        dice = self._dice_of(node.node_id)
        return dice.uniform(0.1, 0.8) if dice.random() < 0.15 else dice.uniform(0.001, 0.03)


_Then = tuple[Respond, Callback]
