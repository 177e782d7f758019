"""Which addresses the relays of a lab in containers take, and how the kernel is asked for one. That it gives them is seen in tests/docker."""

import ipaddress
import struct
from pathlib import Path

import yaml

from deploy.relay_addresses import new_address, wanted_addresses
from lab.wan.configuration import Configuration, Place, Proxy
from lab.wan.configuration_file import read_configuration

DEPLOY = Path(__file__).parents[3] / "deploy"


def test_gateways_and_all_of_the_file_that_are_nobody_else_s() -> None:
    """One of its own is there already, and any address or loopback is no address to take."""
    configuration = Configuration(
        places=(Place("a", ("10.1.0.0/24",), "10.1.251.1"), Place("b", ("10.1.1.0/24",))),
        proxies=(
            Proxy("edge", "10.1.253.5:8080", "10.1.5.4:8080", "a"),
            Proxy("edge admin", "10.1.253.5:9100", "10.1.5.4:9100", "a"),
            Proxy("own", "10.1.252.2:9000", "10.1.252.1:3000"),
            Proxy("any", "0.0.0.0:9001", "10.1.252.1:3000"),
            Proxy("inside", "127.0.0.1:9002", "10.1.252.1:3000"),
        ),
        outgoing_address="10.1.251.200",
    )
    own = [ipaddress.IPv4Address(text) for text in ("10.1.5.2", "10.1.252.2")]
    taken = [str(address) for address in wanted_addresses(configuration, own)]
    assert taken == ["10.1.5.3", "10.1.251.1", "10.1.251.200", "10.1.252.3", "10.1.253.5"]


def test_those_of_the_default_lab_are_none_of_its_programs() -> None:
    configuration = read_configuration(DEPLOY / "wan.yaml")
    upstreams = {ipaddress.IPv4Address(proxy.upstream.rpartition(":")[0]) for proxy in configuration.proxies}
    networks = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["wan"]["networks"].values()
    own = [ipaddress.IPv4Address(each["ipv4_address"]) for each in networks]
    assert not upstreams.intersection(wanted_addresses(configuration, own))


def test_the_message_is_that_of_rtnetlink() -> None:
    """struct nlmsghdr, struct ifaddrmsg, and IFA_LOCAL and IFA_ADDRESS, as <linux/netlink.h>, <linux/if_addr.h> and <linux/rtnetlink.h> have them."""
    message = new_address(ipaddress.IPv4Address("10.77.253.14"), interface=1, sequence=7)
    length, kind, flags, sequence, port = struct.unpack_from("=IHHII", message)
    assert (length, kind, flags, sequence, port) == (len(message), 20, 0x405, 7, 0)
    family, prefix, address_flags, scope, interface = struct.unpack_from("=BBBBI", message, 16)
    assert (family, prefix, address_flags, scope, interface) == (2, 32, 0, 0, 1)
    attributes = [struct.unpack_from("=HH4s", message, offset) for offset in (24, 32)]
    assert attributes == [(8, 2, bytes((10, 77, 253, 14))), (8, 1, bytes((10, 77, 253, 14)))]
