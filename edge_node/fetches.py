"""The fetches under way: who may join whom, whom to ask, and what becomes of a fetch that fails or that nobody waits for any more (reference 2.10, 3)."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from edge_node.caching.decisions import Reason, Result
from edge_node.caching.key import CacheKey
from edge_node.counters import Counters
from edge_node.errors import UpstreamError, UpstreamErrorKind
from edge_node.exchange import Exchange, ViewerLeftError
from edge_node.fills import Fill
from edge_node.policy.regional_choice import rank_regionals
from edge_node.policy.routing import Plan
from edge_node.policy.upstream_requests import LogPosition, Question, hash_input, to_origin, to_regional
from edge_node.serving_state import ServingState
from edge_node.transfers import Transfer, TransferState
from edge_node.upstream.fetching import Fetcher
from edge_node.upstream.targets import Target, origin_target, regional_target

logger = logging.getLogger(__name__)

Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


class Fetches:
    """The fetches of one node."""

    def __init__(
        self, fetcher: Fetcher, state: ServingState, counters: Counters, spawn: Spawn, *, is_regional: bool
    ) -> None:
        self._fetcher = fetcher
        self._state = state
        self._counters = counters
        self._spawn = spawn
        self._is_regional = is_regional
        self._transfers: dict[CacheKey, Transfer] = {}
        """Those that others may join, by key."""

    def has_joinable(self, key: CacheKey) -> bool:
        """Whether somebody fetches this already, and no invalidation came after they started (DESIGN section 4, rule 3)."""
        transfer = self._transfers.get(key)
        if transfer is None or not transfer.may_join:
            return False
        return not self._state.invalidations.is_invalidated(transfer.distribution_id, transfer.target, transfer.stamp)

    def join(self, exchange: Exchange, key: CacheKey) -> bool:
        """Wait for a fetch that is already under way, if there is one to wait for."""
        if not self.has_joinable(key):
            return False
        transfer = self._transfers[key]
        self._counters.collapsed_requests += 1
        exchange.result, exchange.reason = Result.HIT, Reason.COLLAPSED  # first Miss, others Hit: reference 2.10
        exchange.transfer = transfer
        transfer.attach(exchange)
        return True

    def begin(self, key: CacheKey, plan: Plan) -> Transfer:
        """A transfer that others may join from now on."""
        transfer = self._transfers[key] = Transfer(key, plan.distribution.id, plan.target, self._state.applied_index)
        return transfer

    def run(self, exchange: Exchange, fill: Fill, question: Question) -> None:
        """Start fetching for the exchange that began it."""
        transfer = fill.transfer
        exchange.transfer = transfer
        transfer.attach(exchange)
        targets = self._targets(question, transfer.stamp, is_cacheable=exchange.result is not Result.PASS)
        task = self._spawn(self._fill(fill, targets, exchange))

        def abandon() -> None:
            transfer.state = TransferState.FAILED
            transfer.drop_writer()
            self._forget(transfer)
            task.cancel()

        transfer.abandon = abandon

    def void_everything(self) -> None:
        """What is under way belongs to another log: nobody joins it, nothing of it is stored."""
        for transfer in self._transfers.values():
            transfer.drop_writer()
        self._transfers.clear()

    async def _fill(self, fill: Fill, targets: Sequence[Target], exchange: Exchange) -> None:
        transfer = fill.transfer
        try:
            await self._fetcher.fetch(targets, exchange.head.method, exchange.body, fill)
            self._forget(transfer)
            fill.finish()
        except UpstreamError as error:
            self._forget(transfer)
            fill.fail(error)
        except ViewerLeftError:
            transfer.drop_writer()
        except Exception:
            logger.exception("internal error while fetching %s", transfer.target)
            self._counters.internal_errors += 1
            self._forget(transfer)
            if not transfer.is_ended:
                transfer.fail(UpstreamError(UpstreamErrorKind.INVALID_RESPONSE, "an internal error occurred"))
            if not exchange.is_ended:
                exchange.wire.abort()
        finally:
            self._forget(transfer)

    def _forget(self, transfer: Transfer) -> None:
        if transfer.key is not None and self._transfers.get(transfer.key) is transfer:
            del self._transfers[transfer.key]

    def _targets(self, question: Question, stamp: int, *, is_cacheable: bool) -> list[Target]:
        """Cacheable requests go edge, regional, origin; the others straight to the origin (reference 3)."""
        plan = question.plan
        origin = plan.behavior.origin
        targets = []
        if is_cacheable and not self._is_regional:
            state = self._state
            peers = rank_regionals(state.regionals, state.latency_milliseconds, hash_input(plan), self._fetcher.is_down)
            request = to_regional(question, LogPosition(state.log_id, stamp)) if peers else (b"", ())
            targets = [regional_target(peer, origin, *request) for peer in peers]
        targets.append(origin_target(origin, *to_origin(question)))
        return targets
