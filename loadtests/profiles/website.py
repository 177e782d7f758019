"""Profile `website`: people who read pages of a site, each page with its styles, scripts and images.

Pages are popular by Zipf's law, regions partly agree on what is popular, and each person's browser keeps assets for as
long as their max-age says.
"""

import time

import gevent
from gevent.pool import Pool

from loadtests.connection import Request, Response
from loadtests.users import ViewerUser
from loadtests.viewer import CONNECTIONS_PER_HOST
from loadtests.workload import BrowserCache, RegionalPopularity, group_name, linked_assets, plan_browsing

# The origin's site has this many pages besides the front page (docs/origin.md), which comes first in the ranking.
PAGES = 200
MEAN_PAGES_PER_SESSION = 8.0
# People read for half a minute; a laboratory's minute stands for more. `--pace` changes it.
MEAN_PAUSE_SECONDS = 1.0


def page_path(page: int) -> str:
    return "/index.html" if page == 0 else f"/pages/{page}.html"


class WebsiteUser(ViewerUser):
    """One step is one page with what it loads; after a session another person takes the seat."""

    profile = "website"
    weight = 6

    def __init__(self, environment: object) -> None:
        super().__init__(environment)
        self._popularity = RegionalPopularity(PAGES + 1, self.population.region)
        self._begin_session()

    def _begin_session(self) -> None:
        session = plan_browsing(self.rng, self._popularity, MEAN_PAGES_PER_SESSION, MEAN_PAUSE_SECONDS)
        self._steps = list(zip(session.pages, session.pauses_seconds, strict=True))
        self._cache = BrowserCache()

    def visit(self) -> None:
        if not self._steps:
            self.new_viewer()
            self._begin_session()
        page, pause_seconds = self._steps.pop(0)
        path = page_path(page)
        fetched = self.fetch(Request(path), group_name(path), self.intended_start)
        if fetched.usable is not None:
            self._load_assets(path, fetched.usable)
        self.schedule_next(pause_seconds)

    def _load_assets(self, page: str, response: Response) -> None:
        """As many at a time as there are connections; all were wanted when the page arrived."""
        wanted_at = time.monotonic()
        wanted = [path for path in linked_assets(page, response.body) if not self._cache.is_fresh(path, wanted_at)]
        if len(wanted) == 1:
            self._load_asset(wanted[0], wanted_at)
            return
        loads = Pool(CONNECTIONS_PER_HOST)
        try:
            for path in wanted:
                loads.spawn(self._load_asset, path, wanted_at)
            loads.join()
        except gevent.GreenletExit:
            loads.kill()  # Locust stops the user: its page stops loading
            raise

    def _load_asset(self, path: str, wanted_at: float) -> None:
        etag = self._cache.validator(path)
        headers = {"if-none-match": etag} if etag else {}
        fetched = self.fetch(Request(path, headers=headers, keeps_body=False), group_name(path), wanted_at)
        if fetched.usable is not None:
            self._cache.store(path, fetched.usable.headers, time.monotonic())

    tasks = [visit]  # noqa: RUF012  # Locust reads and may rewrite this list on the class
