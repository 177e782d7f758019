"""What a response stream does for thousands of readers: no more for each of them, however many there are."""

from edge_node.caching.entry import Entry
from edge_node.caching.key import KeyedField
from edge_node.caching.lookup import Reason
from edge_node.fill.outcome import FillOutcome, FillRole, Unshared
from edge_node.fill.response_stream import ResponseStream
from edge_node.model.http import ResponseHead

MANY = 2_000


class Steps:
    """How often readers are looked at."""

    def __init__(self) -> None:
        self.count = 0


class Reader:
    """Counts how often it is compared, and how often its place is asked for."""

    def __init__(self, steps: Steps, role: FillRole = FillRole.FOLLOWER) -> None:
        self._steps = steps
        self._position = 0
        self.role = role
        self.outcomes: list[FillOutcome] = []

    def __eq__(self, other: object) -> bool:
        self._steps.count += 1
        return self is other

    def __hash__(self) -> int:
        return id(self) >> 4

    @property
    def position(self) -> int:
        self._steps.count += 1
        return self._position

    @position.setter
    def position(self, value: int) -> None:
        self._position = value

    def outcome_arrived(self, outcome: FillOutcome) -> None:
        self.outcomes.append(outcome)

    def advanced(self) -> None:
        raise AssertionError("nothing has come")

    def interim_arrived(self, head: ResponseHead) -> None:
        raise AssertionError("nothing has come")

    def may_share(self, varying: tuple[KeyedField, ...]) -> bool:
        return True

    def may_have_stale(self, stale: Entry, age_seconds: float) -> bool:
        return True


class Owner:
    def __init__(self) -> None:
        self.is_abandoned = False

    def stream_abandoned(self) -> None:
        self.is_abandoned = True


def test_thousands_of_followers_are_released_at_once() -> None:
    steps = Steps()
    stream, leader = ResponseStream(Owner()), Reader(steps, FillRole.LEADER)
    followers = [Reader(steps) for _ in range(MANY)]
    for reader in (leader, *followers):
        stream.attach(reader)
    steps.count = 0
    stream.release_followers(Reason.NOT_STORABLE)
    assert steps.count < 10 * MANY
    assert [reader.outcomes for reader in stream.readers if isinstance(reader, Reader)] == [[]]
    assert all(isinstance(outcome, Unshared) for follower in followers for outcome in follower.outcomes)
    assert {len(follower.outcomes) for follower in followers} == {1}


def test_thousands_of_followers_leave_in_any_order_while_the_head_is_waited_for() -> None:
    steps, owner = Steps(), Owner()
    stream = ResponseStream(owner)
    followers = [Reader(steps) for _ in range(MANY)]
    for reader in followers:
        stream.attach(reader)
    steps.count = 0
    for reader in reversed(followers):
        assert not owner.is_abandoned
        stream.detach(reader)
    assert steps.count < 10 * MANY
    assert owner.is_abandoned
