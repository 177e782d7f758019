"""What a stage is: a step that every request passes, and that may answer it or let it wait."""

from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Final

from edge_node.caching.lookup import Refuse
from edge_node.delivery.request_context import RequestContext
from edge_node.model.configuration import Behavior, Distribution, Role
from edge_node.model.connection_facts import ConnectionFacts
from edge_node.policy.router import CompiledStage
from edge_node.policy.viewer_protocol import Redirect
from edge_node.storage.node_state import NodeState


class Wait:
    """The request waits; when it is over, the next stage has its turn. A viewer that leaves ends the wait."""

    __slots__ = ("until",)

    def __init__(self, until: Callable[[], Awaitable[None]]) -> None:
        self.until: Final = until
        """Begins the waiting. Whatever can be waited for has a bound of its own."""


LocalReply = Refuse | Redirect
"""An answer made here."""
StageAnswer = LocalReply | Wait | None
"""None: continue."""
StageFunction = Callable[[RequestContext, NodeState], StageAnswer]
ConnectionTest = Callable[[ConnectionFacts, NodeState], bool]
"""Whether a stage lets the requests of a connection pass, now."""


class Evaluated(Enum):
    """What a stage has to look at, and so when it is evaluated."""

    WHILE_PARSED = "the bytes of the head, while they are parsed"
    BY_SECTION = "the header section: one that it has to look at is not remembered, so that its requests are parsed and pass the stage each time"
    BY_ROUTE = "configuration, host and request line: worked out once for all requests that share them"
    BY_CONNECTION = "the viewer's connection: asked for each request, on the fast path as well"
    PER_REQUEST = "each request: a behavior that asks for it has no fast path"
    BY_PIPELINE = "the request and what is stored: the pipeline itself"


class StageSubject:
    """What a stage can decide by without looking at a request: the requests of one method for one behavior."""

    __slots__ = ("behavior", "distribution", "method")

    def __init__(self, distribution: Distribution, behavior: Behavior, method: bytes) -> None:
        self.distribution: Final = distribution
        self.behavior: Final = behavior
        self.method: Final = method


class Stage:
    """A row of the table. At most one of `compiles` and `run` is there; a row with neither is done where its rule says."""

    __slots__ = ("compiles", "evaluated", "name", "roles", "rule", "run", "section")

    def __init__(  # noqa: PLR0913 - one for each column
        self,
        name: str,
        section: str,
        evaluated: Evaluated,
        rule: str,
        *,
        roles: tuple[Role, ...] = (Role.EDGE, Role.REGIONAL),
        compiles: Callable[[StageSubject], CompiledStage | None] | None = None,
        run: StageFunction | None = None,
    ) -> None:
        self.name: Final = name
        self.section: Final = section
        """Of the reference (`cloudfront.md`), or the RFC."""
        self.evaluated: Final = evaluated
        self.rule: Final = rule
        """Where the rule lives: a module of this package and what is in it; tests/test_request_lifecycle.py holds it against the code."""
        self.roles: Final = roles
        """Which tiers have it: what an edge has let pass its regional cache does not ask again."""
        self.compiles: Final = compiles
        """Gives what a request has still to pass once its route is known; None: nothing is left."""
        self.run: Final = run
        """What each request passes before its route is known."""
