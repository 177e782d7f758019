"""A request's way through the node, one loop: pass the stages, dispatch, reply; and in again where a request that waited goes on.

head -> stages before the route -> route (distribution, behavior) -> stages that the route has left -> dispatch -> answered, or a reply made here
                                                                                                    -> start again: an error page, another attempt
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from edge_node.caching.lookup import Reason, Refuse
from edge_node.delivery.cached_response import CachedResponder
from edge_node.delivery.downstream import DownstreamStream
from edge_node.delivery.request_body import RequestBodyStream
from edge_node.delivery.request_context import RequestContext
from edge_node.delivery.request_ids import RequestIds
from edge_node.delivery.request_record import NOTHING_SENT
from edge_node.delivery.request_recorder import RequestRecorder
from edge_node.delivery.streamed_response import ResponseDependencies, StreamedResponse
from edge_node.delivery.tunnel import TunnelDependencies
from edge_node.fill.coalescer import CallLater, RequestCoalescer, call_later
from edge_node.fill.endpoint_selector import EndpointSelector
from edge_node.fill.outcome import FillOutcome
from edge_node.model.configuration import NO_HEAD
from edge_node.model.counters import Counters
from edge_node.model.errors import ViewerError
from edge_node.model.http import RequestHead
from edge_node.pipeline.dispatcher import Dispatched, Dispatcher, DispatcherDependencies, Next
from edge_node.pipeline.error_responses import ErrorResponses
from edge_node.pipeline.exception_barrier import ExceptionBarrier
from edge_node.policy.router import CompiledStage, Route
from edge_node.policy.viewer_protocol import Redirect
from edge_node.stages.stage import LocalReply, Wait
from edge_node.storage.cache import Cache
from edge_node.storage.node_state import NodeState
from edge_node.upstream.fetch_sink import UpstreamFetcher


@dataclass(frozen=True, slots=True)
class PipelineDependencies:
    """What a pipeline is made of."""

    cache: Cache
    state: NodeState
    fetcher: UpstreamFetcher
    recorder: RequestRecorder
    counters: Counters
    request_ids: RequestIds
    entry_stages: tuple[CompiledStage, ...]
    """What each request passes before its route is known (`stages/table.py`)."""
    spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
    monotonic: Callable[[], float]
    call_later: CallLater = call_later


class Pipeline:
    """What a node does with requests."""

    def __init__(self, dependencies: PipelineDependencies) -> None:
        self._state = dependencies.state
        self._cache = dependencies.cache
        self._is_regional = dependencies.cache.node.is_regional
        self._entry_stages = dependencies.entry_stages
        self._barrier = ExceptionBarrier(dependencies.counters)
        self._next_request_id = dependencies.request_ids.next
        self._recorder = dependencies.recorder
        self._spawn = dependencies.spawn
        self._monotonic = dependencies.monotonic
        responses = ResponseDependencies(dependencies.cache.node, dependencies.recorder, dependencies.monotonic)
        self._responder = CachedResponder(responses, dependencies.cache.clock)
        self._errors = ErrorResponses(dependencies.state, dependencies.cache.clock, is_regional=self._is_regional)
        self._coalescer = RequestCoalescer(
            dependencies.state, dependencies.counters, dependencies.call_later, dependencies.cache.clock
        )
        endpoints = EndpointSelector(dependencies.state, dependencies.fetcher.is_down, is_regional=self._is_regional)
        to_dispatch_with = DispatcherDependencies(
            dependencies.cache,
            dependencies.state,
            self._coalescer,
            endpoints,
            dependencies.fetcher,
            self._responder,
            responses,
            self._errors,
            TunnelDependencies(
                dependencies.recorder,
                dependencies.counters,
                dependencies.monotonic,
                dependencies.call_later,
                self._barrier.note,
            ),
            dependencies.monotonic,
        )
        self._dispatcher = Dispatcher(to_dispatch_with, self._take_outcome)

    def handle(self, downstream: DownstreamStream, head: RequestHead, body: RequestBodyStream | None) -> None:
        """Take a request; the answer begins now or later."""
        try:
            self._run(self._make_context(downstream, head, body))
        except Exception:
            self._barrier.note("while taking a request", downstream.reset)

    def _make_context(
        self, downstream: DownstreamStream, head: RequestHead, body: RequestBodyStream | None
    ) -> RequestContext:
        request_id = head.fields.get(b"x-edge-request-id") if self._is_regional else None
        if request_id is not None and not request_id.rstrip(b"=").isalnum():
            request_id = None  # not one of ours: it goes into logs and response heads, so it is not believed
        return RequestContext(downstream, head, body, request_id or self._next_request_id(), self._monotonic())

    def refuse_malformed(self, downstream: DownstreamStream, error: ViewerError) -> None:
        """Answer something that is no request."""
        self._barrier.note_refusal(error)
        context = RequestContext(downstream, NO_HEAD, None, self._next_request_id(), self._monotonic())
        self._responder.refuse(context, Refuse(error.status, Reason.BAD_REQUEST, error.detail))

    def invalidate_everything(self) -> None:
        """Cached responses, stored or on their way, belong to another log (DESIGN section 4, rule 9)."""
        self._cache.clear()
        self._errors.clear()
        self._coalescer.invalidate_everything()

    # -- the loop

    def _run(self, context: RequestContext) -> None:
        """From the stage where the request stands, until it is answered or waits."""
        while True:
            context.index = self._state.applied_index
            answer = self._pass_stages(context)
            if isinstance(answer, Wait):
                WaitingRequest(context, answer, self._go_on, self._spawn, self._recorder)
                return
            if answer is None:
                assert context.route is not None
                dispatched: Dispatched | Redirect = self._dispatcher.dispatch(context, context.route)
            else:
                dispatched = answer
            if not self._starts_again(context, dispatched):
                return

    def _go_on(self, context: RequestContext) -> None:
        """A request that waited between two stages."""
        try:
            self._run(context)
        except Exception:
            self._barrier.note("while handling a request", context.downstream.reset)

    def _take_outcome(self, reader: StreamedResponse, outcome: FillOutcome) -> None:
        """A request that waited for a fill goes on. What goes wrong here is its own trouble, and not that of the fill or of others who wait for it."""
        try:
            if self._starts_again(reader.context, self._dispatcher.take_outcome(reader, outcome)):
                self._run(reader.context)
        except Exception:
            self._barrier.note("while answering a request", reader.context.downstream.reset)

    def _starts_again(self, context: RequestContext, dispatched: Dispatched | Redirect) -> bool:
        """Reply, if that is what is left; whether the request is to be run from its beginning."""
        if dispatched is Next.ANSWERED:
            return False
        if isinstance(dispatched, Redirect):
            self._responder.redirect(context, dispatched)
            return False
        if isinstance(dispatched, Refuse):
            if context.is_without_cache and context.route is None:
                context.downstream.reset()  # the edge knows more than this node: cut off, it asks the next one
                return False
            if not self._errors.becomes_page(context, context.route, dispatched.status, dispatched.reason):
                self._responder.refuse(context, dispatched)
                return False
        context.route, context.next_stage = None, 0
        return True

    def _pass_stages(self, context: RequestContext) -> LocalReply | Wait | None:
        """The stages that are left for this request. An error page is fetched for the viewer, not by it: its request passes none (reference 2.5)."""
        answer = self._pass(context, self._entry_stages, 0)
        if answer is not None:
            return answer
        route = context.route
        if route is None:
            made = self._route(context.head)
            if isinstance(made, Refuse):
                return made
            route = context.route = made
        return self._pass(context, route.stages, len(self._entry_stages)) if route.stages else None

    def _pass(self, context: RequestContext, stages: tuple[CompiledStage, ...], first: int) -> LocalReply | Wait | None:
        if context.error_page_status:
            return None
        while context.next_stage < first + len(stages):
            stage = stages[context.next_stage - first]
            context.next_stage += 1
            answer: LocalReply | Wait | None = stage.run(context, self._state)
            if answer is not None:
                return answer
        return None

    def _route(self, head: RequestHead) -> Route | Refuse:
        router = self._state.router
        return router.route_for_edge(head) if self._is_regional else router.route(head)


class WaitingRequest:
    """A request between two stages."""

    def __init__(
        self,
        context: RequestContext,
        wait: Wait,
        run: Callable[[RequestContext], None],
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        recorder: RequestRecorder,
    ) -> None:
        self._context = context
        self._run = run
        self._recorder = recorder
        self._task = spawn(self._wait(wait))
        context.downstream.begin(self)

    async def _wait(self, wait: Wait) -> None:
        """Go on when what is waited for is over, unless the viewer leaves before."""
        await wait.until()
        if self._context.downstream.is_open:
            self._run(self._context)

    def credit_returned(self) -> None:
        """There is nothing to send."""

    def viewer_left(self) -> None:
        """Nobody waits for what is waited for."""
        context = self._context
        context.reason = Reason.VIEWER_LEFT
        if context.body is not None:
            context.body.break_off()
        self._recorder.end(context, NOTHING_SENT)
        self._task.cancel()
