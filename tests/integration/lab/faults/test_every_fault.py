"""Every fault of the catalogue on a lab of processes."""

from tests.faults.contract import FaultsContract


class TestProcesses(FaultsContract):
    """The suite of every runner."""
