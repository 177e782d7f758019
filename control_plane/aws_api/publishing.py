"""The step from a checked configuration to the change log: the one place where something is compiled and appended.

A cache policy is in the log while a distribution refers to it: it comes in the entry of the first one that does, and goes with the last.
"""

from collections.abc import Iterator, Sequence

from control_plane.aws_api.errors import ApiError
from control_plane.aws_api.records import get_cache_policy
from control_plane.compiler.behaviors import Policies, cache_policy_ids
from control_plane.compiler.cache_policies import compile_cache_policy
from control_plane.compiler.distributions import Identity, compile_distribution
from control_plane.compiler.managed_policies import MANAGED_CACHE_POLICIES
from control_plane.compiler.problems import Config, Problem
from control_plane.compiler.semantics import Tags
from control_plane.resource_kinds import delete_distribution, put_cache_policy, put_distribution
from control_plane.state import Delete, Put, Transaction
from proto.resources import ResourceName, cache_policy_name, distribution_name


def publish(transaction: Transaction, identity: Identity, config: Config, tags: Tags) -> int:
    """Compile and append; the index. ApiError names everything that is wrong with the configuration and its reserved tags."""
    policies = _policies(transaction, config)
    compiled = compile_distribution(identity, config, policies, tags)
    if isinstance(compiled, list):
        raise refusal(compiled)
    name = distribution_name(identity.distribution_id)
    return transaction.append(
        *_unpublished(transaction, policies),
        put_distribution(compiled),
        *_no_longer_needed(transaction, name, kept={cache_policy_name(policy_id) for policy_id in policies}),
    )


def withdraw(transaction: Transaction, distribution_id: str) -> int:
    """Take a distribution from every node, with what only it refers to; the index."""
    orphans = _no_longer_needed(transaction, distribution_name(distribution_id), kept=set())
    return transaction.append(delete_distribution(distribution_id), *orphans)


def publish_cache_policy(transaction: Transaction, policy_id: str, config: Config) -> int | None:
    """Append a policy's new version for all distributions that refer to it; the index, None if none does."""
    if transaction.published(cache_policy_name(policy_id)) is None:
        return None
    return transaction.append(put_cache_policy(compile_cache_policy(policy_id, config)))


def _unpublished(transaction: Transaction, policies: Policies) -> Iterator[Put]:
    """Those that are not in the log, or in another version: a managed policy may be another one in another version of this program."""
    for policy_id in sorted(policies):
        put = put_cache_policy(compile_cache_policy(policy_id, policies[policy_id]))
        if transaction.published(put.name) != put.body:
            yield put


def _no_longer_needed(transaction: Transaction, referring: ResourceName, kept: set[ResourceName]) -> Iterator[Delete]:
    """What was referred to by this resource alone, and is not any more."""
    for target in transaction.references_of(referring):
        if target not in kept and list(transaction.referring_to(target)) == [referring]:
            yield Delete(target)


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
