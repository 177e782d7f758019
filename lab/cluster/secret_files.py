"""Files with secrets: nobody but their owner reads them at any moment."""

import os
from pathlib import Path


def write_secret(path: Path, secret: bytes) -> None:
    """A new file that only its owner reads, from its first byte on. OSError when the system refuses."""
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(secret)
