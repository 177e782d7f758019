"""Profile `cache-busting`: requests with a query string that nobody else sends, so that no cache has the answer.

That is how an origin behind a CDN is attacked where query strings are part of the cache key. A share of the requests is
normal, and a row of its own. With a seed a second run sends the query strings of the first.
"""

from loadtests.connection import Request
from loadtests.profile_options import CacheBustingOptions
from loadtests.profiles.objects import ObjectsUser
from loadtests.request_choice import busting_parameter, busting_query


class CacheBustingUser(ObjectsUser):
    """One step is one GET."""

    profile = "cache-busting"

    def __init__(self, environment: object) -> None:
        super().__init__(environment)
        self._busting: CacheBustingOptions = self.environment.load_options
        self._parameter = busting_parameter(self._busting)

    def ask(self) -> None:
        path = self.pick_path()
        query = busting_query(self._busting, self.rng)
        row = f"{self._row}{self._parameter}" if query else self._row
        self.fetch(Request(path + query, keeps_body=False), row, self.intended_start)
        self.pause()
