"""Profile `slow-readers`: clients that send their request and read the answer at a trickle, and hold a connection meanwhile.

That is how a server's connections and buffers are attacked. A request is a failure when the server cut it, which a server
may well do; one that ends whole was held for as long as the client wanted. Who they harm is another load's to tell.
"""

from loadtests.connection import Connection, Request, Timeouts
from loadtests.popular_objects import object_path, row_name
from loadtests.profile_options import SlowReadersOptions
from loadtests.slow_connection import SlowConnection, Slowness
from loadtests.trickle import padding
from loadtests.users import ViewerUser
from loadtests.viewer import Viewer


class SlowReadersUser(ViewerUser):
    """One step is one GET, each on a connection of its own."""

    profile = "slow-readers"

    def new_person(self) -> Viewer:
        options: SlowReadersOptions = self.environment.load_options
        slowness = Slowness(options.send_bytes_per_second, options.read_bytes_per_second, options.hold_seconds)

        def connect(address: str, port: int, timeouts: Timeouts, source: str) -> Connection:
            return SlowConnection(slowness, address, port, timeouts, source)

        viewer = super().new_person()
        viewer.connect = connect
        return viewer

    def hold(self) -> None:
        options: SlowReadersOptions = self.environment.load_options
        path = object_path(options.path, self.rng.randrange(options.count))
        request = Request(path, headers=padding(options.head_bytes), keeps_body=False)
        self.fetch(request, row_name(options.path), self.intended_start)
        self.continue_after(self.rng.expovariate(1 / options.pause_seconds) if options.pause_seconds else 0.0)

    tasks = [hold]  # noqa: RUF012  # Locust reads and may rewrite this list on the class
