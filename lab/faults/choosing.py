"""What a target means in a lab: the places of a lease, which are nodes or links."""

from lab.cluster.interface import Cluster
from lab.faults.fault import Fault, Targets
from lab.faults.lease import ConflictError
from lab.faults.link_targets import choose_links, choose_partition
from lab.faults.parameters import Value
from lab.faults.relays import relays_of
from lab.faults.targets import Candidate, choose_for


def choose_places(lab: Cluster, fault: Fault, target: str, parameters: dict[str, Value]) -> tuple[str, ...]:
    """UsageError names what was not found and what there is; LabError for links in a lab without relays."""
    match fault.targets:
        case Targets.NODES:
            nodes = [Candidate(each.id, each.role, each.region, each.pop) for each in lab.nodes()]
            return tuple(node.id for node in choose_for(fault, target, nodes))
        case Targets.LINKS:
            parts = choose_links(target, relays_of(lab).links(), str(parameters["direction"]))
        case Targets.PARTITIONS:
            parts = choose_partition(target, relays_of(lab).links())
    return tuple(map(str, parts))


def check_they_run(lab: Cluster, fault: Fault, places: tuple[str, ...]) -> None:
    """ConflictError when one of the nodes does not."""
    if fault.targets is Targets.NODES:
        down = [each.id for each in lab.nodes() if each.id in places and not each.is_running]
        if down:
            raise ConflictError(f"{down[0]} is not running: `cdnlab start {down[0]}` starts it")
