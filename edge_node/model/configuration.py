"""The values that everything else speaks about: configuration as a node uses it, and the heads of requests and responses.

Text that goes to or comes from the wire is bytes, field names in lower case. All values are immutable. Nothing here decides anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Final

from edge_node.model.http import Headers, RequestHead


class Role(StrEnum):
    """Which tier of cache a node is: edges face viewers, regional caches face edges."""

    EDGE = "edge"
    REGIONAL = "regional"


class SelectionMode(Enum):
    """Which names of one kind are part of the cache key and reach the origin (reference 1.7)."""

    NONE = "none"
    LIST = "whitelist"
    ALL = "all"
    ALL_EXCEPT = "allExcept"


@dataclass(frozen=True, slots=True)
class Selection:
    """A choice of names; header names in lower case, cookie and query names as they are."""

    mode: SelectionMode
    names: tuple[bytes, ...] = ()

    def includes(self, name: bytes) -> bool:
        """Whether the name is chosen."""
        match self.mode:
            case SelectionMode.NONE:
                return False
            case SelectionMode.ALL:
                return True
            case SelectionMode.LIST:
                return name in self.names
            case SelectionMode.ALL_EXCEPT:
                return name not in self.names

    @property
    def is_empty(self) -> bool:
        """Whether no name can ever be chosen."""
        return self.mode is SelectionMode.NONE


class Semantics(Enum):
    """Whose caching rules a behavior follows: CloudFront's as documented, or those of the RFCs without exception (docs/semantics.md)."""

    CLOUDFRONT = "cloudfront"
    RFC9111 = "rfc9111"


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """Lifetimes in seconds and what makes two requests the same (reference 1.7)."""

    id: str
    minimum_ttl: int
    default_ttl: int
    maximum_ttl: int
    accepts_gzip: bool
    accepts_brotli: bool
    headers: Selection
    cookies: Selection
    query_strings: Selection

    is_caching_disabled: bool = field(init=False)
    """All three lifetimes zero: caching and collapsing are off (reference 1.7, 2.2)."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_caching_disabled", self.maximum_ttl == self.default_ttl == self.minimum_ttl == 0)

    def __hash__(self) -> int:
        """What is worked out once for a policy is found by it, on the way of each request."""
        return hash(self.id)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where content comes from, and how long to wait for it (reference 1.4); times in seconds."""

    id: str
    host: str
    port: int
    path_prefix: bytes
    custom_headers: Headers
    connection_attempts: int
    connection_timeout: float
    read_timeout: float
    keepalive_timeout: float
    completion_timeout: float = 0.0
    """Bound on a whole response, from the request to its last byte; 0: none."""

    @property
    def host_header(self) -> bytes:
        """The Host field of requests to it: its domain, with the port unless it is the default."""
        return (self.host if self.port == 80 else f"{self.host}:{self.port}").encode("ascii")


@dataclass(frozen=True, slots=True)
class OriginGroup:
    """Two origins, and the statuses of the first that send a request to the second (reference 1.5)."""

    id: str
    primary: Origin
    secondary: Origin
    failover_statuses: frozenset[int]


@dataclass(frozen=True, slots=True)
class ErrorResponse:
    """What a viewer gets instead of one error status, and for how long at least the error is cached (reference 2.5)."""

    error_status: int
    minimum_ttl: float
    """Error caching minimum TTL, seconds."""
    page_path: bytes = b""
    """Begins with "/"; empty: the origin's own answer is passed on."""
    response_status: int = 0
    """Of the answer with the page; meaningless without one."""


class ViewerProtocolPolicy(Enum):
    """What becomes of a request that came over plain HTTP (reference 6.1)."""

    ALLOW_ALL = "allow-all"
    HTTPS_ONLY = "https-only"
    REDIRECT_TO_HTTPS = "redirect-to-https"


@dataclass(frozen=True, slots=True)
class GeoRestriction:
    """Which countries a distribution is for (reference 6.5)."""

    is_allow_list: bool
    """Only the countries are served; otherwise all but these."""
    countries: frozenset[bytes]
    """ISO 3166-1 alpha-2, upper case."""


@dataclass(frozen=True, slots=True)
class Behavior:
    """The rule for one path pattern (reference 1.6)."""

    path_pattern: str
    origin: Origin
    """Where requests go first; the primary of the group where there is one."""
    allowed_methods: frozenset[bytes]
    cached_methods: frozenset[bytes]
    cache_policy: CachePolicy
    origin_group: OriginGroup | None = None
    compresses: bool = False
    """Edges compress what the origin left uncompressed (reference 2.7)."""
    semantics: Semantics = Semantics.CLOUDFRONT
    viewer_protocol_policy: ViewerProtocolPolicy = ViewerProtocolPolicy.ALLOW_ALL


@dataclass(frozen=True, slots=True)
class Distribution:
    """A configured CDN front."""

    id: str
    domain_name: bytes
    aliases: tuple[bytes, ...]
    is_enabled: bool
    default_root_object: bytes
    behaviors: tuple[Behavior, ...]
    default_behavior: Behavior
    error_responses: Mapping[int, ErrorResponse] = field(default_factory=dict)
    """By the status that they are for."""
    geo_restriction: GeoRestriction | None = None
    """None: for viewers of every country."""
    is_strictly_invalidated: bool = False
    """Nothing that is stored is served unconfirmed by a node without a lease, whatever the reason (DESIGN section 4, rule 10)."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Another cache node, as the control plane's directory names it."""

    id: str
    role: Role
    region: str
    pop: str
    host: str
    port: int
    admin: str


NO_HEAD: Final = RequestHead(b"-", b"-", b"", (), {}, 1, False, False, True)
"""In the place of the head of what is no request, also in the log."""
