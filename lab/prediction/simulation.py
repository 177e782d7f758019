"""A series of requests through a network of caches, and what came of it. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from edge_node.caching.cache_metadata import CacheMetadata
from edge_node.model.configuration import CachePolicy
from lab.prediction.caching_rules import CachingRules, key_of, keyed_target, metadata_of
from lab.prediction.content import Content
from lab.prediction.counts import CacheCounts, OriginCounts, summed
from lab.prediction.network import Network, Place
from lab.prediction.tiers import NOTHING_KNOWN, PredictedCache
from loadtests.traces.trace_request import TraceRequest

DEFAULT_HEAD_BYTES = 300
"""Of a stored header section: date, type, Cache-Control, ETag, Last-Modified, length and a stamp of the lab's origin are 250 to 320 bytes."""


class KnownAnswer(Protocol):
    """What an origin says of one target."""

    @property
    def size_bytes(self) -> int:
        """Of the body."""

    @property
    def cache_control(self) -> str | None:
        """None: it says none."""

    @property
    def head_bytes(self) -> int:
        """Of the header section as a cache stores it."""

    @property
    def has_validator(self) -> bool:
        """ETag or Last-Modified."""


@dataclass(frozen=True, slots=True)
class Invalidation:
    """Paths that are invalid from this moment on, everywhere at once."""

    at_seconds: float
    paths: Sequence[str]


@dataclass(frozen=True, slots=True)
class OriginAnswers:
    """What is taken for granted of the origin where requests do not say it."""

    ttl_seconds: float | None = None
    """Instead of whatever requests say; None: what they say, and the default TTL of the cache policy where they say nothing."""
    head_bytes: int = DEFAULT_HEAD_BYTES
    has_validators: bool = True
    known: Callable[[str], KnownAnswer] | None = None
    """What the origin says of a target, where requests do not say it themselves."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What was counted by node, and at the origins."""

    caches: Mapping[Place, CacheCounts]
    origin: OriginCounts

    def of_tier(self, tier: str) -> CacheCounts:
        """Of all its nodes together."""
        return summed(counts for place, counts in self.caches.items() if place.tier == tier)

    def of_pops(self, tier: str) -> dict[str, CacheCounts]:
        """Of the nodes of each POP together; a tier without POPs has none."""
        names = dict.fromkeys(place.pop for place in self.caches if place.tier == tier and place.pop)
        return {
            name: summed(counts for place, counts in self.caches.items() if place.tier == tier and place.pop == name)
            for name in names
        }

    @property
    def tiers(self) -> list[str]:
        """That there are, from the viewers on."""
        return [tier for tier in ("edge", "regional", "shield") if any(each.tier == tier for each in self.caches)]


class Simulation:
    """Requests go in one after the other, in the order of their times."""

    def __init__(
        self,
        network: Network,
        rules: CachingRules,
        answers: OriginAnswers | None = None,
        invalidations: Iterable[Invalidation] = (),
    ) -> None:
        self._network = network
        self._rules = rules
        self._answers = answers or OriginAnswers()
        self._contents: dict[str, Content] = {}
        self._by_key: dict[bytes, Content] = {}
        self._invalidations = sorted(invalidations, key=lambda each: each.at_seconds, reverse=True)
        """The next one last."""
        self._next_invalidation = self._invalidations[-1].at_seconds if self._invalidations else float("inf")

    def ask(
        self,
        request: TraceRequest,
        edge: PredictedCache,
        known_version: int = NOTHING_KNOWN,
        version: int | None = None,
    ) -> int:
        """One request at this edge. `version` of the object at the origin, a number from 0 on; without it, its size tells versions apart.

        `known_version`: what the viewer has, and asks to have confirmed. Returned is the version that the answer is about.
        """
        now = request.at_seconds
        if now >= self._next_invalidation:
            self._invalidate(now)
        content = self._contents.get(request.target) or self._new_content(request)
        if request.size_bytes:
            content.size_bytes = request.size_bytes
        content.version = content.size_bytes if version is None else version
        if request.lifetime_seconds != content.lifetime_seconds:
            self._take_lifetime(content, request.lifetime_seconds)
        if request.method == "GET" and not content.is_passed_on:
            edge.ask(content, now, known_version)
        elif request.method == "HEAD" and not content.is_passed_on:
            edge.ask_head(content, now)
        else:
            edge.pass_on(content, now, self._network.origin, request.method)
        return content.answered_version

    def result(self) -> Prediction:
        """So far."""
        for cache in self._network.caches.values():
            cache.counts.evictions = cache.store.evictions
        counts = {place: cache.counts for place, cache in self._network.caches.items()}
        return Prediction(counts, self._network.origin.counts)

    def _invalidate(self, now: float) -> None:
        log, pending = self._network.invalidations, self._invalidations
        while pending and pending[-1].at_seconds <= now:
            log.append(log.applied_index + 1, self._network.distribution_id, pending.pop().paths)
        self._next_invalidation = pending[-1].at_seconds if pending else float("inf")

    def _new_content(self, request: TraceRequest) -> Content:
        policy = self._rules.policy_for(request.target)
        target = keyed_target(request.target, policy)
        key = key_of(self._network.distribution_id, target)
        content = self._by_key.get(key)
        if content is None:
            content = self._by_key[key] = Content(key, target, policy)
            self._describe(content, request)
        self._contents[request.target] = content
        return content

    def _describe(self, content: Content, request: TraceRequest) -> None:
        """What the origin says of it, for the first time."""
        answers = self._answers
        may_validate = content.policy.cookies.is_empty  # reference 2.4
        content.head_bytes = answers.head_bytes
        content.has_validator = answers.has_validators and may_validate
        self._take_lifetime(content, request.lifetime_seconds)
        if answers.known is not None:
            known = answers.known(content.target)
            content.size_bytes, content.head_bytes = known.size_bytes, known.head_bytes
            content.has_validator = known.has_validator and may_validate
            content.metadata = self._metadata(known.cache_control, content.policy)

    def _take_lifetime(self, content: Content, said_seconds: float | None) -> None:
        """What the origin says of the object from now on."""
        content.lifetime_seconds = said_seconds
        said = None if said_seconds is None else f"max-age={int(said_seconds)}"
        content.metadata = self._metadata(said, content.policy)

    def _metadata(self, cache_control: str | None, policy: CachePolicy) -> CacheMetadata:
        """A wanted TTL takes the place of what may be stored, and of nothing else."""
        metadata = metadata_of(cache_control, policy)
        wanted = self._answers.ttl_seconds
        return metadata if wanted is None or not metadata.is_storable else metadata_of(f"max-age={int(wanted)}", policy)
