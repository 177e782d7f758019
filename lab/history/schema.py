"""The tables of a history: everything that is recorded of a run, one row for each thing that happened.

One literal table of tables. docs/history.md is made from it (a test compares), raw files have these columns in this order, and Parquet files these names and
types. Moments end in `_ns`: nanoseconds of the host's one steady clock (proto/host_clock.py), so any two of a run can be compared. NULL: not known, or there
was none. Whoever records writes what it saw itself; who is right is for checkers to say.
"""

from dataclasses import dataclass
from enum import StrEnum


class Type(StrEnum):
    """As DuckDB and Parquet have them."""

    TEXT = "VARCHAR"
    INTEGER = "BIGINT"
    NUMBER = "DOUBLE"
    FLAG = "BOOLEAN"


@dataclass(frozen=True, slots=True)
class Column:
    """One value of a row."""

    name: str
    type: Type
    says: str


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of one kind, and who writes them down."""

    name: str
    says: str
    written_by: str
    columns: tuple[Column, ...]


def _text(name: str, says: str) -> Column:
    return Column(name, Type.TEXT, says)


def _integer(name: str, says: str) -> Column:
    return Column(name, Type.INTEGER, says)


def _flag(name: str, says: str) -> Column:
    return Column(name, Type.FLAG, says)


REQUESTS = Table(
    "requests",
    "what viewers asked for and got: one row for each request, however many attempts it took",
    "the load generator, and the probes of a run",
    (
        _text("id", "of the request, in this run: who asked, and a number"),
        _text("request_id", "X-Amz-Cf-Id of the response, by which tiers and origins know it"),
        _text("profile", "what kind of viewer: a profile of the load, or `probe`"),
        _text("region", "of the viewer"),
        _text("viewer", "the person: another one for each session"),
        _text("client_address", "that the viewer's resolver tells the router (EDNS Client Subnet)"),
        _integer("intended_ns", "when the viewer meant to ask"),
        _integer("started_ns", "when the first attempt began, before anything was sent; NULL: there was none"),
        _integer("first_byte_ns", "of the answer"),
        _integer("ended_ns", "when it was over"),
        _text("dns_answer", "addresses that the viewer had from the router, in order, with commas between"),
        _integer("dns_asked_ns", "when the router was asked for them"),
        _text("address", "of the edge that gave the answer, or of the last attempt"),
        _integer("attempts", "connections or kept connections on which it was sent, or that were refused"),
        _text("method", "GET, ..."),
        _text("host", "without a port"),
        _text("path", "with the query"),
        _text("identity", "who the viewer says to be (session, Authorization), as it was sent"),
        _integer("status", "of the answer; NULL: there was none"),
        _text("x_cache", "X-Cache, as it came"),
        _text("pop", "X-Amz-Cf-Pop"),
        _integer("age_seconds", "Age"),
        _text("cache_control", "Cache-Control"),
        _text("entity_tag", "ETag"),
        _text("content_range", "Content-Range"),
        _integer("content_length", "Content-Length"),
        _integer("received_bytes", "of the body, as they came"),
        _integer("body_checksum", "CRC-32 of what came of the body, as it came"),
        _text("stamp_origin", "which origin made the answer (X-Origin-Stamp)"),
        _text("stamp_version", "which version of the object: differs whenever its bytes do"),
        _integer("stamp_produced_ns", "when the origin made the answer, or confirmed it last"),
        _integer("stamp_checksum", "CRC-32 of the whole body, says the origin; NULL: it does not know beforehand"),
        _text("stamp_identity", "for whom the origin made it (as `identity`), if it depends on that"),
        _text("error", "what the viewer saw go wrong; NULL: nothing"),
        _text(
            "content_encoding",
            "Content-Encoding: edges make codings, and origins know no checksum of those; NULL: none",
        ),
    ),
)

SERVED = Table(
    "served",
    "what edges and regional caches answered, as they say themselves: a row for each request at each tier",
    "edge_node",
    (
        _text("node", "who answered"),
        _text("request_id", "the same at every tier"),
        _integer("started_ns", "when its head had come"),
        _integer("first_byte_ns", "when the answer began to be sent"),
        _integer("ended_ns", "when it was over"),
        _text("peer", "address that asked: a viewer, or an edge"),
        _text("method", "GET, ..."),
        _text("host", "without a port"),
        _text("path", "with the query"),
        _integer("status", "that was sent; 0: none"),
        _integer("sent_bytes", "heads and body"),
        _text("result", "docs/contracts.md, Results and reasons"),
        _text("reason", "the same"),
        _integer("index", "of the log, that the node had applied when it decided how to answer"),
    ),
)

FILLS = Table(
    "fills",
    "what edges and regional caches asked of the next tier: a row for each request that was sent upstream, or for which there was no connection",
    "edge_node",
    (
        _text("node", "who asked"),
        _text("request_id", "of the request that it was for: of a collapsed fetch, its leader's"),
        _text("tier", "`regional` or `origin`: who was asked"),
        _text("upstream", "address"),
        _integer("started_ns", "when it began"),
        _integer("head_ns", "when the head of the answer had come; NULL: it did not"),
        _integer("ended_ns", "when all of it had come, or it failed"),
        _text("method", "GET, ..."),
        _text("host", "that the viewer asked for"),
        _text("path", "with the query, as it was sent"),
        _text("key", "of the cache, as a checksum; NULL: past the cache"),
        _text(
            "variant", "of those under one key, as a checksum of what Vary makes of the request; NULL: there is but one"
        ),
        _flag("is_conditional", "whether it was a revalidation"),
        _text("range", "that was asked for; NULL: all of it"),
        _integer("index", "of the log, that the node had applied when it began: the stamp of what is stored"),
        _integer("status", "of the answer; NULL: there was none"),
        _integer("received_bytes", "of the body"),
        _flag("is_shared", "whether others could be served by it: NULL when it failed before that was known"),
        _flag(
            "must_confirm",
            "whether its node had to confirm what it stores when it began (docs/invalidation.md, rule 10): then it is nobody else's",
        ),
        _text(
            "error",
            "what went wrong upstream: `kind` of cdn_upstream_errors_total; `given_up`: this node wanted no more of it; NULL: nothing",
        ),
    ),
)

ORIGIN_REQUESTS = Table(
    "origin_requests",
    "what origins were asked and what they answered",
    "origin",
    (
        _text("node", "the origin"),
        _text("request_id", "X-Amz-Cf-Id of the request"),
        _integer("started_ns", "when the answer was decided, which is what X-Origin-Stamp says"),
        _integer("ended_ns", "when it was sent, or could not be"),
        _text("peer", "address that asked"),
        _text("method", "GET, PUT, ..."),
        _text("path", "with the query"),
        _text("identity", "of the request: its cookie `session`, or Authorization"),
        _flag("is_conditional", "whether it had a precondition"),
        _text("range", "that was asked for"),
        _integer("status", "that was meant, before any misbehaviour"),
        _text("version", "of the object"),
        _integer("checksum", "CRC-32 of the whole body; NULL: not known beforehand"),
        _integer("body_bytes", "of the answer's body, as it was meant"),
        _text("misbehaviour", "id of the behavior that changed the answer; NULL: none"),
    ),
)

APPLIED = Table(
    "applied",
    "how far nodes have applied the log: a row for each step, also back",
    "edge_node, dns_router",
    (
        _text("node", "whose"),
        _integer("at_ns", "when it held, before anybody was served by it"),
        _text("log_id", "which log"),
        _integer("index", "that is applied"),
        _text(
            "how",
            "`entry`, `snapshot`, `disk` (what the node found at its start) or `held` (already, when the recording began)",
        ),
    ),
)

LEASES = Table(
    "leases",
    "whether nodes hold a lease, as they know it themselves: a row for each change",
    "edge_node, dns_router",
    (
        _text("node", "whose"),
        _integer("at_ns", "when it changed: the end of a lease exactly, anything else at most 0.1 s later"),
        _text("state", "`held`, `expired` or `none`"),
        _text("fence", "of an edge or regional cache, `leased`, `asking`, `fenced` or `alone`"),
    ),
)

DIRECTORY = Table(
    "directory",
    "which nodes the control plane counts in: a row for each change of a node's state",
    "control_plane",
    (
        _text("control_plane", "who says so"),
        _text("node", "of whom"),
        _integer("at_ns", "when it was decided"),
        _text("state", "`live`, `expired`, `left`, `replaced`"),
        _integer("version", "of the directory, from which routers have it"),
    ),
)

ROUTED = Table(
    "routed",
    "which directory routers answer by: a row for each change",
    "dns_router",
    (
        _text("node", "the router"),
        _integer("at_ns", "from when on its answers follow"),
        _integer("version", "of the directory"),
        _text("routable", "ids of the edges that it may name, sorted, with commas between"),
    ),
)

DNS_ANSWERS = Table(
    "dns_answers",
    "what the witnesses of a run were told by routers, a few times a second for each region",
    "the lab",
    (
        _text("router", "id of the one that was asked"),
        _text("region", "for whom"),
        _text("name", "that was asked for"),
        _integer("asked_ns", "before it was asked"),
        _integer("answered_ns", "when the answer was there, or given up"),
        _text("addresses", "in order, with commas between; empty: an answer without; NULL: no answer"),
        _integer("ttl_seconds", "of the answer"),
    ),
)

INVALIDATIONS = Table(
    "invalidations",
    "invalidations and their receipts",
    "the lab, from the control plane's receipts",
    (
        _text("id", "of the invalidation"),
        _text("distribution_id", "whose"),
        _text("host", "domain name of the distribution"),
        _text("paths", "patterns, as they were given, with spaces between"),
        _integer("index", "of the log"),
        _integer("asked_ns", "before the management API was asked"),
        _integer("issued_ns", "when the control plane took it; NULL: nobody knows"),
        _integer("completed_ns", "when its receipt was complete; NULL: not in this run"),
        _text("left_out", "nodes that the receipt leaves out, with commas between"),
    ),
)

ACKNOWLEDGEMENTS = Table(
    "acknowledgements",
    "which node acknowledged an invalidation when, says its receipt",
    "the lab, from the control plane's receipts",
    (
        _text("invalidation_id", "which"),
        _text("node", "who"),
        _text("state", "`acknowledged`, `pending` or `left_out`"),
        _integer("at_ns", "when"),
        _text("fenced_by", "of one that is left out: what is known of it"),
    ),
)

WRITES = Table(
    "writes",
    "what the run changed, and who confirmed it: objects at origins, configuration at the control plane",
    "the lab",
    (
        _text("kind", "`object`, `distribution`, `invalidation`, ..."),
        _text("subject", "path of the object, id of the resource"),
        _text("node", "the origin that has confirmed the object; NULL: what the control plane confirms"),
        _text("version", "that it has now, as the origin's stamp says; of configuration its index in the log"),
        _integer("asked_ns", "before it was asked for"),
        _integer("confirmed_ns", "when the confirmation was there; NULL: none came"),
    ),
)

TIME_MOVES = Table(
    "time_moves",
    "how far the lab's clock was moved forward, and when (docs/time-travel.md): everything is older by as much from then on",
    "the lab",
    (
        _integer("by_seconds", "forward"),
        _integer("index", "of the log"),
        _integer("asked_ns", "before it was asked for"),
        _integer("everywhere_ns", "when every live node had acknowledged it; NULL: not in this run"),
    ),
)

FAULTS = Table(
    "faults",
    "faults that were injected: a row for each lease and place",
    "the lab, from the agent's events",
    (
        _text("id", "of the lease"),
        _text("fault", "its name in the catalogue"),
        _text("target", "as it was given"),
        _text("place", "node or link"),
        _text("parameters", "as JSON"),
        _integer("began_ns", "before anything was done"),
        _integer("injected_ns", "when it was done everywhere"),
        _integer("healing_ns", "before anything was undone; NULL: not in this run"),
        _integer("healed_ns", "when all of it was undone; NULL: not in this run"),
    ),
)

NODES = Table(
    "nodes",
    "who took part: one row for each node of the lab",
    "the lab",
    (
        _text("node", "its id"),
        _text("role", "edge, regional, dns_router, control_plane, origin, wan"),
        _text("region", "where it is"),
        _text("pop", "of edges and regional caches"),
        _text("address", "at which viewers, edges or resolvers find it, without a port"),
    ),
)

LIVES = Table(
    "lives",
    "when those who keep a history did so, as they say themselves: a row for each process, and for each time that it was asked to",
    "every program of the lab, the load generator (`load`, `load-1`, ...) and the lab (`lab`)",
    (
        _text("node", "its id"),
        _text("boot_id", "whose clock its moments are of: those of two boots cannot be compared"),
        _text("process", "tells two processes of one node apart"),
        _integer(
            "started_ns", "from when on it wrote everything down: before it did anything, or when it was asked to"
        ),
        _integer("last_ns", "until when all that it saw is written: said once a second, and at its orderly end"),
        _flag(
            "is_ended",
            "whether it ended in order; if not, it may have gone on for a second, of which most is written, but for the last 0.1 s",
        ),
        _integer("dropped_rows", "that it had no room for: a witness with such is not whole"),
    ),
)

LATENESS = Table(
    "lateness",
    "how late load generators were with what they meant to do at a moment, once a second: a machine that is too busy, not a slow answer",
    "the load generator",
    (
        _text("node", "`load`, or `load-NAME`, with the number of its worker"),
        _integer("at_ns", "when it was said"),
        _integer("late_ns", "the most since it was said before"),
    ),
)

SAMPLES = Table(
    "samples",
    "what nodes count, once a second (their /metrics)",
    "the lab",
    (
        _text("node", "whose"),
        _integer("at_ns", "when it was asked"),
        _flag("is_up", "whether it answered"),
        _text("result", "of `requests`: docs/contracts.md; of an origin `origin`"),
        _integer("requests", "total since its start"),
        _integer("sent_bytes", "to viewers, total since its start; NULL but in one row of a sample"),
        _integer("origin_fetches", "the same"),
        _integer("store_bytes", "now; NULL but in one row of a sample"),
    ),
)

MARKS = Table(
    "marks",
    "what the run did and when, in words: the beginning and the end of each step, and what it waited for",
    "the lab",
    (
        _text("kind", "`load`, `step`, `fault`, `healed`, `invalidation`, `receipt`, `write`, `time`, `stop`, ..."),
        _text("subject", "what it is about"),
        _text("text", "for people"),
        _integer("began_ns", "when it began"),
        _integer("ended_ns", "when it was over; NULL: it is a moment"),
    ),
)

TABLES = (
    *(REQUESTS, SERVED, FILLS, ORIGIN_REQUESTS, APPLIED, LEASES, DIRECTORY, ROUTED, DNS_ANSWERS, INVALIDATIONS),
    *(ACKNOWLEDGEMENTS, WRITES, TIME_MOVES, FAULTS, NODES, LIVES, LATENESS, SAMPLES, MARKS),
)
