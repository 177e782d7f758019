"""The Docker engine as the lab speaks to it: every way in which it can refuse becomes a LabError that says what to do.

Only this module and those who translate its answers know the SDK's errors.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import docker
from docker.constants import DEFAULT_UNIX_SOCKET
from docker.errors import APIError, DockerException, NotFound
from requests.exceptions import RequestException

from lab.errors import LabError

# To find out whether a lab runs in containers at all, which many commands ask although none does.
LOOK_SECONDS = 2
# To do something to a container: the engine answers when it is done, and waits for a program to end in order.
ACTION_SECONDS = 30
_CONFLICT = 409


def connect(timeout_seconds: float = LOOK_SECONDS) -> docker.DockerClient | None:
    """None when there is no engine on this machine, or when it is not ours to use."""
    if not _takes_connections(timeout_seconds):
        return None
    try:
        return docker.from_env(timeout=int(timeout_seconds))
    except DockerException:
        return None


def _takes_connections(timeout_seconds: float) -> bool:
    """Tried before the SDK does, which leaves its socket open where nobody listens. An engine elsewhere is left to the SDK."""
    scheme, _, path = os.environ.get("DOCKER_HOST", DEFAULT_UNIX_SOCKET).partition("://")
    if "unix" not in scheme:
        return True
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout_seconds)
        try:
            connection.connect(path)
        except OSError:
            return False
    return True


@contextmanager
def engine_errors(what: str) -> Iterator[None]:
    """`what` was to be done, as in "edge-1 cannot be started"."""
    try:
        yield
    except NotFound as error:
        raise LabError(f"{what}: its container is gone; `cdnlab down` and `cdnlab up` make a new lab") from error
    except APIError as error:
        raise LabError(f"{what}: {_explain(error)}") from error
    except (DockerException, RequestException) as error:
        raise LabError(f"{what}: the Docker engine does not answer ({type(error).__name__})") from error


@contextmanager
def unless_in_conflict(message: str) -> Iterator[None]:
    """A conflict says that the container is not in the state that the action needs; `message` says that for people."""
    try:
        yield
    except APIError as error:
        if is_conflict(error):
            raise LabError(message) from error
        raise


def is_conflict(error: APIError) -> bool:
    """409."""
    return error.response is not None and error.response.status_code == _CONFLICT


def _explain(error: APIError) -> str:
    explanation = error.explanation
    text = explanation.decode("utf-8", "replace") if isinstance(explanation, bytes) else str(explanation or error)
    return f"the Docker engine says: {text.strip()}"
