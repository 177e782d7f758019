"""The caches of the toy CDN and its origin: who answers a request from what, in both tiers (toy_cdn.py)."""

import zlib
from dataclasses import replace

from tests.unit.lab.checkers.toy_time import (
    HOST,
    MS,
    REGIONS,
    Answer,
    Entry,
    Flight,
    Node,
    Process,
    S,
    VirtualTime,
    lifetime_of,
)


class ToyCaches(VirtualTime):
    def __init__(self, seed: int, bug: str | None, seconds: int) -> None:
        super().__init__(seed, seconds)
        self.bug = bug
        self.nodes: dict[str, Node] = {}
        for number, region in enumerate(REGIONS):
            for role, count in (("edge", 2), ("regional", 1), ("dns_router", 1)):
                for each in range(count):
                    self._add(f"{region}-{role}-{each}", role, region, f"10.{number}.{len(self.nodes)}.1")
        self._add("cp", "control_plane", "eu", "10.9.0.1")
        self._add("origin-1", "origin", "eu", "10.9.0.2")
        self.objects: dict[str, int] = {}
        self.is_failing = False
        self.suffering: str | None = None

    def _add(self, name: str, role: str, region: str, address: str) -> None:
        self.nodes[name] = Node(name, role, region, address)
        self.rows["nodes"].append(
            {"node": name, "role": role, "region": region, "pop": f"{region}-1", "address": address}
        )

    def of(self, *roles: str) -> list[Node]:
        return [node for node in self.nodes.values() if node.role in roles]

    # -- caches

    def answer(self, node: Node, path: str, who: str, request_id: str, index: int, peer: str) -> Process:
        row = {
            "node": node.name,
            "request_id": request_id,
            "started_ns": self.now,
            "peer": peer,
            "method": "GET",
            "host": HOST,
            "path": path,
        }
        yield self.about(1)
        answer, reason = yield from self.decide(node, path, who, request_id, index)
        if self.bug == "fails" and node.role == "edge" and self.rng.random() < 0.02:
            answer, reason = Answer(502, path, result="error"), "upstream_failed"
        if (
            self.bug == "never_well"
            and self.suffering == node.region
            and node.role == "edge"
            and self.rng.random() < 0.2
        ):
            answer, reason = Answer(503, path, result="error"), "upstream_failed"
        if self.bug == "slow" and node.role == "edge" and self.rng.random() < 0.05:
            yield 2 * S
        if node.is_up:
            self.row(
                "served",
                **row,
                first_byte_ns=self.now,
                ended_ns=self.now,
                status=answer.status,
                result=answer.result,
                reason=reason,
                index=node.applied,
            )
        return answer

    def decide(self, node: Node, path: str, who: str, request_id: str, index: int) -> Process:
        for _ in range(50):  # rule 4: a regional cache that is behind catches up, or answers without its cache
            if node.applied >= index:
                break
            yield 20 * MS
        key = f"{path} {who}" if path == "/me" and self.bug == "keeps_private" else path
        entry = node.entries.get(key) if node.applied >= index else None
        if entry is not None and self.is_void(node, path, entry.stamp):
            entry = None
        if entry is not None:
            fresh, while_revalidating = lifetime_of(entry.answer.control or "")
            age = entry.age + self.now - entry.stored
            if self.bug == "beyond_ttl" and node.name == "eu-edge-0":
                fresh *= 4
            if path == "/me" and age < 10 * S:
                return self.hit(node, entry), "fresh"
            if age < fresh:
                return self.hit(node, entry), "fresh"
            if age < fresh + while_revalidating:
                if key not in node.flights:
                    self.spawn(self.fill(node, key, path, who, f"{request_id}r", True))
                return self.hit(node, entry), "stale_while_revalidate"
        flight = node.flights.get(key)
        is_shared = path != "/me" and node.applied >= index
        if (
            flight is not None
            and is_shared
            and not self.is_void(node, path, flight.stamp)
            and self.bug != "fetches_twice"
        ):
            answer = yield flight
            answer, reason = replace(answer, result="hit" if answer.status < 400 else "error"), "collapsed"
        else:
            answer = yield from self.fill(node, key, path, who, request_id, is_shared)
            reason = "not_stored"
        if answer.status >= 500 and entry is not None and self.may_be_stale(node, path, entry):
            return self.hit(node, entry), "stale_on_error"
        return answer, reason

    def may_be_stale(self, node: Node, path: str, entry: Entry) -> bool:
        """In place of an error: not what was invalidated meanwhile, and for as long as the origin allows."""
        fresh, _ = lifetime_of(entry.answer.control or "")
        age, on_error = entry.age + self.now - entry.stored, (4 * S if path.startswith("/short") else 3600 * S)
        return not self.is_void(node, path, entry.stamp) and age < fresh + on_error

    def hit(self, node: Node, entry: Entry) -> Answer:
        answer = replace(entry.answer, result="hit", age=(entry.age + self.now - entry.stored) // S)
        if node.name == "eu-edge-0" and self.bug == "tears":
            answer = replace(answer, received=answer.length - 7, body=1)
        if node.name == "eu-edge-0" and self.bug in ("mixes", "corrupts"):
            answer = replace(answer, body=(answer.checksum or 0) ^ 0xFF)
        if node.name == "eu-edge-0" and self.bug == "invents_version":
            answer = replace(answer, version="0.0")
        return answer

    def is_void(self, node: Node, path: str, stamp: int) -> bool:
        if self.bug in ("deaf_to_invalidations", "lies_about_time") and node.role == "edge":
            return False
        return any(
            index > stamp and (path.startswith(p[:-1]) if p.endswith("*") else path == p)
            for index, p in node.invalid
            if index <= node.applied
        )

    def fill(self, node: Node, key: str, path: str, who: str, request_id: str, is_shared: bool) -> Process:
        flight = Flight(node.applied)
        if is_shared:
            node.flights[key] = flight
        regional = next((each for each in self.of("regional") if each.region == node.region), None)
        tier, life, started = ("regional" if node.role == "edge" else "origin"), node.life, self.now
        yield self.about(5 if tier == "regional" else 40)
        if tier == "regional" and regional is not None:
            answer = yield from self.answer(regional, path, who, request_id, flight.stamp, node.address)
        else:
            answer = self.produce(path, who, request_id)
        yield self.about(5 if tier == "regional" else 40)
        if node.life == life and node.is_up:
            self.row(
                "fills", node=node.name, request_id=request_id, tier=tier, upstream="10.9.0.2", started_ns=started,
                head_ns=self.now, ended_ns=self.now, method="GET", host=HOST,
                path=path, key=key, variant=None, is_conditional=False, range=None, index=flight.stamp, status=answer.status, received_bytes=answer.length,
                is_shared=is_shared and answer.status == 200, must_confirm=False, error=None,
            )  # fmt: skip
        may_keep = path != "/me" or self.bug in ("shares_private", "keeps_private")
        if answer.status == 200 and may_keep and self.bug != "never_keeps":
            node.entries[key] = Entry(answer, self.now, (answer.age or 0) * S, flight.stamp)
        if node.flights.get(key) is flight:
            del node.flights[key]
        for process in flight.waiting:
            self.spawn(process, 0, answer)
        return replace(answer, result="miss" if answer.status < 400 else "error")

    # -- origin

    def produce(self, path: str, who: str, request_id: str) -> Answer:
        bare = path.partition("?")[0]
        version = f"{self.objects.get(bare, 0)}.{zlib.crc32(bare.encode()) % 97}"
        if bare == "/me":
            version += who
        body = f"{path} {version}".encode() * 3
        control = {
            "/doc": "max-age=3600",
            "/short": "max-age=2, stale-if-error=4",
            "/swr": "max-age=2, stale-while-revalidate=3",
            "/me": "private",
        }[f"/{bare.split('/')[1]}"]
        status = 500 if self.is_failing else 200
        self.row(
            "origin_requests", node="origin-1", request_id=request_id, started_ns=self.now, ended_ns=self.now + MS, peer="10.0.0.1", method="GET", path=path,
            identity=who, is_conditional=False, range=None, status=status, version=version if status == 200 else None,
            checksum=zlib.crc32(body) if status == 200 else None, body_bytes=len(body), misbehaviour="b1" if self.is_failing else None,
        )  # fmt: skip
        if self.is_failing:
            return Answer(500, path, result="error", length=3, checksum=3)
        produced = self.now + (3600 * S if self.bug == "lies_about_time" else 0)
        return Answer(
            200, path, version, produced, zlib.crc32(body), len(body), control, who if bare == "/me" else None
        )

    def brownout(self) -> Process:
        fault = self.row(
            "faults",
            id="F2",
            fault="http-status",
            target="origin-1",
            place="origin-1",
            parameters="{}",
            began_ns=self.now,
        )
        yield self.about(5)
        self.is_failing, fault["injected_ns"] = True, self.now
        yield 4 * S
        fault["healing_ns"] = self.now
        yield self.about(5)
        self.is_failing, fault["healed_ns"] = False, self.now
