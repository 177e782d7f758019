"""The faults of links, of partitions and of who hears whom: the catalogue's rows that the relays of a lab do (docs/wan.md). Pure."""

from lab.faults.fault import Aspect, Fault, Targets
from lab.faults.parameters import Kind, Parameter
from lab.topology.layout import Role

_REACHED = tuple(role for role in Role if role is not Role.WAN)
_DIRECTION = Parameter(
    "direction",
    Kind.CHOICE,
    "",
    "from the place that is named first, or to it",
    default="both",
    words=("both", "forward", "backward"),
)
_SHARE = Parameter("probability", Kind.NUMBER, "", "of how many connections, of 1", 0, 1, 1.0)
_AFTER = Parameter("after", Kind.DURATION, "s", "how long after the fault or the connection begins", 0, 3600, 0.0)
_AS_BEFORE = "the link is as before"


def _of_values(name: str, aspect: Aspect, does: str, *parameters: Parameter) -> Fault:
    """Other values of links, for everything that crosses them."""
    told = (*parameters, _DIRECTION)
    return Fault(name, aspect, does, _AS_BEFORE, (), told, targets=Targets.LINKS)


def _of_connections(name: str, does: str, *parameters: Parameter) -> Fault:
    """Toxics of links, which are for TCP."""
    told = (*parameters, _SHARE, _DIRECTION)
    return Fault(name, Aspect.CONNECTIONS, does, "connections are left alone", (), told, targets=Targets.LINKS)


LINK_FAULTS = (
    Fault(
        "cut",
        Aspect.REACH,
        "a black hole between the node and others, at the relays: nothing gets through, and nobody is told",
        "what was held back is sent again",
        _REACHED,
        (
            Parameter("from", Kind.NAMES, "", "from which places and nodes", default="all"),
            Parameter(
                "direction",
                Kind.CHOICE,
                "",
                "what it hears, what it says, or both",
                default="both",
                words=("both", "in", "out"),
            ),
        ),
    ),
    _of_values(
        "link-delay",
        Aspect.LINK_DELAY,
        "everything is so much later, each way",
        Parameter("by", Kind.DURATION, "s", "how much later", 0, 59),
        Parameter("jitter", Kind.DURATION, "s", "how much more jitter, at most as much as the delay", 0, 59, 0.0),
        Parameter(
            "distribution", Kind.CHOICE, "", "of delays", default="same", words=("same", "uniform", "normal", "pareto")
        ),
    ),
    _of_values(
        "link-loss",
        Aspect.LINK_LOSS,
        "loses at least so much: datagrams are gone, streams stall",
        Parameter("percent", Kind.NUMBER, "%", "of segments and datagrams", 0.0001, 99),
    ),
    _of_values(
        "link-bandwidth",
        Aspect.LINK_BANDWIDTH,
        "has at most so much, which all that crosses it shares",
        Parameter("mbit", Kind.NUMBER, "Mbit/s", "how much", 0.012, 1e5),
        Parameter("queue", Kind.INTEGER, "KiB", "the queue before it; 0 as it is", 0, 1 << 20, 0),
    ),
    _of_values("link-cut", Aspect.LINK_CUT, "a black hole: nothing gets through, and nobody is told"),
    Fault(
        "partition",
        Aspect.LINK_CUT,
        "cuts between groups of regions",
        _AS_BEFORE,
        targets=Targets.PARTITIONS,
        roles=(),
    ),
    _of_connections(
        "link-throttle",
        "each connection has so much for itself; 0: nothing",
        Parameter("rate", Kind.INTEGER, "kB/s", "how much", 0, 1e9, 100),
    ),
    _of_connections("link-reset", "resets connections, and lets nothing through until then", _AFTER),
    _of_connections("link-timeout", "drops everything, and closes connections then; 0: never", _AFTER),
    _of_connections("link-half-open", "closing and resets are never told to the other side"),
    _of_connections(
        "link-slow-close",
        "the end is told later",
        Parameter("by", Kind.DURATION, "s", "how much later", 0.001, 3600, 1.0),
    ),
    _of_connections(
        "link-slice",
        "small pieces",
        Parameter("size", Kind.INTEGER, "bytes", "their average", 1, 1e6, 64),
        Parameter("variation", Kind.INTEGER, "bytes", "how much more or less", 0, 1e6, 0),
        Parameter("gap", Kind.DURATION, "s", "between them", 0, 60, 0.001),
    ),
    _of_connections(
        "link-limit-data",
        "closes each connection after so many bytes",
        Parameter("after", Kind.INTEGER, "bytes", "how many", 0, float(1 << 50), 1000),
    ),
)
