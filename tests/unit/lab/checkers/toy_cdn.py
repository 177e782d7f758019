"""A toy CDN over virtual time that writes a history as the programs of a lab do: small, slow, seeded, and right, unless it is told to have one bug.

The oracle of the checkers: it is written from docs/invalidation.md, docs/caching.md and docs/request-routing.md, and shares no code with them. Two regions
with two edges, a regional cache and a router each; one origin, one control plane, and a load. An edge is killed and started again, and the origin answers 500
for a while, unless a run without faults is wanted.
"""

import zlib
from typing import Any

from tests.unit.lab.checkers.toy_caches import ToyCaches
from tests.unit.lab.checkers.toy_time import (
    BUGS,
    HOST,
    LEASE,
    MARGIN,
    MS,
    NOTICE,
    REGIONS,
    Answer,
    Node,
    Process,
    S,
)


class ToyCdn(ToyCaches):
    def __init__(self, seed: int, bug: str | None = None, *, faults: bool = True, seconds: int = 45) -> None:
        assert bug is None or bug in BUGS
        super().__init__(seed, bug, seconds)
        self.log: list[str] = []
        self.known: dict[str, list[str]] = {r: [n.name for n in self.of("edge")] for r in REGIONS}
        self.named = sorted(n.name for n in self.of("edge"))
        self.directory_version = 1
        self.resolved: dict[str, tuple[int, list[str]]] = {}
        self.has_faults = faults

    # -- virtual time

    def run(self) -> dict[str, list[dict[str, Any]]]:
        """Until the end; what every table has then."""
        for node in self.of("edge", "regional", "dns_router"):
            self.row("applied", node=node.name, at_ns=self.now, log_id="L", index=0, how="snapshot")
            self.row("leases", node=node.name, at_ns=self.now, state="held", fence="leased")
        for router in self.of("dns_router"):
            self.row("routed", node=router.name, at_ns=self.now, version=1, routable=",".join(self.named))
            self.spawn(self.witness(router))
        self.spawn(self.load())
        self.spawn(self.writer(), 3 * S)
        if self.has_faults:
            self.spawn(self.killer(), self.rng.randrange(6, 12) * S)
            self.spawn(self.brownout(), self.rng.randrange(32, 38) * S)
        self.run_until_end()
        for name in ("load", "lab", *self.nodes):
            for life in range(self.nodes[name].life if name in self.nodes else 0):
                self.row(
                    "lives",
                    node=name,
                    boot_id="b",
                    process=f"{life}",
                    started_ns=self.start,
                    last_ns=self.start,
                    is_ended=False,
                    dropped_rows=0,
                )
            self.row(
                "lives",
                node=name,
                boot_id="b",
                process="last",
                started_ns=self.start,
                last_ns=self.now,
                is_ended=True,
                dropped_rows=0,
            )
        self.rows["requests"] = [row for row in self.rows["requests"] if "ended_ns" in row]
        return self.rows

    # -- viewers

    def load(self) -> Process:
        number = 0
        while True:
            number += 1
            self.spawn(self.viewer(number))
            yield round(self.rng.expovariate(25) * S)

    def viewer(self, number: int) -> Process:
        rng = self.rng
        region, who = rng.choice(REGIONS), f"session={rng.randrange(6)}"
        path = rng.choice(
            [
                f"/doc/{rng.randrange(4)}",
                f"/doc/{rng.randrange(4)}?v=1",
                f"/short/{rng.randrange(3)}",
                f"/swr/{rng.randrange(2)}",
                "/me",
            ]
        )
        row = self.row(
            "requests", id=f"load/{number}", request_id=f"q{number}", profile="website", region=region, viewer=who, intended_ns=self.now, method="GET",
            host=HOST, path=path, identity=who, attempts=0, status=None, error=None,
        )  # fmt: skip
        yield rng.randrange(3 * MS)
        row["dns_asked_ns"], addresses = self.resolve(region)
        row |= {"dns_answer": ",".join(addresses), "started_ns": self.now}
        for address in addresses:
            edge = next(node for node in self.nodes.values() if node.address == address)
            row |= {"attempts": row["attempts"] + 1, "address": address}
            yield self.about(3)
            life = edge.life
            if not edge.is_up:
                continue
            answer: Answer = yield from self.answer(edge, path, who, row["request_id"], edge.applied, address)
            yield self.about(2)
            if not edge.is_up or edge.life != life:
                continue  # its connection was reset before anything of the body had come
            row |= self.got(answer)
            break
        else:
            row["error"] = "refused"
        row["ended_ns"] = self.now

    def got(self, answer: Answer) -> dict[str, Any]:
        word = {"hit": "Hit", "refresh_hit": "RefreshHit", "error": "Error"}.get(answer.result, "Miss")
        return {
            "status": answer.status, "x_cache": f"{word} from cloudfront", "first_byte_ns": self.now, "age_seconds": answer.age, "cache_control": answer.control,
            "entity_tag": f'"{answer.version}"' if answer.version else None, "content_length": answer.length,
            "received_bytes": answer.length if answer.received is None else answer.received, "body_checksum": answer.checksum if answer.body is None else answer.body,
            "stamp_origin": "origin-1" if answer.version else None, "stamp_version": answer.version, "stamp_produced_ns": answer.produced,
            "stamp_checksum": answer.checksum if answer.version and self.rng.random() < 0.7 else None, "stamp_identity": answer.identity,
        }  # fmt: skip

    def resolve(self, region: str) -> tuple[int, list[str]]:
        asked, addresses = self.resolved.get(region, (0, []))
        if self.now - asked > 5 * S or not addresses:
            asked, addresses = self.resolved[region] = (self.now, self.names(region))
        shift = self.rng.randrange(2)
        return asked, addresses[shift:] + addresses[:shift]

    def names(self, region: str) -> list[str]:
        """The router's answer: the region's own edges, others only if there are fewer than two."""
        live = [self.nodes[name] for name in self.known[region]]
        near = sorted(live, key=lambda node: (node.region != region, node.name))
        own = sum(node.region == region for node in near)
        return [node.address for node in near[: max(2, own)]]

    def witness(self, router: Node) -> Process:
        while True:
            asked, names = self.now, self.names(router.region)
            yield self.about(2)
            self.row(
                "dns_answers",
                router=router.name,
                region=router.region,
                name=HOST,
                asked_ns=asked,
                answered_ns=self.now,
                addresses=",".join(names),
                ttl_seconds=5,
            )
            yield 250 * MS

    # -- control plane

    def append(self, pattern: str) -> int:
        self.log.append(pattern)
        index = len(self.log)
        for node in self.of("edge", "regional", "dns_router"):
            self.spawn(self.tell(node), self.about(30))
        return index

    def tell(self, node: Node) -> Process:
        life = node.life
        if not node.is_up:
            return
        for index in range(node.applied + 1, len(self.log) + 1):
            self.apply(node, index, "entry")
        yield self.about(20)
        if node.is_up and node.life == life:
            node.acknowledged = max(node.acknowledged, node.applied)

    def apply(self, node: Node, index: int, how: str) -> None:
        node.applied = index
        node.invalid.append((index, self.log[index - 1]))
        goes_back = self.bug == "goes_back" and index > 2 and node.name == "eu-edge-0"
        self.row(
            "applied", node=node.name, at_ns=self.now, log_id="L", index=index - 2 if goes_back else index, how=how
        )

    def writer(self) -> Process:
        number = 0
        while True:
            number += 1
            path = f"/doc/{self.rng.randrange(4)}"
            yield from self.write(path)
            yield from self.invalidate(number, self.rng.choice([f"{path} {path}?v=1", f"{path}*", "/doc/*"]))
            yield self.rng.randrange(200, 1500) * MS

    def write(self, path: str) -> Process:
        row = self.row("writes", kind="object", subject=path, node="origin-1", asked_ns=self.now)
        yield self.about(10)
        self.objects[path] = self.objects.get(path, 0) + 1
        row["version"] = f"{self.objects[path]}.{zlib.crc32(path.encode()) % 97}"
        yield self.about(10)
        row["confirmed_ns"] = self.now
        if self.bug == "forgets_object" and self.objects[path] > 1:
            self.objects[path] -= 1

    def invalidate(self, number: int, paths: str) -> Process:
        name, asked = f"I{number}", self.now
        yield self.about(10)
        issued, index = self.now, 0
        for pattern in paths.split():
            index = self.append(pattern)
        row = self.row(
            "invalidations",
            id=name,
            distribution_id="E1",
            host=HOST,
            paths=paths,
            index=index,
            asked_ns=asked,
            issued_ns=issued,
            completed_ns=None,
            left_out=None,
        )
        yield self.about(5)
        shown = index - 3 if self.bug == "reuses_index" and index > 6 else index
        self.row("writes", kind="invalidation", subject=name, version=str(shown), asked_ns=asked, confirmed_ns=self.now)
        if self.bug == "forgets_invalidation" and number % 3 == 0:
            row["index"] = None
            return
        nodes = self.of("edge", "regional")
        while not all(node.acknowledged >= index or self.is_out(node) for node in nodes):
            yield 20 * MS
        row["completed_ns"] = self.now
        out = [node.name for node in nodes if node.acknowledged < index]
        row["left_out"] = ",".join(out) or None
        for node in nodes:
            state = "left_out" if node.name in out else "acknowledged"
            self.row(
                "acknowledgements",
                invalidation_id=name,
                node=node.name,
                state=state,
                at_ns=self.now,
                fenced_by="lease_over" if node.name in out else None,
            )

    def is_out(self, node: Node) -> bool:
        return not node.is_up and self.now > node.last_heartbeat + LEASE + MARGIN + NOTICE

    def direct(self, node: Node, state: str) -> None:
        """A change of the directory, which routers hear of soon."""
        self.directory_version += 1
        self.row(
            "directory", control_plane="cp", node=node.name, at_ns=self.now, state=state, version=self.directory_version
        )
        self.named = sorted({*self.named, node.name} if state == "live" else {*self.named} - {node.name})
        for router in self.of("dns_router"):
            self.spawn(self.route(router, self.directory_version, self.named), self.about(30))

    def route(self, router: Node, version: int, names: list[str]) -> Process:
        yield 0
        if self.bug == "routers_disagree" and router.region == "us":
            names = names[1:]
        self.known[router.region] = names
        self.row("routed", node=router.name, at_ns=self.now, version=version, routable=",".join(names))

    def killer(self) -> Process:
        node = self.rng.choice(self.of("edge"))
        fault = self.row(
            "faults", id="F1", fault="kill", target=node.name, place=node.name, parameters="{}", began_ns=self.now
        )
        yield self.about(2)
        node.is_up, node.last_heartbeat, node.flights = False, self.now - self.rng.randrange(S), {}
        yield self.about(2)
        fault["injected_ns"], self.suffering = self.now, node.region
        lease_ends = node.last_heartbeat + LEASE + MARGIN - self.now + (8 * S if self.bug == "names_the_dead" else 0)
        yield lease_ends
        self.direct(node, "expired")
        yield 13 * S - lease_ends + self.about(500)
        fault["healing_ns"] = self.now
        node.is_up, node.life = True, node.life + 1
        known = node.acknowledged - (2 if self.bug == "forgets_acknowledged" else 0)
        node.applied = known
        self.row("applied", node=node.name, at_ns=self.now, log_id="L", index=known, how="disk")
        self.row("leases", node=node.name, at_ns=self.now, state="none", fence="asking")
        if self.bug == "returns_too_early":
            self.direct(node, "live")
        yield from self.come_back(node, fault)

    def come_back(self, node: Node, fault: dict[str, Any]) -> Process:
        if self.bug == "returns_too_early":
            yield 2 * S
        yield self.about(400)
        fault["healed_ns"] = self.now
        for index in range(node.applied + 1, len(self.log) + 1):
            self.apply(node, index, "entry")
        yield self.about(20)
        node.acknowledged = node.applied
        self.row("leases", node=node.name, at_ns=self.now, state="held", fence="leased")
        self.direct(node, "live")


def history_rows(seed: int, bug: str | None = None, **options: Any) -> dict[str, list[dict[str, Any]]]:
    """All tables of one run."""
    return ToyCdn(seed, bug, **options).run()
