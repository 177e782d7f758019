"""Whether what is on the disk was written since the machine was started. Only crashes of the process are promised: after a power loss, files may be old or torn in ways
that no checksum shows (a removal may be missing), so then all records are invalid.
"""

import contextlib
import os
from pathlib import Path
from typing import Final

_BOOT_FILE: Final = "boot"
_CLEAN_FILE: Final = "clean"
_NO_BOOT_ID: Final = "unknown"


def is_same_boot(folder: Path, boot_id: str) -> bool:
    """Whether the records are from this boot; without a boot id, whether they were closed cleanly. To be asked once: the sign of a clean end is taken away."""
    is_clean = (folder / _CLEAN_FILE).exists()
    (folder / _CLEAN_FILE).unlink(missing_ok=True)
    try:
        recorded = (folder / _BOOT_FILE).read_text()
    except (OSError, UnicodeDecodeError):
        return False
    return recorded == boot_id if boot_id else recorded == _NO_BOOT_ID and is_clean


def record_boot(folder: Path, boot_id: str) -> None:
    """From now on the records are of this boot; called when none of another is left."""
    (folder / _BOOT_FILE).write_text(boot_id or _NO_BOOT_ID)


def record_clean_end(folder: Path, boot_id: str) -> None:
    """All is on the disk. Only where there is no boot id to tell: it costs the time to write everything out."""
    if not boot_id:
        os.sync()
        with contextlib.suppress(OSError):
            (folder / _CLEAN_FILE).touch()
