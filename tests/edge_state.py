"""What a log entry does to the serving state of a node, for tests that have no log."""

from dataclasses import replace
from typing import Any

from edge_node.model.configuration import Distribution
from edge_node.storage.node_state import NodeState, ServedResources


def served_by(state: NodeState) -> ServedResources:
    distributions = state.router.snapshot.distributions
    return ServedResources(distributions, state.latency_milliseconds, state.geo_table, state.clock_ahead_seconds)


def reconfigured(state: NodeState, index: int, **changes: Any) -> None:
    """An entry changes these members of `ServedResources`."""
    state.apply(index, replace(served_by(state), **changes))


def put_distribution(state: NodeState, index: int, distribution: Distribution) -> None:
    """An entry puts a distribution."""
    reconfigured(state, index, distributions={**state.router.snapshot.distributions, distribution.id: distribution})
