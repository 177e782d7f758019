"""Which methods a behavior allows (reference 2.6)."""

from typing import Final

from edge_node.caching.lookup import Reason, Refuse
from edge_node.model.configuration import Behavior

METHOD_NOT_ALLOWED: Final = Refuse(
    403,
    Reason.METHOD_NOT_ALLOWED,
    "This distribution is not configured to allow the HTTP request method that was used for this request. "
    "The distribution supports only cachable requests, or fewer methods than that.",
)


def is_method_allowed(method: bytes, behavior: Behavior) -> bool:
    """Methods are case-sensitive (RFC 9110 section 9.1)."""
    return method in behavior.allowed_methods
