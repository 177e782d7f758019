"""A small world for the router's tests: three regions, their edges, and messages as the control plane sends them."""

import ipaddress
from typing import Any

import dns.edns
import dns.message
import dns.name
import dns.rcode

from dns_router.configuration import KINDS, build_zone
from dns_router.model import ClientNetwork, Query
from dns_router.query_wire import parse_query
from dns_router.response_wire import encode_resolution
from dns_router.routing import Directory
from dns_router.translation import live_edges, network_of_host
from dns_router.zone import Zone, resolve
from proto.cdn.v1 import configuration_pb2, sync_pb2
from proto.served_configuration import Configuration, from_snapshot
from tests.builders import snapshot_message

ZONE = "cdn.localhost"
US, EU, AP = "us-east-1", "eu-central-1", "ap-northeast-1"
US_CLIENT, EU_CLIENT, AP_CLIENT, UNKNOWN_CLIENT = "10.1.0.9", "10.2.0.9", "10.3.0.9", "203.0.113.9"
OWN_ADDRESS = "127.13.255.53"


def routing_table(**changes: Any) -> configuration_pb2.RoutingTable:
    """Europe is nearer to America than Asia is, and Asia nearer to America than to Europe."""
    table = configuration_pb2.RoutingTable(
        zone=ZONE,
        regions=[US, EU, AP],
        default_region=US,
        latencies=[
            configuration_pb2.Latency(from_region=start, to_region=end, milliseconds=milliseconds)
            for start, end, milliseconds in (
                (US, US, 1),
                (EU, EU, 1),
                (AP, AP, 1),
                (US, EU, 45),
                (US, AP, 80),
                (AP, EU, 110),
            )
        ],
        client_subnets=[subnet("10.1.0.0/16", US), subnet("10.2.0.0/16", EU), subnet("10.3.0.0/16", AP)],
        answer_ttl_seconds=10,
        maximum_answers=3,
    )
    table.MergeFrom(configuration_pb2.RoutingTable(**changes))
    return table


def subnet(cidr: str, region: str) -> configuration_pb2.ClientSubnet:
    return configuration_pb2.ClientSubnet(cidr=cidr, region=region)


def distribution(
    distribution_id: str = "E1", domain_name: str = "d1.cdn.localhost", **fields: Any
) -> configuration_pb2.Distribution:
    fields.setdefault("enabled", True)
    return configuration_pb2.Distribution(id=distribution_id, domain_name=domain_name, **fields)


def edge(address: str, region: str, pop: str = "", role: sync_pb2.Role.ValueType = sync_pb2.ROLE_EDGE) -> sync_pb2.Node:
    host = f"[{address}]" if ":" in address else address
    return sync_pb2.Node(
        id=f"edge-{address}",
        role=role,
        region=region,
        pop=pop or f"{region}-P1",
        http_address=f"{host}:8080",
        admin_address=f"{host}:9090",
    )


TWO_EDGES_EACH = (
    edge("127.0.1.1", US),
    edge("127.0.1.2", US),
    edge("127.0.2.1", EU),
    edge("127.0.2.2", EU),
    edge("127.0.3.1", AP),
    edge("127.0.3.2", AP),
)


def directory_message(*nodes: sync_pb2.Node, version: int = 1) -> sync_pb2.Directory:
    return sync_pb2.Directory(version=version, nodes=nodes)


def directory(*nodes: sync_pb2.Node) -> Directory:
    return live_edges(directory_message(*nodes))[0]


def snapshot(
    *distributions: configuration_pb2.Distribution,
    table: configuration_pb2.RoutingTable | None = None,
    log_id: str = "log-a",
    index: int = 7,
) -> sync_pb2.Snapshot:
    return snapshot_message(index, *distributions, table or routing_table(), log_id=log_id)


def zone(*distributions: configuration_pb2.Distribution, table: configuration_pb2.RoutingTable | None = None) -> Zone:
    configuration = from_snapshot(snapshot(*(distributions or (distribution(),)), table=table), Configuration(), KINDS)
    assert not configuration.rejected
    built = build_zone(configuration, {1: ipaddress.ip_address(OWN_ADDRESS).packed})
    assert built is not None
    return built


def client(address: str) -> ClientNetwork:
    return network_of_host(address)


def query(name: str, record_type: str = "A", record_class: str = "IN") -> Query:
    parsed = parse_query(dns.message.make_query(name, record_type, record_class).to_wire())
    assert isinstance(parsed, Query)
    return parsed


def ask(
    served: Zone,
    nodes: Directory,
    name: str,
    record_type: str = "A",
    *,
    client_address: str = US_CLIENT,
    rotation: int = 0,
) -> dns.message.Message:
    """What a client at that address reads, by dnspython."""
    question = query(name, record_type)
    resolution = resolve(served, nodes, question, client(client_address), rotation)
    return dns.message.from_wire(encode_resolution(question, resolution, 65535))


def addresses_in(response: dns.message.Message) -> list[str]:
    """The addresses in the answer section, in order on the wire."""
    return [record.address for rrset in response.answer for record in rrset]


def soa_owner(response: dns.message.Message) -> str | None:
    """The owner of the SOA in the authority section, without the final dot."""
    owners = [rrset.name for rrset in response.authority if rrset.rdtype == 6]
    return owners[0].to_text(omit_final_dot=True) if owners else None


def query_with_subnet(name: str, cidr: str, record_type: str = "A") -> dns.message.Message:
    address, _, bits = cidr.partition("/")
    return dns.message.make_query(name, record_type, use_edns=0, options=[dns.edns.ECSOption(address, int(bits))])


def client_subnet_of(response: dns.message.Message) -> str | None:
    """`address/source scope/bits` as the response has it."""
    options = [option for option in response.options if isinstance(option, dns.edns.ECSOption)]
    return f"{options[0].address}/{options[0].srclen} scope/{options[0].scopelen}" if options else None
