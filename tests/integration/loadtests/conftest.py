"""The router that tests of load generators ask."""

from collections.abc import Iterator

import pytest

from tests.integration.loadtests.load_peers import SITE
from tests.integration.loadtests.test_viewer import ScriptedRouter


@pytest.fixture
def router() -> Iterator[ScriptedRouter]:
    router = ScriptedRouter(SITE, ttl=2)
    try:
        yield router
    finally:
        router.close()
