"""Profile `cache-busting`: requests with a query string that nobody else sends, so that no cache has the answer.

That is how an origin behind a CDN is attacked where query strings are part of the cache key. A share of the requests is
normal, and a row of its own. With a seed a second run sends the query strings of the first.
"""

from loadtests.connection import Request
from loadtests.profile_options import CacheBustingOptions
from loadtests.profiles.objects import ObjectsUser


class CacheBustingUser(ObjectsUser):
    """One step is one GET."""

    profile = "cache-busting"

    def __init__(self, environment: object) -> None:
        super().__init__(environment)
        options: CacheBustingOptions = self.environment.load_options
        self._share = options.busting_share
        self._parameter = f"{'&' if '?' in options.path else '?'}{options.parameter}"

    def ask(self) -> None:
        path, row = self.pick_path(), self._row
        if self.rng.random() < self._share:
            path, row = f"{path}{self._parameter}={self.rng.getrandbits(64):016x}", f"{row}{self._parameter}"
        self.fetch(Request(path, keeps_body=False), row, self.intended_start)
        self.pause()
