"""Where the time of a hit, or of a miss, goes: an edge at saturation under wrk, looked at from the kernel (perf) and from within Python (a timer signal).

    .venv/bin/python -m benchmarks.profile_hits [--work one|zipf|miss] [--seconds 10]

Two runs, since each look disturbs the other. perf tells how the time divides into the kernel, the event loop, the interpreter and the rest, and names the hottest C
functions; the interpreter of Debian 12 cannot tell perf which Python function it is in, so a timer that counts CPU time notes it as often as the kernel lets it. C code
that a Python function calls counts for that function there. Modules that are compiled ahead of time are so for the first look only: the second one is of their source.
"""

import argparse
import asyncio
import atexit
import json
import os
import re
import runpy
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from types import FrameType

from benchmarks.install_peers import PACKAGES, find, missing_packages
from benchmarks.peers.processes import SERVER_CORE
from benchmarks.peers.requests import ZIPF_KEYS
from benchmarks.peers.rows import WORKS
from benchmarks.peers.servers import Server
from benchmarks.peers.session import Session, session
from benchmarks.peers.throughput import each_once
from benchmarks.peers.viewers import fill
from benchmarks.peers.wrk import run_wrk

SAMPLE_SECONDS = 0.001
SHOWN = 30
_PART_OF = (
    (re.compile(r"\[(kernel|guest)"), "kernel"),
    (re.compile(r"uvloop|^loop\.c"), "event loop (uvloop)"),
    (re.compile(r"^edge_node__mypyc"), "compiled modules"),
    (re.compile(r"python3"), "interpreter"),
    (re.compile(r"libc\.|vdso|ld-linux"), "C library"),
)


def sampled(output: Path, arguments: list[str]) -> None:
    """Run the edge in this process and count in which Python function the timer finds it, alone and with its caller's callers."""
    own: Counter[str] = Counter()
    within: Counter[str] = Counter()

    def note(_: int, frame: FrameType | None) -> None:
        seen: set[str] = set()
        while frame is not None:
            code = frame.f_code
            name = f"{Path(code.co_filename).name}:{code.co_qualname}"
            if not seen:
                own[name] += 1
            seen.add(name)
            frame = frame.f_back
        within.update(seen)

    def begin(_: int, __: FrameType | None) -> None:
        signal.setitimer(signal.ITIMER_PROF, SAMPLE_SECONDS, SAMPLE_SECONDS)

    signal.signal(signal.SIGPROF, note)
    signal.signal(signal.SIGUSR2, begin)  # once the cache is filled: that is not what is looked at
    atexit.register(lambda: output.write_text(json.dumps({"own": own, "within": within})))
    sys.argv = ["edge_node", *arguments]
    os.environ["CDNLAB_EDGE_CODE"] = "source"  # compiled modules have no frames
    runpy.run_module("edge_node", run_name="__main__")


def part_of(object_name: str) -> str:
    """What a shared object belongs to."""
    return next((part for pattern, part in _PART_OF if pattern.search(object_name)), "the rest")


def read_perf(report: str) -> tuple[dict[str, float], list[tuple[float, str, str]]]:
    """Shares by part, and the hottest functions, from `perf report -F overhead,dso,symbol -t ';'`."""
    shares: dict[str, float] = {}
    hottest = []
    for line in report.splitlines():
        fields = [field.strip() for field in line.split(";")]
        if len(fields) < 3 or line.startswith("#") or not fields[0].endswith("%"):
            continue
        share = float(fields[0].rstrip("%"))
        shares[part_of(fields[1])] = shares.get(part_of(fields[1]), 0.0) + share
        hottest.append((share, fields[1], fields[2]))
    return shares, sorted(hottest, reverse=True)[:SHOWN]


async def load(here: Session, server: Server, work: str, seconds: float) -> float:
    """Requests a second that were served meanwhile."""
    wanted = WORKS.get(work) or each_once()
    sample = await asyncio.to_thread(run_wrk, server.place.address, wanted, seconds, here.folder)
    here.forget_logs()
    return sample.requests_per_second


async def look_with_perf(here: Session, work: str, seconds: float) -> None:
    """Print shares by part and function."""
    server, process = await asyncio.to_thread(here.start_edge)
    await fill(server.place.address, (f"/small/k{number}" for number in range(1, ZIPF_KEYS + 1)))
    data = here.folder / "perf.data"
    command = [
        find("perf") or "perf",
        "record",
        "-F",
        "1999",
        "-g",
        "-o",
        str(data),
        "-p",
        str(process.pid),
        "--",
        "sleep",
        str(seconds),
    ]
    rate_task = asyncio.ensure_future(load(here, server, work, seconds + 2))
    recording = await asyncio.create_subprocess_exec(*command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    await recording.wait()
    rate = await rate_task
    wanted = [
        "report",
        "-i",
        str(data),
        "--no-children",
        "-F",
        "overhead,dso,symbol",
        "-t",
        ";",
        "--stdio",
        "-g",
        "none",
    ]
    done = await asyncio.to_thread(subprocess.run, [find("perf") or "perf", *wanted], capture_output=True, text=True)
    shares, hottest = read_perf(done.stdout)
    print(f"\n{work}: {rate:,.0f} requests/s, {1e6 / rate:.1f} us each")
    for part, share in sorted(shares.items(), key=lambda item: -item[1]):
        print(f"  {share:5.1f} %  {share / 100 * 1e6 / rate:5.1f} us  {part}")
    print("hottest functions:")
    for share, object_name, symbol in hottest:
        print(f"  {share:5.2f} %  {object_name[:28]:28} {symbol}")


async def look_from_within(here: Session, work: str, seconds: float) -> None:
    """Print the hottest Python functions."""
    output = here.folder / "samples.json"
    place = here.place("edge", False)
    server = here.sampled_edge(place, ["-m", "benchmarks.profile_hits", "--sampled", str(output), "--"])
    process = await asyncio.to_thread(here.start, server)
    await fill(server.place.address, (f"/small/k{number}" for number in range(1, ZIPF_KEYS + 1)))
    await load(here, server, work, 1)
    process.send_signal(signal.SIGUSR2)
    rate = await load(here, server, work, seconds)
    await asyncio.to_thread(here.stop, {"edge": server})
    counted = json.loads(output.read_text())
    total = sum(counted["own"].values())
    print(
        f"\n{work}, from within (source), {rate:,.0f} requests/s; share of the samples in the function itself, and with what it calls:"
    )
    for name, count in Counter(counted["own"]).most_common(SHOWN):
        print(f"  {count / total:6.1%} {counted['within'][name] / total:6.1%}  {name}")


async def look(work: str, seconds: float, folders: tuple[Path, Path]) -> None:
    """Both, one after the other."""
    async with session(folders, (), seconds, 1) as here:
        await look_with_perf(here, work, seconds)
        await look_from_within(here, work, seconds)


def main() -> int:
    """Parse the command line."""
    if sys.argv[1:2] == ["--sampled"]:
        sampled(Path(sys.argv[2]), sys.argv[4:])
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", choices=(*WORKS, "miss"), default="zipf")
    parser.add_argument("--seconds", type=float, default=10.0)
    given = parser.parse_args()
    missing = [*missing_packages(PACKAGES), *(["linux-perf"] if find("perf") is None else [])]
    if missing:
        print(f"not installed: {', '.join(missing)}")
        return 1
    print(f"core {SERVER_CORE}")
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as disk:
        asyncio.run(look(given.work, given.seconds, (Path(folder), Path(disk))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
