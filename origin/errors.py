"""What can stop the origin or a request to it. Foreign exceptions become these where the socket or the parser is owned."""


class StartError(Exception):
    """The origin cannot start; the text is the one line that the operator gets."""


class InvalidInputError(Exception):
    """The asker's fault: what was asked for cannot be read. Each problem is one sentence; answered with 400."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class StorageFullError(Exception):
    """The bucket's byte budget would be exceeded; nothing was stored."""


class StalledError(Exception):
    """A wait inside a response reached its bound; the connection is given up."""
