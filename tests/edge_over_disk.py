"""An edge's half of the log over one state directory, without a session: applied to by the test, and started again."""

from pathlib import Path
from typing import Self

from edge_node.control.client import ControlClient
from edge_node.storage.node_state import NodeState
from proto.cdn.v1 import sync_pb2
from proto.resource_files import ResourceFiles
from proto.state_files import StateFiles
from tests.edge_wires import leased_fence


class EdgeOverDisk:
    """Tests add what they say to it, and what they ask."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.state = NodeState("eu", leased_fence())
        self.client = ControlClient(self.state, "eu", directory, lambda: (0, 0))
        self.restored = self.client.restore()

    def restarted(self) -> Self:
        """The next process."""
        self.client.close()
        return type(self)(self.directory)

    def kept(self) -> tuple[sync_pb2.KeptResource, ...]:
        """What is on the disk."""
        kept = ResourceFiles(StateFiles(self.directory)).read()
        assert kept is not None and kept.is_whole
        return kept.resources
