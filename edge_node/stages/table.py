"""The stages of a request, in the order in which it passes them (reference 6.8): the one literal table.

What a stage can say without looking at the request is worked out when the route of the request is made, once for all requests that share it; what is left there is run
for each request. A route of which nothing is left but what the viewer's connection decides has a fast path, which is this table and not another one.

The table in docs/request-lifecycle.md is made from it (tests/stage_table.py).
"""

from edge_node.model.configuration import Behavior, Distribution, Role
from edge_node.policy.router import CompiledStage
from edge_node.stages.access import allow_methods, apply_viewer_protocol, refuse_loop, restrict_countries
from edge_node.stages.catch_up import catch_up
from edge_node.stages.stage import Evaluated, Stage, StageSubject

_EDGE, _REGIONAL = (Role.EDGE,), (Role.REGIONAL,)

STAGES = (
    Stage("limits", "2.5, 11", Evaluated.WHILE_PARSED, "http.request_head.make_request_head"),
    Stage("loop detection", "RFC 8586", Evaluated.BY_SECTION, "policy.loop_detection.is_loop", roles=_EDGE, run=refuse_loop),
    Stage("catching up", "DESIGN 4, rule 4", Evaluated.PER_REQUEST, "stages.catch_up.catch_up", roles=_REGIONAL, run=catch_up),
    Stage("distribution", "5.1", Evaluated.BY_ROUTE, "policy.router.Router"),
    Stage("geo restriction", "6.5", Evaluated.BY_CONNECTION, "policy.geo.is_geo_restricted", roles=_EDGE, compiles=restrict_countries),
    Stage("behavior", "1.6", Evaluated.BY_ROUTE, "policy.router.Router"),
    Stage("viewer protocol", "6.1", Evaluated.BY_CONNECTION, "policy.viewer_protocol.judge_viewer_protocol", roles=_EDGE, compiles=apply_viewer_protocol),
    Stage("method", "2.6", Evaluated.BY_ROUTE, "policy.methods.is_method_allowed", compiles=allow_methods),
    Stage("key", "2.1", Evaluated.BY_PIPELINE, "caching.key.make_key"),
    Stage("lookup", "DESIGN 4, rule 2", Evaluated.BY_PIPELINE, "storage.cache.Cache"),
    Stage("decision", "2.2 to 2.6", Evaluated.BY_PIPELINE, "caching.lookup.decide"),
    Stage("fill, or cached response", "2.9, 2.10, 3", Evaluated.BY_PIPELINE, "pipeline.dispatcher.Dispatcher"),
    Stage("error response", "2.5", Evaluated.BY_PIPELINE, "policy.error_responses.page_for"),
    Stage("send", "2.12", Evaluated.BY_PIPELINE, "delivery.downstream.DownstreamStream"),
    Stage("record", "8.1", Evaluated.BY_PIPELINE, "delivery.request_recorder.RequestRecorder"),
)  # fmt: skip
"""Signature (6.3), WAF (6.7) and viewer-request function (7.1) will stand behind the method; response headers policy (1.9) and viewer-response function before `send`."""


class StageTable:
    """The table as one tier has it."""

    def __init__(self, role: Role) -> None:
        self.entry: tuple[CompiledStage, ...] = tuple(
            CompiledStage(stage.run) for stage in STAGES if stage.run is not None and role in stage.roles
        )
        """What each request passes before its route is known."""
        self._compiled = [stage.compiles for stage in STAGES if stage.compiles is not None and role in stage.roles]

    def compile(self, distribution: Distribution, behavior: Behavior, method: bytes) -> tuple[CompiledStage, ...]:
        """What each request of this method for this behavior has still to pass, in the order of the table."""
        subject = StageSubject(distribution, behavior, method)
        compiled = [compile_stage(subject) for compile_stage in self._compiled]
        return tuple([stage for stage in compiled if stage is not None])
