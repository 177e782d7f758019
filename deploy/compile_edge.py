"""`make compiled`: compiles the modules of the edge node that answer requests ahead of time, with mypyc and the C compiler that is here.

Where the result goes, and when it is used, is `edge_node/code_loader.py`'s. It is put there in one step when all of it is done; those of older sources are removed.
`make setup` starts it behind everything else that runs, and nobody waits for it: until it is done edges run from their source.
What is left as it is: the rim that speaks gRPC and Prometheus (their generated classes gain nothing), and what the compiler cannot express.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mypyc.build import mypycify
from setuptools import Distribution  # type: ignore[import-untyped]
from setuptools.command.build_ext import build_ext  # type: ignore[import-untyped]

from edge_node.code_loader import modules_folder, sources_of

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "edge_node"
BUILD = ROOT / "build"

LEFT_AS_SOURCE = (
    "__init__.py", "__main__.py", "code_loader.py",  # they choose which code is run
    "observability/admin.py", "control/resource_reader.py", "control/client.py", "observability/explain.py", "observability/metrics.py", "node.py",  # the rim
    "control/known_peers.py", "control/resource_kinds.py", "control/injected_faults.py",
    "control/journal.py", "settings.py", "storage/storage_factory.py",  # read once, or written once for each log entry
    "observability/resident_memory.py", "observability/history.py",  # once after the start; at changes of the log
    "storage/disk/files.py",  # open files close when the last weak reference is left, which compiled objects cannot have
    "storage/disk/faulty_files.py",  # derives from it
)  # fmt: skip


class _BuildAtOnce(build_ext):  # type: ignore[misc]  # setuptools has no types
    """Compiles as many files at a time as there are processors."""

    def build_extensions(self) -> None:
        """All of them."""
        compile_in_turn: Callable[..., list[str]] = self.compiler.compile

        def compile_at_once(sources: list[str], **options: Any) -> list[str]:
            with ThreadPoolExecutor(os.cpu_count()) as threads:
                parts = threads.map(lambda source: compile_in_turn([source], **options), sources)
                return [name for part in parts for name in part]

        self.compiler.compile = compile_at_once
        super().build_extensions()


def why_not_possible() -> str:
    """What is missing for a C extension on this machine; nothing when all is there."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        return f"there is no C compiler ({compiler}). On Debian and Ubuntu: sudo apt install gcc libc6-dev"
    headers = Path(sysconfig.get_path("include")) / "Python.h"
    if not headers.is_file():
        return f"the headers of this Python are missing ({headers}). On Debian and Ubuntu: sudo apt install python3-dev"
    return ""


def compile_modules(folder: Path, work: Path) -> None:
    """Compile into a folder that is not there yet."""
    modules = [str(path.relative_to(ROOT)) for path in sources_of(PACKAGE) if _is_compiled(path)]
    extensions = mypycify(modules, debug_level="0", multi_file=True, target_dir=str(work / "c"), group_name="edge_node")
    distribution = Distribution({"name": "cdnlab", "ext_modules": extensions, "cmdclass": {"build_ext": _BuildAtOnce}})
    command = distribution.get_command_obj("build_ext")
    command.build_lib, command.build_temp = str(work / "modules"), str(work / "objects")
    distribution.run_command("build_ext")
    for name in LEFT_AS_SOURCE:
        if "/" in name:  # a package inside is looked for in one folder only
            shutil.copy(PACKAGE / name, work / "modules" / PACKAGE.name / name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    for old in folder.parent.iterdir():
        shutil.rmtree(old)
    (work / "modules").rename(folder)


def _is_compiled(path: Path) -> bool:
    return path.relative_to(PACKAGE).as_posix() not in LEFT_AS_SOURCE


def compile_in_background() -> str:
    """Start a process of its own that compiles with what nobody else wants of the processors, and say so."""
    missing = why_not_possible()
    if missing:
        return f"Edges run from their source: {missing}"
    if modules_folder(PACKAGE).is_dir():
        return "Edges are compiled already."
    BUILD.mkdir(exist_ok=True)
    log = BUILD / "compile.log"
    with log.open("wb") as output:
        subprocess.Popen(
            ["nice", "-n", "19", sys.executable, "-m", "deploy.compile_edge"],
            cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    return (
        f"Edges are being compiled meanwhile ({log.relative_to(ROOT)}); until that is done they run from their source."
    )


def _compile() -> int:
    """Unless another process has done it, or is doing it: that is waited for."""
    BUILD.mkdir(exist_ok=True)
    with (BUILD / "compile.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = modules_folder(PACKAGE)
        if folder.is_dir():
            print(f"compiled already: {folder.relative_to(ROOT)}")
            return 0
        began = time.monotonic()
        with tempfile.TemporaryDirectory(dir=BUILD) as work:
            compile_modules(folder, Path(work))
        if modules_folder(PACKAGE) != folder:
            shutil.rmtree(folder)
            print("make compiled: the sources were changed meanwhile; once more, please", file=sys.stderr)
            return 1
        print(f"compiled in {time.monotonic() - began:.0f} s: {folder.relative_to(ROOT)}")
        return 0


def main() -> int:
    """With `--check` only say whether it can be done, with `--in-background` do not wait for it. Exit status: 0 when the modules are there (or can be made, or are
    being made), 1 when they cannot be made here."""
    missing = why_not_possible()
    if "--check" in sys.argv[1:]:
        print(missing or "extensions can be compiled here")
        return 1 if missing else 0
    if "--in-background" in sys.argv[1:]:
        print(compile_in_background())
        return 0
    folder = modules_folder(PACKAGE)
    if folder.is_dir():
        print(f"compiled already: {folder.relative_to(ROOT)}")
        return 0
    if missing:
        print(f"make compiled: {missing}\nEdges run from their source without it, somewhat slower.", file=sys.stderr)
        return 1
    os.chdir(ROOT)
    return _compile()


if __name__ == "__main__":
    sys.exit(main())
