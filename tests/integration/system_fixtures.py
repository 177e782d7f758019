"""The fixtures of test_system_*.py; each of them names this module in `pytest_plugins`."""

from collections.abc import Iterator

import pytest

from tests.integration.system_lab import LEASE_SECONDS, SystemLab, system_lab


@pytest.fixture(scope="module")
def module_lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemLab]:
    """One lab for the tests of a module; the module may set LEASE_SECONDS."""
    lease_seconds = getattr(request.module, "LEASE_SECONDS", LEASE_SECONDS)
    with system_lab(tmp_path_factory.mktemp("system"), lease_seconds) as lab:
        yield lab


@pytest.fixture
def lab(module_lab: SystemLab) -> Iterator[SystemLab]:
    """The module's lab, whole again after each test."""
    yield module_lab
    module_lab.heal()
