"""The lab that the modules of this folder share."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.integration.system_lab import LEASE_SECONDS, SystemLab, system_lab


class Labs:
    """One lab at a time: modules that want the same length of a lease share it, and tests/conftest.py puts these one after the other, on one test process."""

    def __init__(self, folders: pytest.TempPathFactory) -> None:
        self._folders = folders
        self._running = ExitStack()
        self._lab: SystemLab | None = None

    def with_lease(self, seconds: float) -> SystemLab:
        """The one that runs, if that is the length of its leases; else it is taken down, and another one is brought up."""
        if self._lab is None or self._lab.lease_seconds != seconds:
            self.take_down()
            self._lab = self._running.enter_context(system_lab(self._folders.mktemp("system"), seconds))
        return self._lab

    def take_down(self) -> None:
        self._lab = None
        self._running.close()


@pytest.fixture(scope="package")
def labs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Labs]:
    labs = Labs(tmp_path_factory)
    yield labs
    labs.take_down()


@pytest.fixture
def lab(labs: Labs, request: pytest.FixtureRequest) -> Iterator[SystemLab]:
    """A lab that is whole; the module may set LEASE_SECONDS. One that cannot be made whole after a test is nobody's any more."""
    lab = labs.with_lease(getattr(request.module, "LEASE_SECONDS", LEASE_SECONDS))
    yield lab
    try:
        lab.heal()
    except BaseException:
        labs.take_down()
        raise
