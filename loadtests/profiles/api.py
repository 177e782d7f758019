"""Profile `api`: an application that lists products (cacheable, popular by Zipf) and asks who it is (private).

Half of the people are known by a cookie, half by an Authorization header: a CDN has to keep both apart. An answer that
names somebody else is reported as a failure, for nothing worse can happen to a private response.
"""

import json
from typing import Any

from loadtests.connection import Request, Response
from loadtests.request_choice import PRODUCT_PAGES, api_pause, next_products_page
from loadtests.users import ViewerUser
from loadtests.workload import RegionalPopularity


class ApiUser(ViewerUser):
    """One step is one call."""

    profile = "api"
    weight = 2

    def __init__(self, environment: object) -> None:
        super().__init__(environment)
        self._popularity = RegionalPopularity(PRODUCT_PAGES, self.population.region)
        self._name = f"user-{self.population.region}-{self.number}"

    def call(self) -> None:
        page = next_products_page(self._popularity, self.rng)
        if page is None:
            self._ask_who_i_am()
        else:
            request = Request(f"/api/products?page={page}", headers={"accept": "application/json"})
            self.fetch(request, "/api/products?page", self.intended_start)
        self.schedule_next(api_pause(self.rng))

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
