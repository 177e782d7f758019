"""What an operation is: a function from the parameters of a request, and what stands behind the API, to a result. Both dictionaries are shaped by the model."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from control_plane.aws_api.codec import Parameters
from control_plane.aws_api.model import API_VERSION
from control_plane.state import Deployment, Transaction


@dataclass(frozen=True, slots=True)
class Call:
    """One request's view of the world. The transaction commits when the operation returns; nothing that it did remains when it raises."""

    transaction: Transaction
    deployment: Deployment
    zone: str
    now: datetime
    rng: random.Random
    endpoint: str
    """As the client reached us, for example `http://127.0.0.1:4566`."""

    def location(self, path: str) -> str:
        """The URL of a resource."""
        return f"{self.endpoint}/{API_VERSION}/{path}"


Operation = Callable[[Call, Parameters], Parameters]
