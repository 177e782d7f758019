"""Where the scenarios are that come with the lab, and their names. Tiny, for completion."""

from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "files"


def shipped_scenarios() -> tuple[str, ...]:
    """Names, in the order of the alphabet."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))
