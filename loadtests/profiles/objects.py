"""Profile `objects`: GETs of one of N objects, popular by Zipf's law; also `flash-crowd`, where everybody wants the same few.

What makes a crowd is the stages of the load plan: many come within seconds.
"""

from loadtests.connection import Request
from loadtests.popular_objects import row_name
from loadtests.profile_options import ObjectsOptions
from loadtests.request_choice import next_object, pause_after
from loadtests.users import ViewerUser


class ObjectsUser(ViewerUser):
    """One step is one GET."""

    profile = "objects"

    def __init__(self, environment: object) -> None:
        super().__init__(environment)
        self._objects: ObjectsOptions = self.environment.load_options
        self._row = row_name(self._objects.path)

    def pick_path(self) -> str:
        """Of the next object."""
        return next_object(self._objects, self.population.region, self.rng)

    def step(self) -> None:
        """The only task: Locust would give a subclass with a task of its own both."""
        self.ask()

    def ask(self) -> None:
        """One request, and the pause behind it."""
        self.fetch(Request(self.pick_path(), keeps_body=False), self._row, self.intended_start)
        self.pause()

    def pause(self) -> None:
        """Until the next request."""
        self.schedule_next(pause_after(self._objects, self.rng))

    tasks = [step]  # noqa: RUF012  # Locust reads and may rewrite this list on the class


class FlashCrowdUser(ObjectsUser):
    """Its options have at most three objects."""

    profile = "flash-crowd"
