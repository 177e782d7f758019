"""The step from a checked configuration to the change log: the one place where a distribution is compiled and appended."""

from collections.abc import Sequence

from control_plane.aws_api.errors import ApiError
from control_plane.aws_api.records import get_cache_policy
from control_plane.compiler.behaviors import Policies, cache_policy_ids
from control_plane.compiler.distributions import Identity, compile_distribution
from control_plane.compiler.managed_policies import MANAGED_CACHE_POLICIES
from control_plane.compiler.problems import Config, Problem
from control_plane.compiler.semantics import Tags
from control_plane.state import PutDistribution, Transaction


def publish(transaction: Transaction, identity: Identity, config: Config, tags: Tags) -> int:
    """Compile and append; the index. ApiError names everything that is wrong with the configuration and its reserved tags."""
    compiled = compile_distribution(identity, config, _policies(transaction, config), tags)
    if isinstance(compiled, list):
        raise refusal(compiled)
    return transaction.append(PutDistribution(compiled))


def refusal(problems: Sequence[Problem]) -> ApiError:
    """One error for all problems: the code of the first, the words of all."""
    return ApiError(problems[0].code, " ".join(f"{problem.message}." for problem in problems))


def _policies(transaction: Transaction, config: Config) -> Policies:
    policies = {}
    for identifier in cache_policy_ids(config):
        record = get_cache_policy(transaction, identifier)
        if record is not None:
            policies[identifier] = record.config
        elif identifier in MANAGED_CACHE_POLICIES:
            policies[identifier] = MANAGED_CACHE_POLICIES[identifier]
    return policies
