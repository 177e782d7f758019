"""From a YAML file to a `Topology`: the schema of docs/topology.md, key by key.

What values mean together is checked by the topology itself and reported in the same message. The mechanics of reading are
sections.py's.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

from lab.errors import UsageError
from lab.topology.choice import TopologyChoice
from lab.topology.composing import compose
from lab.topology.geography import Coordinates, find_airports
from lab.topology.internet import wrong_jitters
from lab.topology.links import (
    DEFAULT_LAST_MILE,
    LAST_MILES,
    LONGEST_ROUND_TRIP_MILLISECONDS,
    MOST_LOSS_PERCENT,
    MOST_MBIT,
    GivenLink,
)
from lab.topology.model import (
    DEFAULT_LOOPBACK,
    EVICTION_POLICIES,
    MAXIMUM_NODES_OF_A_KIND,
    SMALLEST_DISK_MIB,
    Cache,
    ControlPlanePorts,
    Origin,
    Pop,
    Population,
    Ports,
    Region,
    RegionalCache,
    Router,
    Timing,
    Topology,
)
from lab.topology.problems import COMMAND_LINE, Problem, TopologyError
from lab.topology.sections import Section
from proto.seeds import MOST_SEED

MAXIMUM_BYTES = 1 << 20
MAXIMUM_EDGES = MAXIMUM_NODES_OF_A_KIND
MAXIMUM_CACHE_MIB = 1 << 20
EDGE_CACHE_MIB = 64
REGIONAL_CACHE_MIB = 128
MAXIMUM_USERS = 100_000
_NOWHERE = Coordinates(0.0, 0.0)
_NO_SEED = -1


def shipped_topology(name: str) -> Path:
    """A topology that comes with the lab, as `default`."""
    return Path(__file__).parent / "files" / f"{name}.yaml"


def shipped_names() -> tuple[str, ...]:
    """What these are called."""
    return tuple(sorted(path.stem for path in shipped_topology("").parent.glob("*.yaml")))


def find_topology(choice: TopologyChoice) -> Topology:
    """What a command is about."""
    topology = read_topology(_path_of(choice.name or "default"), choice.loopback)
    has_relays = topology.has_relays if choice.has_relays is None else choice.has_relays
    return replace(topology, has_relays=has_relays, seed=topology.seed if choice.seed is None else choice.seed)


def _path_of(wanted: str) -> Path:
    """A name without a dot and a slash is a shipped one's, unless there is such a file."""
    path = Path(wanted)
    if path.exists() or path.suffix or path.name != wanted:
        return path
    if wanted not in shipped_names():
        raise UsageError(
            f"no file {wanted}, and no topology of that name ships: there are {', '.join(shipped_names())}"
        )
    return shipped_topology(wanted)


def read_topology(path: Path, loopback: str | None = None) -> Topology:
    """The topology in a file; `loopback` replaces the file's. TopologyError names everything that is wrong."""
    try:
        with path.open("rb") as file:
            data = file.read(MAXIMUM_BYTES + 1)
        if len(data) > MAXIMUM_BYTES:
            raise UsageError(f"{path}: larger than {MAXIMUM_BYTES >> 20} MiB, not a topology")
        return parse_topology(data.decode("utf-8"), str(path), loopback)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 text") from error


def parse_topology(text: str, source: str, loopback: str | None = None) -> Topology:
    """The topology in a text."""
    problems: list[Problem] = []
    root = Section(compose(text, source), "the topology", problems)
    if problems:
        raise TopologyError(source, problems)
    try:
        topology = _topology(root, source, loopback)
    except TopologyError as error:
        # A line whose form is wrong has been reported already; what follows from that is no news.
        reported = {problem.line for problem in problems}
        problems += [problem for problem in error.problems if problem.line not in reported]
        raise TopologyError(source, problems) from None
    problems += wrong_jitters(topology)
    if problems:
        raise TopologyError(source, problems)
    return topology


def _topology(root: Section, source: str, loopback: str | None) -> Topology:
    """The whole schema in one place. An optional key's default stands here and in docs/topology.md."""
    regions = _regions(root)
    origins_are_external = root.is_word("origins", "external")
    edge_cache, regional_cache = _cache(root, Cache(EDGE_CACHE_MIB)), _cache(root, Cache(REGIONAL_CACHE_MIB))
    topology = partial(
        Topology,
        name=root.text("name", "lab"),
        zone=root.text("zone", "cdn.localhost"),
        loopback=root.text("loopback", DEFAULT_LOOPBACK) if loopback is None else loopback,
        ports=_ports(root),
        timing=_timing(root),
        regions=regions,
        pops=root.sections("pops", lambda each: _pop(each, edge_cache)),
        regional_caches=root.sections("regional_caches", lambda each: _regional_cache(each, regional_cache)),
        routers=root.sections("routers", lambda each: Router(each.text("region"), each.line)),
        origins=() if origins_are_external else root.sections("origins", _origin),
        origins_are_external=origins_are_external,
        populations=root.sections("populations", _population),
        links=root.sections("links", _link),
        has_relays=root.flag("relays", True),
        default_region=root.text("default_region", regions[0].name if regions else ""),
        maximum_answers=root.integer("maximum_answers", 4, 1, 16),
        demo_distribution=root.flag("demo_distribution", not origins_are_external),
        seed=_seed(root),
    )
    root.known += ["loopback", "origins"]
    if "latencies" in root.values:
        root.known.append("latencies")
        root.report("latencies is no key any more: write links, as in docs/topology.md", root.values["latencies"])
    root.finish()
    lines = root.lines if loopback is None else {**root.lines, "loopback": COMMAND_LINE}
    return topology(source=source, lines=dict(lines))


def _regions(root: Section) -> tuple[Region, ...]:
    read = root.sections("regions", lambda each: (each, each.text("name"), each.text("airport")))
    airports = find_airports({airport for _, _, airport in read}) if read else {}
    for section, _, airport in read:
        if airport and airport not in airports:
            section.report(f"airport {airport!r}: no airport has this IATA code")
    return tuple(
        Region(name, airport, airports.get(airport, _NOWHERE), section.line) for section, name, airport in read
    )


def _pop(each: Section, default: Cache) -> Pop:
    return Pop(
        name=each.text("name"),
        region=each.text("region"),
        edges=each.integer("edges", 1, 1, MAXIMUM_EDGES),
        cache=_cache_of_nodes(each, default),
        line=each.line,
    )


def _regional_cache(each: Section, default: Cache) -> RegionalCache:
    return RegionalCache(
        region=each.text("region"),
        count=each.integer("count", 1, 1, MAXIMUM_NODES_OF_A_KIND),
        cache=_cache_of_nodes(each, default),
        line=each.line,
    )


def _cache_of_nodes(each: Section, default: Cache) -> Cache:
    memory_mib = each.integer("cache_mib", default.memory_mib, 1, MAXIMUM_CACHE_MIB)
    return _cache(each, replace(default, memory_mib=memory_mib))


def _cache(section: Section, default: Cache) -> Cache:
    """The keys that may stand at the top, for all caches, and at one POP or region."""
    policy = section.choice("eviction_policy", default.eviction_policy, EVICTION_POLICIES)
    disk_mib = section.integer("disk_mib", default.disk_mib, 0, MAXIMUM_CACHE_MIB)
    if 0 < disk_mib < SMALLEST_DISK_MIB:
        message = f"disk_mib must be 0 for none, or at least {SMALLEST_DISK_MIB}, not {disk_mib}"
        section.report(message, section.values["disk_mib"])
        disk_mib = default.disk_mib
    return replace(default, eviction_policy=policy, disk_mib=disk_mib)


def _origin(each: Section) -> Origin:
    return Origin(each.text("name"), each.text("region"), each.line)


def _population(each: Section) -> Population:
    return Population(
        region=each.text("region"),
        client_subnet=each.text("client_subnet"),
        users=each.integer("users", 10, 0, MAXIMUM_USERS),
        last_mile=each.choice("last_mile", DEFAULT_LAST_MILE, list(LAST_MILES)),
        line=each.line,
    )


def _seed(root: Section) -> int | None:
    seed = root.integer("seed", _NO_SEED, 0, MOST_SEED)
    return None if seed == _NO_SEED else seed


def _link(each: Section) -> GivenLink:
    ends = each.words("between", 2)
    return GivenLink(
        between=(ends[0], ends[1]),
        round_trip_ms=each.number_if_any("round_trip_ms", LONGEST_ROUND_TRIP_MILLISECONDS),
        jitter_ms=each.number_if_any("jitter_ms", LONGEST_ROUND_TRIP_MILLISECONDS),
        loss_percent=each.number_if_any("loss_percent", MOST_LOSS_PERCENT),
        bandwidth_mbit=each.number_if_any("bandwidth_mbit", MOST_MBIT),
        line=each.line,
    )


def _ports(root: Section) -> Ports:
    default = Ports()
    return Ports(
        viewer=root.port("viewer_port", default.viewer),
        origin=root.port("origin_port", default.origin),
        dns=root.port("dns_port", default.dns),
        admin=root.port("admin_port", default.admin),
        wan=root.port("wan_port", default.wan),
        control_plane=_control_plane_ports(root),
    )


def _control_plane_ports(root: Section) -> ControlPlanePorts:
    default = ControlPlanePorts()
    section = root.section("control_plane")
    if section is None:
        return default
    ports = ControlPlanePorts(
        api=section.port("api", default.api),
        grpc=section.port("grpc", default.grpc),
        admin=section.port("admin", default.admin),
    )
    section.finish()
    return ports


def _timing(root: Section) -> Timing:
    default = Timing()
    return Timing(
        heartbeat_seconds=root.seconds("heartbeat_seconds", default.heartbeat_seconds),
        lease_seconds=root.seconds("lease_seconds", default.lease_seconds),
        answer_ttl_seconds=root.integer("answer_ttl_seconds", default.answer_ttl_seconds, 0, 86_400),
    )
