"""Players that nobody here wrote, where the machine has them: ffmpeg and ffprobe, and Chromium. Each call has a deadline."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

PATIENCE_SECONDS = 60

needs_ffmpeg = pytest.mark.skipif(
    shutil.which("ffmpeg") is None or shutil.which("ffprobe") is None,
    reason="ffmpeg and ffprobe are not installed (on Debian: apt install ffmpeg)",
)
needs_chromium = pytest.mark.skipif(
    shutil.which("chromium") is None, reason="chromium is not installed (on Debian: apt install chromium)"
)


class Ffmpeg:
    """ffmpeg's HLS player in front of one edge. Whatever it has to say against the stream fails the test."""

    def __init__(self, edge: str, host: str) -> None:
        self._url = f"http://{edge}"
        self._headers = ("-headers", f"Host: {host}\r\n")

    def probe(self, path: str) -> dict[str, Any]:
        """ffprobe's account of programs, streams and format."""
        what = ("-show_programs", "-show_streams", "-show_format", "-of", "json")
        found = json.loads(self._run("ffprobe", *what, *self._headers, self._url + path))
        assert isinstance(found, dict)
        return found

    def decoded(self, path: str, *output: str, seek_seconds: float = 0.0) -> list[tuple[float, str]]:
        """Time in seconds and checksum of each picture (`-map 0:v`) or piece of sound (`-map 0:a`) that comes out."""
        seek = ("-ss", str(seek_seconds), "-copyts") if seek_seconds else ("-copyts",)
        options = ("-xerror", *self._headers, *seek, "-i", self._url + path, *output, "-f", "framecrc", "-")
        lines = self._run("ffmpeg", *options).splitlines()
        base = next(line.partition(":")[2] for line in lines if line.startswith("#tb 0"))
        over, under = (int(part) for part in base.strip().split("/"))
        rows = [[column.strip() for column in line.split(",")] for line in lines if not line.startswith("#")]
        return [(int(row[2]) * over / under, row[5]) for row in rows]

    def _run(self, program: str, *arguments: str) -> str:
        command = (program, "-v", "warning", *(("-nostdin",) if program == "ffmpeg" else ()), *arguments)
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
        assert (done.returncode, done.stderr) == (0, ""), f"{' '.join(command)}: {done.stderr}"
        return done.stdout


def chromium_version() -> int:
    """The first number of it."""
    done = subprocess.run(
        ["chromium", "--version"], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True
    )
    found = re.search(r"Chromium (\d+)\.", done.stdout)
    assert found, done.stdout
    return int(found[1])


def chromium(edge: str, host: str, url: str, profile: Path) -> subprocess.Popen[bytes]:
    """A browser without a window that has opened a page, with every name of `host` at one edge. The caller ends it."""
    program = shutil.which("chromium")
    assert program is not None
    return subprocess.Popen(
        [
            *(program, "--headless", "--no-sandbox", "--disable-gpu", "--mute-audio"),
            "--autoplay-policy=no-user-gesture-required",
            f"--host-resolver-rules=MAP {host} {edge}",
            *(f"--user-data-dir={profile}", url),
        ],
        env={**os.environ, "TMPDIR": str(profile)},  # or its sockets stay in /tmp when it is killed
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
