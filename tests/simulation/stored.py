"""Requests and responses as the product's own cache has them: one distribution, whose objects are told apart by their paths and their versions."""

from typing import Final

from edge_node.caching.cache_metadata import CacheMetadata, LifetimeRule
from edge_node.caching.entry import Entry
from edge_node.caching.entry_factory import ResponseTiming, make_entry
from edge_node.model.configuration import Role
from edge_node.model.http import RequestHead
from edge_node.policy.response_head import LocalNode
from edge_node.policy.router import Route, Router, Snapshot
from edge_node.storage.cache import Cache as ProductCache
from edge_node.storage.entry_templates import EntryTemplates
from tests.builders import distribution_message, origin_message, read_distribution

DISTRIBUTION_ID: Final = "D1"
LIFETIMES_SECONDS: Final = (0.4, 3.0, 60.0)
EPOCH_SECONDS: Final = 1e9
"""What wall clocks say when the run begins."""

_HOST: Final = b"d1.cdn.localhost"
_NODE: Final = LocalNode(Role.EDGE, b"IAD89-P1", b"1.1 d1.cloudfront.net (CloudFront)")
_TEMPLATES: Final = EntryTemplates(_NODE)
_ROUTER: Final = Router(
    Snapshot(
        "",
        0,
        {
            DISTRIBUTION_ID: read_distribution(
                distribution_message(origin_message("192.0.2.1", 80), id=DISTRIBUTION_ID, domain_name=_HOST.decode())
            )
        },
    )
)


class Asked:
    """A request for one path: what the product makes of it before it looks anything up."""

    def __init__(self, path: str) -> None:
        fields = {b"host": _HOST}
        self.path = path
        self.head = RequestHead(b"GET", path.encode(), _HOST, tuple(fields.items()), fields, 1, True, False, True)
        route = _ROUTER.route(self.head)
        assert isinstance(route, Route)
        self.route = route
        self.key = route.key_for(self.head)


_ASKED: dict[str, Asked] = {}


def asked_for(path: str) -> Asked:
    """The request, which is always the same."""
    asked = _ASKED.get(path)
    if asked is None:
        asked = _ASKED[path] = Asked(path)
    return asked


def make_cache(kind: type[ProductCache], *arguments: object) -> ProductCache:
    """With the store, the invalidations and the clock that are given."""
    return kind(_NODE, *arguments)  # type: ignore[arg-type]  # handed through


def entry_of(path: str, version: int, stamp: int, stored_at: float, lifetime_seconds: float) -> Entry:
    """A stored response whose body is its version. It can always be served instead of an error."""
    metadata = CacheMetadata(lifetime_seconds, LifetimeRule.MAX_AGE, stale_if_error_seconds=3600.0)
    template = _TEMPLATES.of(200, b"OK", b"text/plain", metadata, is_strict=False)
    body = b"%d" % version
    lines = b"Last-Modified: %d\r\nContent-Length: %d\r\n" % (validator(version), len(body))
    timing = ResponseTiming(stamp, stored_at, 0.0)
    return make_entry(asked_for(path).key, lines, [body], len(body), template, timing)


def version_of(entry: Entry) -> int:
    """Which version of the object it is."""
    return int(entry.block[entry.body_start :])


def validator(version: int) -> int:
    """A coarse one, as Last-Modified is: two versions in a row can share it."""
    return version // 2
