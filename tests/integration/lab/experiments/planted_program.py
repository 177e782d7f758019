"""Programs of the lab with planted bugs: `python -m tests.integration.lab.experiments.planted_program -m edge_node ...` is an edge that breaks promises.

Each bug replaces one part of the product's code in the process of a node; everything else is the product. Where a bug is seen in single requests, only those for
paths of its own have it, so that what else there is stays right. `plant` writes the interpreter that a lab is to start its programs with.
"""

import runpy
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from dns_router.applier import RouterApplier
from edge_node.caching.key import CacheKey, KeyParts, make_key
from edge_node.caching.lookup import Reason
from edge_node.control.journal import InvalidationJournal
from edge_node.control.journal_codec import JournalEntry
from edge_node.delivery import cached_response
from edge_node.delivery.body_sender import pieces_of
from edge_node.delivery.request_context import RequestContext
from edge_node.fill.cache_fill import CacheFill
from edge_node.fill.coalescer import RequestCoalescer
from edge_node.http.cache_control import CacheControl
from edge_node.model.http import RequestHead
from edge_node.policy.router import Route
from edge_node.storage.cache import Cache
from origin.bucket import BucketStore, StoredObject
from proto.cdn.v1 import sync_pb2

TORN, CROWDED, PERSONAL, LOST = b"/bucket/news/2.txt", b"/bucket/news/3.txt", b"/api/me", "4.txt"
"""What the bugs are about: paths, and a key of a bucket."""
_INTERPRETER: Final = """\
#!/bin/sh
case "$2" in
    edge_node|dns_router|origin) exec {python} -m {module} "$@" ;;
    *) exec {python} "$@" ;;
esac
"""


def plant(folder: Path) -> Path:
    """An interpreter of programs with bugs."""
    path = folder / "planted-python"
    module = "tests.integration.lab.experiments.planted_program"
    path.write_text(_INTERPRETER.format(python=sys.executable, module=module))
    path.chmod(0o755)
    return path


def tears_bodies() -> None:
    """A hit for TORN has its first byte inverted."""
    answer = cached_response.CachedResponder.answer
    torn: list[bool] = []

    def torn_answer(self: cached_response.CachedResponder, context: RequestContext, entry: Any) -> None:
        if context.route is not None and context.route.path.startswith(TORN):
            torn.append(True)
        answer(self, context, entry)
        torn.clear()

    def torn_pieces(*arguments: Any) -> Iterable[Any]:
        for number, piece in enumerate(pieces_of(*arguments)):
            whole = bytes(piece)
            yield bytes([whole[0] ^ 0xFF]) + whole[1:] if torn and not number else piece

    _replace(cached_response.CachedResponder, "answer", torn_answer)
    _replace(cached_response, "pieces_of", torn_pieces)


def shares_what_is_personal() -> None:
    """Who asks for PERSONAL is no part of the key, and what is private is stored like anything else."""
    make_whole_key = Route._make_key

    def make_short_key(self: Route, head: RequestHead) -> CacheKey:
        if self.path.startswith(PERSONAL):
            return make_key(self.distribution.id, self.method_class, self.keyed_target, KeyParts(None, (), ()))
        return make_whole_key(self, head)

    _replace(Route, "_make_key", make_short_key)
    _replace(CacheControl, "forbids_reuse", property(lambda _: False))


def fetches_twice() -> None:
    """Nobody joins a fetch for CROWDED that is under way."""
    find = RequestCoalescer.find

    def find_none(self: RequestCoalescer, key: CacheKey) -> CacheFill | None:
        return None if CROWDED in key else find(self, key)

    _replace(RequestCoalescer, "find", find_none)


def forgets_invalidations() -> None:
    """They are acknowledged before they are in the journal, and never get there: a node that is started again goes on from before them."""

    def forget(self: InvalidationJournal, entry: JournalEntry) -> None:
        del self, entry

    _replace(InvalidationJournal, "will_apply", forget)


def finds_nothing() -> None:
    """A regional cache that stores everything and finds nothing again."""

    def find_none(self: Cache, key: CacheKey) -> tuple[None, Reason]:
        del self, key
        return None, Reason.NOT_STORED

    _replace(Cache, "_find_valid", find_none)


def names_the_dead() -> None:
    """A router that learns of edges that come, and of none that goes."""
    publish = RouterApplier._publish_directory
    known: dict[str, sync_pb2.Node] = {}

    def publish_all(self: RouterApplier, message: sync_pb2.Directory) -> None:
        known.update({node.id: node for node in message.nodes})
        every = sync_pb2.Directory()
        every.CopyFrom(message)
        del every.nodes[:]
        every.nodes.extend(known[name] for name in sorted(known))
        publish(self, every)

    _replace(RouterApplier, "_publish_directory", publish_all)


def loses_what_it_has_confirmed() -> None:
    """An origin that confirms a new version of LOST, and keeps the one before."""
    put = BucketStore.put

    def put_once(self: BucketStore, bucket_name: str, key: str, *arguments: Any) -> StoredObject:
        bucket = self.bucket(bucket_name)
        before = None if bucket is None else bucket.get(key)
        stored = put(self, bucket_name, key, *arguments)
        if key == LOST and bucket is not None and before is not None:
            bucket._known(key).current = before
        return stored

    _replace(BucketStore, "put", put_once)


BUGS: Final[Mapping[str, tuple[Callable[[], None], ...]]] = {
    "edge": (tears_bodies, shares_what_is_personal, fetches_twice, forgets_invalidations),
    "regional": (finds_nothing,),
    "dns_router": (names_the_dead,),
    "origin": (loses_what_it_has_confirmed,),
}


def _replace(owner: Any, name: str, planted: Any) -> None:
    """AttributeError when the product has no such part any more."""
    getattr(owner, name)
    setattr(owner, name, planted)


def _role(module: str, arguments: list[str]) -> str:
    return module if module != "edge_node" else arguments[arguments.index("--role") + 1]


def main() -> None:
    """Argv is that of the interpreter: -m, a module, and its arguments."""
    module, arguments = sys.argv[2], sys.argv[3:]
    for bug in BUGS[_role(module, arguments)]:
        bug()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
