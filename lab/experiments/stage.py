"""The lab that is up, as a run finds it: nothing of this changes while it goes on."""

from dataclasses import dataclass

from lab.cluster.interface import Cluster, LabFacts
from lab.cluster.status import RunningNode
from lab.errors import LabError
from lab.topology.layout import Role


@dataclass(frozen=True, slots=True)
class Stage:
    """Facts and nodes; the relays between them are no part of it."""

    facts: LabFacts
    nodes: tuple[RunningNode, ...]

    @classmethod
    def of(cls, lab: Cluster) -> "Stage":
        """LabError for a lab to which nobody would come."""
        facts = lab.facts
        if not facts.populations:
            raise LabError(f"topology {facts.topology} has no populations: nobody would come")
        return cls(facts, tuple(node for node in lab.nodes() if node.role is not Role.WAN))

    def of_role(self, role: Role) -> tuple[RunningNode, ...]:
        """LabError when there is none."""
        found = tuple(node for node in self.nodes if node.role is role)
        if not found:
            raise LabError(f"the lab has no {role}")
        return found

    @property
    def origin_addresses(self) -> dict[str, str]:
        """host:port at which edges and regional caches find each origin."""
        return {node.id: node.reached_at for node in self.of_role(Role.ORIGIN)}

    @property
    def viewers_addresses(self) -> dict[str, str]:
        """Ids of edges by the address at which viewers find them, without the port."""
        return {node.reached_at.rpartition(":")[0]: node.id for node in self.of_role(Role.EDGE)}
