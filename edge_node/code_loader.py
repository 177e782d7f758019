"""Which code of the modules of this package is run: their source, or what `make compiled` made of it.

Compiled ahead of time by mypyc (docs/decisions/0013-compiled-ahead-of-time.md), the same modules answer faster; what they mean is the same. The folder of the
compiled ones is named after the text of all sources and the interpreter that they were compiled for, so that they are neither stale nor of another Python: after an
edit there is no such folder, and the source is run until the next `make compiled`.
"""

import hashlib
import sysconfig
from collections.abc import Iterable, Mapping
from pathlib import Path

SETTING = "CDNLAB_EDGE_CODE"
"""`source`: never the compiled modules. `compiled`: not without them. Otherwise they are used when they are there."""

COMPILED, SOURCE = "compiled", "source"


def modules_folder(package: Path) -> Path:
    """Where the compiled modules of exactly these sources are, or would be: beside the folders of the programs."""
    digest = hashlib.sha256()
    for path in sources_of(package):
        digest.update(f"{path.relative_to(package).as_posix()}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return package.parent / "build" / "compiled" / f"{sysconfig.get_config_var('SOABI')}-{digest.hexdigest()[:20]}"


def sources_of(package: Path) -> Iterable[Path]:
    """All modules of the package, in an order that does not change."""
    return sorted(package.rglob("*.py"))


def folder_to_use(package: Path, environment: Mapping[str, str]) -> Path | None:
    """The folder of compiled modules to use, if any; ImportError when they were asked for and are not there."""
    setting = environment.get(SETTING, "")
    if setting not in ("", SOURCE, COMPILED):
        raise ImportError(f"{SETTING} is {setting!r}: it can be {SOURCE}, {COMPILED} or nothing")
    if setting == SOURCE:
        return None
    folder = modules_folder(package)
    if folder.is_dir():
        return folder
    if setting == COMPILED:
        raise ImportError(f"{SETTING} is {COMPILED}, but there are no compiled modules of these sources: make compiled")
    return None
