"""Install what `make bench` compares with and measures by, from Debian's packages, and leave no service running: `make bench-setup`.
With the argument `postgresql`, what the tests of several control planes need and nothing else, with `ffmpeg` what those of the film need: `.ci/run`.

The packages would start their services, now and at the next boot. While they are installed a policy forbids starts (invoke-rc.d(8), `policy-rc.d`), and services that
were not there before are disabled; a server of the same kind that somebody already runs is left as it is. Only the standard library is used: it runs before `make setup`.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

PACKAGES = {
    "nginx": "nginx-light",
    "varnishd": "varnish",
    "traffic_server": "trafficserver",
    "haproxy": "haproxy",
    "wrk": "wrk",
}
"""A program, and the package that has it."""
POSTGRESQL = {"postgres": "postgresql"}
"""The same for the tests, and for the control plane with a replica."""
FFMPEG = {"ffmpeg": "ffmpeg"}
"""The player that the tests of the film ask."""
ONLY = {"postgresql": POSTGRESQL, "ffmpeg": FFMPEG}
"""What an argument names."""
SERVICES = ("nginx", "varnish", "varnishncsa", "trafficserver", "haproxy", "postgresql")
POLICY = Path("/usr/sbin/policy-rc.d")
FORBID_STARTS = "#!/bin/sh\n# for the duration of `make bench-setup`\nexit 101\n"
SEARCH_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/local/sbin"))


def find(program: str) -> str | None:
    """Where a program is; servers are often not on the path of a person, and PostgreSQL has a folder for each of its versions."""
    folders = [str(folder) for folder in Path("/usr/lib/postgresql").glob("*/bin")]
    return shutil.which(program, path=os.pathsep.join((SEARCH_PATH, *folders)))


def missing_packages(wanted: Mapping[str, str] = PACKAGES) -> list[str]:
    """What has to be installed."""
    return [package for program, package in wanted.items() if find(program) is None]


@contextmanager
def starts_forbidden() -> Iterator[None]:
    """No package may start its service in here; the machine's own policy is back afterwards."""
    own_policy = POLICY.read_bytes() if POLICY.exists() else None
    mode = POLICY.stat().st_mode if own_policy is not None else 0o755
    POLICY.write_text(FORBID_STARTS, encoding="ascii")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        if own_policy is None:
            POLICY.unlink()
        else:
            POLICY.write_bytes(own_policy)
            POLICY.chmod(mode)


def installed_services() -> set[str]:
    """Those of the services that the machine knows now."""
    folders = (Path("/etc/init.d"), Path("/lib/systemd/system"), Path("/usr/lib/systemd/system"))
    return {
        service
        for service in SERVICES
        if any((folder / name).exists() for folder in folders for name in (service, f"{service}.service"))
    }


def disable(service: str) -> None:
    """Not at the next boot either; whatever keeps the services of this machine."""
    if find("systemctl") and Path("/run/systemd/system").exists():
        subprocess.run([find("systemctl") or "", "disable", "--now", f"{service}.service"], check=False)
    elif find("update-rc.d") and Path("/etc/init.d", service).exists():
        subprocess.run([find("update-rc.d") or "", service, "disable"], check=False)


def install(packages: list[str]) -> None:
    """With apt; what was there before keeps running, what is new does not start."""
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    before = installed_services()
    with starts_forbidden():
        subprocess.run(["apt-get", "update", "--quiet"], check=True, env=environment)
        command = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *packages]
        subprocess.run(command, check=True, env=environment)
    for service in sorted(installed_services() - before):
        disable(service)


def main() -> int:
    """0 when everything is there."""
    unknown = [argument for argument in sys.argv[1:] if argument not in ONLY]
    if unknown:
        print(f"make bench-setup: {unknown[0]} is none of {', '.join(ONLY)}", file=sys.stderr)
        return 2
    wanted = PACKAGES | POSTGRESQL if not sys.argv[1:] else {}
    for argument in sys.argv[1:]:
        wanted |= ONLY[argument]
    missing = missing_packages(wanted)
    if not missing:
        print(f"everything is installed: {' '.join(wanted.values())}")
        return 0
    if shutil.which("apt-get") is None:
        print("make bench-setup: needs Debian's apt-get. Install by hand:", *wanted, file=sys.stderr)
        return 1
    if os.geteuid() != 0:
        if shutil.which("sudo") is None:
            print(f"make bench-setup: needs root to install: {' '.join(missing)}", file=sys.stderr)
            return 1
        return subprocess.run(
            ["sudo", sys.executable, str(Path(__file__).resolve()), *sys.argv[1:]], check=False
        ).returncode
    try:
        install(missing)
    except subprocess.CalledProcessError as error:
        print(f"make bench-setup: {' '.join(error.cmd[:2])} ended with {error.returncode}", file=sys.stderr)
        return 1
    still_missing = missing_packages(wanted)
    if still_missing:
        print(f"make bench-setup: installed, but not found: {' '.join(still_missing)}", file=sys.stderr)
    return 1 if still_missing else 0


if __name__ == "__main__":
    sys.exit(main())
