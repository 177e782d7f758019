"""Profile `conditional`: viewers who have seen most of what they ask for, and ask whether it has changed (RFC 9110 section 13).

A 304 that nobody asked for, or that confirms another version than the one that was seen, is a failure: the viewer would
go on with what it does not have.
"""

from loadtests.connection import Request, Response
from loadtests.profile_options import ConditionalOptions
from loadtests.profiles.objects import ObjectsUser
from loadtests.request_choice import SeenObjects


class ConditionalUser(ObjectsUser):
    """One step is one GET."""

    profile = "conditional"

    def __init__(self, environment: object) -> None:
        super().__init__(environment)
        options: ConditionalOptions = self.environment.load_options
        self._seen = SeenObjects(options)

    def ask(self) -> None:
        path = self.pick_path()
        etag = self._seen.tag_to_ask_with(path, self.rng)
        request = Request(path, headers={"if-none-match": etag} if etag else {}, keeps_body=False)
        fetched = self.fetch(
            request, self._row, self.intended_start, lambda response: not_modified_fault(response, etag)
        )
        if fetched.usable is not None:
            self._seen.remember(path, fetched.usable.headers.get("etag", etag))
        self.pause()


def not_modified_fault(response: Response, etag: str) -> str:
    """What is wrong with a 304 to a request with this ETag (empty: with none); nothing for any other status."""
    if response.status != 304:
        return ""
    if not etag:
        return "status 304 to a request without a condition"
    said = response.headers.get("etag", etag)
    return "" if said.removeprefix("W/") == etag.removeprefix("W/") else f"status 304 with ETag {said}, not {etag}"
