"""Profile `api`: an application that lists products (cacheable, popular by Zipf) and asks who it is (private).

Half of the people are known by a cookie, half by an Authorization header: a CDN has to keep both apart. An answer that
names somebody else is reported as a failure, for nothing worse can happen to a private response.
"""

import json
from typing import Any

from loadtests.connection import Request, Response
from loadtests.users import ViewerUser
from loadtests.workload import RegionalPopularity

# The origin lists 500 products, 20 a page (docs/origin.md).
PRODUCT_PAGES = 25
PRIVATE_SHARE = 0.3
MEAN_PAUSE_SECONDS = 0.5


class ApiUser(ViewerUser):
    """One step is one call."""

    profile = "api"
    weight = 2

    def __init__(self, environment: object) -> None:
        super().__init__(environment)
        self._popularity = RegionalPopularity(PRODUCT_PAGES, self.population.region)
        self._name = f"user-{self.population.region}-{self.number}"

    def call(self) -> None:
        if self.rng.random() < PRIVATE_SHARE:
            self._ask_who_i_am()
        else:
            page = self._popularity.pick(self.rng) + 1
            request = Request(f"/api/products?page={page}", headers={"accept": "application/json"})
            self.fetch(request, "/api/products?page", self.intended_start)
        self.schedule_next(self.rng.expovariate(1 / MEAN_PAUSE_SECONDS))

    def _ask_who_i_am(self) -> None:
        request = Request("/api/me", headers={"accept": "application/json", **self._identity()})
        self.fetch(request, "/api/me", self.intended_start, self._find_fault)

    def _find_fault(self, response: Response) -> str:
        return "" if is_about(self._name, response.body) else f"an answer for {self._name} that is not theirs"

    def _identity(self) -> dict[str, str]:
        if self.number % 2:
            return {"cookie": f"session={self._name}"}
        return {"authorization": f"Bearer {self._name}"}

    tasks = [call]  # noqa: RUF012  # Locust reads and may rewrite this list on the class


def is_about(name: str, body: bytes) -> bool:
    """The origin answers with the name that it was told (docs/origin.md)."""
    try:
        document: Any = json.loads(body)
    except ValueError:
        return False
    return name in json.dumps(document)
