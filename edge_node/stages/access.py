"""The stages that may refuse a request before anything is looked up. The rules are in `policy`; here they are put to the request, if configuration asks for them."""

from edge_node.caching.lookup import Refuse
from edge_node.delivery.request_context import RequestContext
from edge_node.model.configuration import ViewerProtocolPolicy
from edge_node.model.connection_facts import ConnectionFacts
from edge_node.policy.geo import GEO_BLOCKED, is_geo_restricted
from edge_node.policy.loop_detection import LOOP_DETECTED, is_loop
from edge_node.policy.methods import METHOD_NOT_ALLOWED, is_method_allowed
from edge_node.policy.router import CompiledStage
from edge_node.policy.viewer_protocol import HTTPS, judge_viewer_protocol
from edge_node.stages.stage import StageAnswer, StageSubject
from edge_node.storage.node_state import NodeState


def refuse_loop(context: RequestContext, state: NodeState) -> Refuse | None:
    """RFC 8586."""
    del state
    value = context.head.fields.get(b"cdn-loop")
    return LOOP_DETECTED if value is not None and is_loop(value) else None


def restrict_countries(subject: StageSubject) -> CompiledStage | None:
    """Reference 6.5: by the viewer's address."""
    distribution = subject.distribution
    if distribution.geo_restriction is None:
        return None

    def is_served(connection: ConnectionFacts, state: NodeState) -> bool:
        return not is_geo_restricted(distribution, state.geo_table.country_of(connection.address))

    def restrict(context: RequestContext, state: NodeState) -> StageAnswer:
        return None if is_served(context.downstream.connection, state) else GEO_BLOCKED

    return CompiledStage(restrict, is_served)


def apply_viewer_protocol(subject: StageSubject) -> CompiledStage | None:
    """Reference 6.1: by the scheme of the viewer's connection."""
    policy = subject.behavior.viewer_protocol_policy
    if policy is ViewerProtocolPolicy.ALLOW_ALL:
        return None

    def is_https(connection: ConnectionFacts, state: NodeState) -> bool:
        del state
        return connection.scheme == HTTPS

    def apply(context: RequestContext, state: NodeState) -> StageAnswer:
        del state
        return judge_viewer_protocol(policy, context.downstream.connection.scheme, context.head)

    return CompiledStage(apply, is_https)


def allow_methods(subject: StageSubject) -> CompiledStage | None:
    """Reference 2.6."""
    return None if is_method_allowed(subject.method, subject.behavior) else CompiledStage(_refuse_method)


def _refuse_method(context: RequestContext, state: NodeState) -> Refuse:
    del context, state
    return METHOD_NOT_ALLOWED
