"""How many file descriptors a program may have: the soft limit is raised to what the program wants, as far as may be, and never lowered.

Shared by edge_node and control_plane, as `node_session.py` is by nodes. How many a program wants, and what it does with fewer, is its own
(`connection_limit.py` of each).
"""

import logging
import resource
from dataclasses import dataclass

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DescriptorLimits:
    """What the process may open."""

    soft: int
    hard: int


def limits_to_set(now: DescriptorLimits, wanted: int) -> DescriptorLimits:
    """The soft limit is raised to what is wanted, at most to the hard one, and never lowered."""
    if now.soft == resource.RLIM_INFINITY:
        return now
    may_be = wanted if now.hard == resource.RLIM_INFINITY else min(now.hard, wanted)
    return DescriptorLimits(max(now.soft, may_be), now.hard)


def raise_descriptor_limit(wanted: int) -> int:
    """How many descriptors the process may open after its limit was raised as far as may be; as many as are wanted where there is no limit."""
    before = DescriptorLimits(*resource.getrlimit(resource.RLIMIT_NOFILE))
    after = limits_to_set(before, wanted)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (after.soft, after.hard))
    except (OSError, ValueError) as error:  # some systems have another limit beside this one
        _logger.warning("the limit of %d file descriptors cannot be raised: %s", before.soft, error)
        after = before
    return wanted if after.soft == resource.RLIM_INFINITY else after.soft
