"""A lab of one subject, driven from outside: its own command line brings it up and takes it down, its API makes the distribution, its metrics tell what it did.

So two builds need not agree in anything but what is documented: `cdnlab up`, `cdnlab status --json`, the management API, the metrics (docs/contracts.md).
"""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from prometheus_client.parser import text_string_to_metric_families

from lab.clients.http_client import UnreachableError, ask, site_host
from lab.clients.management_api import Distribution, ManagementApi
from lab.cluster.ending import end_processes
from lab.cluster.state_file import StateDir
from lab.errors import LabError
from lab.experiments.run_sites import create_sites
from lab.scenarios.site import Site

UP_SECONDS: Final = 120.0
DOWN_SECONDS: Final = 60.0
_DROPPED: Final = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH")
Samples = Mapping[str, float]
"""Of one node: values by name and labels, as in `cdn_requests_total{reason="...",result="..."}`, labels in alphabetical order."""


@dataclass(frozen=True, slots=True)
class Build:
    """Code that can be run."""

    folder: Path
    python: str
    commit: str = ""
    """Empty: it is no commit, or has changes."""

    def command(self, *words: str) -> list[str]:
        """Of its own command line."""
        return [self.python, "-m", "lab.cli", *words]


@dataclass(frozen=True, slots=True)
class LabPlan:
    """What is to be brought up."""

    build: Build
    topology: str
    """A file, or the name of one that ships."""
    site: Site
    code: str
    """`source` or `compiled`: which code edges run."""


@dataclass(frozen=True, slots=True)
class Node:
    """One program."""

    id: str
    role: str
    pid: int | None
    http: str
    admin: str

    def samples(self) -> Samples:
        """LabError when it does not tell them."""
        try:
            reply = ask(self.admin, "/metrics")
        except UnreachableError as error:
            raise LabError(f"{self.id} does not tell its metrics: {error}") from error
        families = text_string_to_metric_families(reply.body.decode("utf-8"))
        return {_label(each.name, each.labels): each.value for family in families for each in family.samples}


def _label(name: str, labels: Mapping[str, str]) -> str:
    inside = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
    return f"{name}{{{inside}}}" if inside else name


class LabUnderTest:
    """One start of it; `down` in any case."""

    def __init__(self, plan: LabPlan, state: Path, loopback: str) -> None:
        self._plan, self._state, self._loopback = plan, state, loopback
        self.nodes: tuple[Node, ...] = ()
        self.distribution: Distribution | None = None
        self._api: dict[str, str] = {}

    def begin(self) -> "subprocess.Popen[str]":
        """Comes up in the background, so that two can do so at once; `ready` waits for it."""
        topology = self._plan.topology
        words = ["up", topology, "--detach", "--no-demo", "--no-relays", "--seed", "1"]
        return subprocess.Popen(
            self._command(*words, "--loopback", self._loopback),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self._plan.build.folder,
            env=self._environment(),
        )

    def ready(self, starting: "subprocess.Popen[str]") -> None:
        """Its distribution is everywhere; LabError when it does not get so far."""
        try:
            said, _ = starting.communicate(timeout=UP_SECONDS)
        except subprocess.TimeoutExpired:
            starting.terminate()
            raise LabError(f"{self._plan.build.folder}: no lab within {UP_SECONDS:g} s") from None
        if starting.returncode != 0:
            raise LabError(f"{self._plan.build.folder}: no lab: {said.strip()[-2_000:]}")
        status = json.loads(self._run(*("status", "--json")))
        self._api = status["api"]
        self.nodes = tuple(_node(each) for each in status["nodes"])
        origins = {each.id: each.http for each in self.nodes if each.role == "origin"}
        if missing := [name for name in self._plan.site.origins if name not in origins]:
            raise LabError(f"the topology has no origin {missing[0]!r}: there are {', '.join(origins) or 'none'}")
        with self.api() as api:
            self.distribution = create_sites(api, (self._plan.site,), origins)[self._plan.site.name]

    def api(self) -> ManagementApi:
        """A client of its management API."""
        return ManagementApi(self._api)

    def of_role(self, role: str) -> tuple[Node, ...]:
        return tuple(each for each in self.nodes if each.role == role)

    @property
    def edge(self) -> Node:
        """The one that viewers ask: the first."""
        edges = self.of_role("edge")
        if not edges:
            raise LabError("the topology has no edge: nobody could be asked")
        return edges[0]

    @property
    def site(self) -> str:
        """What a browser sends as Host."""
        assert self.distribution is not None
        return site_host(self.distribution.domain_name, int(self.edge.http.rpartition(":")[2]))

    def samples(self) -> Mapping[str, Samples]:
        """Of all nodes, by their ids."""
        return {each.id: each.samples() for each in self.nodes if each.admin}

    def down(self) -> None:
        """Does nothing when it is not up. By its own command; where that fails, as of a checkout that was changed meanwhile, by ours."""
        try:
            self._run("down")
        except LabError:
            end_processes(StateDir(self._state), lambda: None)
            raise

    def _run(self, *words: str) -> str:
        try:
            done = subprocess.run(
                self._command(*words),
                capture_output=True,
                text=True,
                check=False,
                timeout=DOWN_SECONDS,
                cwd=self._plan.build.folder,
                env=self._environment(),
            )
        except subprocess.TimeoutExpired:
            raise LabError(f"cdnlab {words[0]} of {self._plan.build.folder} takes too long") from None
        if done.returncode != 0:
            raise LabError(f"cdnlab {words[0]} of {self._plan.build.folder}: {(done.stderr or done.stdout).strip()}")
        return done.stdout

    def _command(self, *words: str) -> list[str]:
        return [*self._plan.build.command(*words), "--state", str(self._state)]

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in _DROPPED}
        return kept | {"PYTHONPATH": str(self._plan.build.folder), "CDNLAB_EDGE_CODE": self._plan.code}


def _node(document: Mapping[str, Any]) -> Node:
    return Node(document["id"], document["role"], document.get("pid"), document["http"] or "", document["admin"] or "")
