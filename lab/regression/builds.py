"""From what was typed to code that can be run: a commit is unpacked into a folder of its own, a checkout is run where it is.

A commit with the same locked packages is run by the interpreter of this command; another one gets an environment of its own
(`make setup` in its folder), which takes a minute once.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from lab.errors import LabError, UsageError
from lab.regression.lab_under_test import Build

MOST_KEPT: Final = 6
"""Unpacked commits; the one that was used longest ago goes first."""
_LOCK: Final = "requirements.lock"
_SETUP_SECONDS: Final = 900.0


def find_build(wanted: str, builds: Path) -> Build:
    """`builds`: where commits are unpacked. UsageError when it is neither a checkout nor a commit, LabError when it cannot be made to run."""
    folder = Path(wanted)
    if folder.is_dir():
        return _of_folder(folder.resolve())
    commit = _commit_of(wanted)
    place = builds / commit[:12]
    if not place.is_dir():
        _unpack(commit, place)
    os.utime(place)
    _forget_old(builds)
    return Build(place.resolve(), _python_of(place), commit)


def compile_edges(build: Build) -> None:
    """Its edges, ahead of time; LabError when that fails."""
    done = subprocess.run(
        [build.python, "-m", "deploy.compile_edge"],
        capture_output=True,
        text=True,
        check=False,
        timeout=_SETUP_SECONDS,
        cwd=build.folder,
        env=os.environ | {"PYTHONPATH": str(build.folder), "CDNLAB_EDGE_CODE": "source"},
    )
    if done.returncode != 0:
        raise LabError(f"{build.folder}: its edges cannot be compiled: {(done.stderr or done.stdout).strip()[-2_000:]}")


def _of_folder(folder: Path) -> Build:
    if not (folder / "lab" / "cli.py").is_file():
        raise UsageError(f"{folder}: no checkout of cdnlab: it has no lab/cli.py")
    is_clean = _git(folder, "status", "--porcelain") == ""
    commit = _git(folder, "rev-parse", "HEAD") if is_clean else None
    return Build(folder, _python_of(folder), commit or "")


def _commit_of(wanted: str) -> str:
    found = _git(Path.cwd(), "rev-parse", "--verify", "--quiet", f"{wanted}^{{commit}}")
    if not found:
        raise UsageError(f"{wanted!r} is neither a folder nor a commit of the repository that one is in")
    return found


def _git(folder: Path, *words: str) -> str | None:
    """What it prints; None when it fails, or is not there."""
    try:
        done = subprocess.run(["git", *words], capture_output=True, text=True, check=False, timeout=60, cwd=folder)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _unpack(commit: str, place: Path) -> None:
    """As a whole or not at all: into a folder beside it first."""
    place.parent.mkdir(parents=True, exist_ok=True)
    half = place.with_suffix(f".{os.getpid()}")
    try:
        half.mkdir()
        top = _git(Path.cwd(), "rev-parse", "--show-toplevel") or str(Path.cwd())
        packed = half / ".packed.tar"
        for command in (
            ["git", "-C", top, "archive", "--format=tar", f"--output={packed.resolve()}", commit],
            ["tar", "-xf", str(packed), "-C", str(half)],
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
            if done.returncode != 0:
                raise LabError(f"commit {commit[:12]} cannot be unpacked: {done.stderr.strip()}")
        packed.unlink()
        if not (half / "lab" / "cli.py").is_file():
            raise UsageError(f"commit {commit[:12]} is none of cdnlab: it has no lab/cli.py")
        half.rename(place)
    finally:
        shutil.rmtree(half, ignore_errors=True)


def _python_of(folder: Path) -> str:
    """Its own environment; this one where the same packages are locked."""
    own = folder / ".venv" / "bin" / "python"
    if own.exists():
        return str(own)
    ours = Path(__file__).resolve().parents[2] / _LOCK
    theirs = folder / _LOCK
    if not theirs.is_file() or not ours.is_file() or theirs.read_bytes() == ours.read_bytes():
        return sys.executable
    done = subprocess.run(
        ["make", "setup"],
        capture_output=True,
        text=True,
        check=False,
        timeout=_SETUP_SECONDS,
        cwd=folder,
        env=os.environ | {"CI": "1"},
    )
    if done.returncode != 0:
        raise LabError(f"{folder}: `make setup` failed: {(done.stderr or done.stdout).strip()[-2_000:]}")
    return str(own)


def _forget_old(builds: Path) -> None:
    kept = sorted((each for each in builds.iterdir() if each.is_dir()), key=lambda each: each.stat().st_mtime)
    for each in kept[:-MOST_KEPT]:
        shutil.rmtree(each, ignore_errors=True)
