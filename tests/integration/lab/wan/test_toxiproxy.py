"""The control API, driven by toxiproxy-python as it is, and what it does not know by a plain client. Effects are seen by real connections."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from toxiproxy import Toxiproxy
from toxiproxy.exceptions import InvalidToxic, NotFound, ProxyExists

from lab.clients import http_client
from tests.integration.lab.wan.wan_process import ask, running
from tests.integration.lab.wan.wires import loopback

PATIENCE_SECONDS = 10.0


class EchoServer:
    """Answers whatever it hears with the same."""

    def __init__(self) -> None:
        self._listening = socket.create_server((loopback(0), 0))
        self.address = "{}:{}".format(*self._listening.getsockname())
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                threading.Thread(target=self._echo, args=(connection,), daemon=True).start()

    @staticmethod
    def _echo(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(65_536):
                connection.sendall(data)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


@pytest.fixture(scope="module")
def echo() -> Iterator[EchoServer]:
    server = EchoServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    configuration = {
        "api": f"{loopback(0)}:0",
        "places": [{"name": "here", "networks": ["127.0.0.0/8"]}],
        "links": [{"between": ["here", "here"], "delay_ms": 1}],
    }
    with running(tmp_path_factory.mktemp("toxiproxy") / "wan.json", configuration) as (address, _):
        yield address


@pytest.fixture
def client(api: str) -> Iterator[Toxiproxy]:
    made = Toxiproxy()
    host, _, port = api.rpartition(":")
    made.update_api_consumer(host, int(port))
    yield made
    made.reset()
    made.destroy_all()


def connect(listen: str) -> socket.socket:
    host, _, port = listen.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS)


def exchange(listen: str, data: bytes = b"hello") -> tuple[bytes, float]:
    """What comes back, and after how long."""
    with connect(listen) as connection:
        began_at = time.monotonic()
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        found = b""
        while piece := connection.recv(65_536):
            found += piece
        return found, time.monotonic() - began_at


def test_it_is_there_and_says_its_version(client: Toxiproxy) -> None:
    assert client.running()
    assert b"2." in client.version()


def test_a_proxy_is_made_shown_and_destroyed(client: Toxiproxy, echo: EchoServer) -> None:
    proxy = client.create(name="echo", upstream=echo.address)
    assert proxy.enabled and not proxy.listen.endswith(":0")
    assert exchange(proxy.listen)[0] == b"hello"
    assert client.get_proxy("echo").upstream == echo.address
    with pytest.raises(ProxyExists):
        client.create(name="echo", upstream=echo.address)
    assert client.destroy(proxy)
    assert client.get_proxy("echo") is None
    with pytest.raises(NotFound):
        client.destroy(proxy)
    with pytest.raises(ConnectionRefusedError):
        connect(proxy.listen)


def test_a_proxy_that_is_down_drops_what_is_connected(client: Toxiproxy, echo: EchoServer) -> None:
    proxy = client.create(name="echo", upstream=echo.address)
    with connect(proxy.listen) as connection:
        connection.sendall(b"a")
        assert connection.recv(1) == b"a"
        with proxy.down():
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(1) == b""
            with pytest.raises(ConnectionRefusedError):
                connect(proxy.listen)
    assert exchange(proxy.listen)[0] == b"hello"


def test_a_proxy_may_be_made_disabled(client: Toxiproxy, echo: EchoServer) -> None:
    proxy = client.create(name="echo", upstream=echo.address, listen=f"{loopback(0)}:18999", enabled=False)
    with pytest.raises(ConnectionRefusedError):
        connect(proxy.listen)
    assert client.reset()
    assert exchange(proxy.listen)[0] == b"hello"


def test_populating_keeps_what_is_the_same_and_replaces_what_is_not(client: Toxiproxy, echo: EchoServer) -> None:
    listen = f"{loopback(0)}:18998"
    wanted = [{"name": "one", "upstream": echo.address, "listen": listen}]
    assert [proxy.name for proxy in client.populate(wanted)] == ["one"]
    assert client.populate(wanted) == []
    other = [{"name": "one", "upstream": "127.0.0.1:1", "listen": listen}]
    assert [proxy.upstream for proxy in client.populate(other)] == ["127.0.0.1:1"]


def test_latency_is_for_its_direction(client: Toxiproxy, echo: EchoServer) -> None:
    proxy = client.create(name="echo", upstream=echo.address)
    proxy.add_toxic(type="latency", attributes={"latency": 80, "jitter": 0})
    proxy.add_toxic(name="there", type="latency", stream="upstream", attributes={"latency": 50})
    assert set(proxy.toxics()) == {"latency_downstream", "there"}
    assert proxy.get_toxic("there").attributes == {"latency": 50, "jitter": 0}
    assert exchange(proxy.listen)[1] >= 0.129
    proxy.destroy_toxic("there")
    assert proxy.get_toxic("there") is None
    assert exchange(proxy.listen)[1] >= 0.079
    with pytest.raises(NotFound):
        proxy.destroy_toxic("there")


def test_bandwidth(client: Toxiproxy, echo: EchoServer) -> None:
    proxy = client.create(name="echo", upstream=echo.address)
    proxy.add_toxic(type="bandwidth", attributes={"rate": 500})
    found, seconds = exchange(proxy.listen, bytes(100_000))
    assert len(found) == 100_000 and seconds >= 0.198


def test_slow_close(client: Toxiproxy, echo: EchoServer) -> None:
    proxy = client.create(name="echo", upstream=echo.address)
    proxy.add_toxic(type="slow_close", attributes={"delay": 120})
    found, seconds = exchange(proxy.listen)
    assert found == b"hello" and seconds >= 0.119


def test_timeout_swallows_and_then_closes(client: Toxiproxy, echo: EchoServer) -> None:
    proxy = client.create(name="echo", upstream=echo.address)
    proxy.add_toxic(type="timeout", attributes={"timeout": 120})
    began_at = time.monotonic()
    with connect(proxy.listen) as connection:
        connection.sendall(b"hello")
        assert connection.recv(1) == b""
    assert time.monotonic() - began_at >= 0.119


def test_reset_peer(client: Toxiproxy, echo: EchoServer) -> None:
    proxy = client.create(name="echo", upstream=echo.address)
    proxy.add_toxic(type="reset_peer", attributes={"timeout": 60})
    began_at = time.monotonic()
    with pytest.raises(ConnectionResetError), connect(proxy.listen) as connection:
        connection.recv(1)
    assert time.monotonic() - began_at >= 0.059


def test_slicer(client: Toxiproxy, echo: EchoServer) -> None:
    proxy = client.create(name="echo", upstream=echo.address)
    proxy.add_toxic(type="slicer", attributes={"average_size": 10, "size_variation": 0, "delay": 20_000})
    with connect(proxy.listen) as connection:
        connection.sendall(b"0123456789" * 4)
        found, began_at = b"", time.monotonic()
        while len(found) < 40:
            found += connection.recv(100)
        assert time.monotonic() - began_at >= 0.055
    assert found == b"0123456789" * 4


def test_limit_data(client: Toxiproxy, echo: EchoServer) -> None:
    proxy = client.create(name="echo", upstream=echo.address)
    proxy.add_toxic(type="limit_data", attributes={"bytes": 7})
    assert exchange(proxy.listen, b"0123456789")[0] == b"0123456"


def test_toxicity_of_zero_is_for_nobody(client: Toxiproxy, echo: EchoServer) -> None:
    proxy = client.create(name="echo", upstream=echo.address)
    proxy.add_toxic(type="reset_peer", toxicity=0)
    assert exchange(proxy.listen)[0] == b"hello"


@pytest.mark.parametrize(
    "toxic", [{"type": "nonsense"}, {"type": "latency", "stream": "sideways"}, {"type": "latency", "toxicity": 7}]
)
def test_what_is_no_toxic_is_refused(client: Toxiproxy, echo: EchoServer, toxic: dict[str, object]) -> None:
    proxy = client.create(name="echo", upstream=echo.address)
    with pytest.raises(InvalidToxic):
        proxy.add_toxic(**toxic)


# -- what that client does not know


def test_toxics_and_proxies_are_changed_in_place(client: Toxiproxy, api: str, echo: EchoServer) -> None:
    proxy = client.create(name="echo", upstream="127.0.0.1:1")
    assert ask(api, "/proxies/echo", "PATCH", {"upstream": echo.address})[0] == 200
    proxy.add_toxic(name="slow", type="latency", attributes={"latency": 10_000, "jitter": 3})
    status, toxic = ask(api, "/proxies/echo/toxics/slow", "POST", {"attributes": {"latency": 40, "jitter": 0}})
    assert (status, toxic["attributes"]) == (200, {"latency": 40, "jitter": 0})
    assert exchange(proxy.listen)[1] >= 0.039
    assert ask(api, "/proxies/echo/toxics/slow")[1] == toxic
    assert ask(api, "/proxies")[1]["echo"]["toxics"] == [toxic]
    assert ask(api, "/proxies/echo/toxics", "POST", {"type": "latency", "name": "slow"})[0] == 409


def test_a_whole_population_at_once(client: Toxiproxy, api: str, echo: EchoServer) -> None:
    wanted = [{"name": name, "upstream": echo.address, "listen": "127.0.0.1:0"} for name in ("a", "b")]
    status, answer = ask(api, "/populate", "POST", wanted)
    assert status == 201 and [proxy["name"] for proxy in answer["proxies"]] == ["a", "b"]
    ports = [proxy["listen"] for proxy in answer["proxies"]]
    assert [proxy["listen"] for proxy in ask(api, "/populate", "POST", wanted)[1]["proxies"]] == ports


@pytest.mark.parametrize(
    ("method", "path", "document", "status"),
    [
        ("POST", "/proxies", {"name": "a"}, 400),
        ("POST", "/proxies", {"upstream": "127.0.0.1:1"}, 400),
        ("POST", "/proxies", {"name": "a", "upstream": "nowhere"}, 400),
        ("POST", "/proxies", {"name": "a", "upstream": "127.0.0.1:1", "enabled": "yes"}, 400),
        ("POST", "/proxies", {"name": "a", "upstream": "127.0.0.1:1", "listen": "203.0.113.1:80"}, 500),
        ("POST", "/proxies", [], 400),
        ("POST", "/populate", {"proxies": 5}, 400),
        ("GET", "/proxies/none", None, 404),
        ("GET", "/links/none", None, 404),
        ("POST", "/links/here--here", {"delay": 5}, 400),
        ("GET", "/nowhere", None, 404),
        ("DELETE", "/proxies", None, 405),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(
    client: Toxiproxy, api: str, method: str, path: str, document: object, status: int
) -> None:
    assert ask(api, path, method, document)[0] == status
    assert client.proxies() == {}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/proxies", '{"name": "\\ud800", "upstream": "127.0.0.1:1"}'),
        ("/cuts", '{"name": "\\ud800", "pairs": [{"proxies": []}]}'),
        ("/links/here--here/toxics", '{"name": "\\ud800", "type": "latency"}'),
        ("/links/here--here", '{"\\ud800": 1}'),
        ("/populate", "[" * 100_000),
        ("/cuts", '{"name": ' + "9" * 5_000 + "}"),
    ],
)
def test_text_that_no_answer_could_repeat_and_endless_nesting_are_refused(api: str, path: str, body: str) -> None:
    reply = http_client.ask(api, path, method="POST", body=body.encode())
    assert reply.status == 400 and b"bad request body" in reply.body
    for everything in ("/proxies", "/cuts", "/links"):
        assert ask(api, everything)[0] == 200


def test_names_that_cannot_be_looked_up_harm_nobody(client: Toxiproxy, api: str) -> None:
    proxy = client.create(name="odd", upstream="a..b:80")
    with pytest.raises(ConnectionResetError), connect(proxy.listen) as connection:
        connection.recv(1)
    assert ask(api, "/proxies", "POST", {"name": "a", "upstream": "127.0.0.1:1", "listen": "a..b:80"})[0] == 500
    assert ask(api, "/healthz") == (200, b"ok")


def test_a_web_page_of_somebody_else_may_not_ask(api: str) -> None:
    assert ask(api, "/proxies", Origin="http://evil.example")[0] == 403
    assert ask(api, "/proxies", Host="evil.example")[0] == 403
    assert ask(api, "/reset", "POST", **{"Sec-Fetch-Site": "cross-site"})[0] == 403


def test_links_are_shown_changed_and_put_back(client: Toxiproxy, api: str) -> None:
    shown = ask(api, "/links")[1]["here--here"]
    assert shown["between"] == ["here", "here"] and shown["forward"]["delay_ms"] == 1
    status, changed = ask(api, "/links/here--here", "POST", {"backward": {"cut": True}, "loss_percent": 2})
    assert status == 200 and changed["backward"]["cut"] and not changed["forward"]["cut"]
    assert ask(api, "/links/here--here")[1] == changed
    client.reset()
    assert ask(api, "/links/here--here")[1] == shown


def test_a_link_has_toxics_as_a_proxy_has(client: Toxiproxy, api: str) -> None:
    status, toxic = ask(api, "/links/here--here/toxics", "POST", {"type": "latency", "attributes": {"latency": 5}})
    assert status == 200 and ask(api, "/links/here--here")[1]["toxics"] == [toxic]
    path = "/links/here--here/toxics/latency_downstream"
    assert ask(api, path, "POST", {"attributes": {"latency": 6}})[1]["attributes"]["latency"] == 6
    assert ask(api, path, "DELETE")[0] == 204 and ask(api, path)[0] == 404
    assert ask(api, "/links/here--here/toxics")[1] == []


def test_the_self_test_over_the_api(api: str) -> None:
    answers = (ask(api, "/check", "POST") for _ in range(3))  # a busy machine may be off
    status, answer = next(found for found in answers if not found[1]["is_off"])
    assert status == 200
    assert {(each["link"], each["what"]) for each in answer["measurements"]} == {
        ("here--here", "delay"),
        ("here--here", "handshake"),
    }


def test_who_says_nothing_holds_nothing_up(api: str) -> None:
    host, _, port = api.rpartition(":")
    with contextlib.ExitStack() as silent:
        for _ in range(50):
            connection = silent.enter_context(socket.create_connection((host, int(port))))
            connection.sendall(b"POST /reset HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{")
        assert ask(api, "/healthz") == (200, b"ok")
        assert ask(api, "/reset", "POST")[0] == 204
        assert ask(api, "/status")[1]["links"] == 1


def test_cuts_are_made_shown_and_ended(api: str, client: Toxiproxy, echo: EchoServer) -> None:
    proxy = client.create(name="cut_off", upstream=echo.address)
    cut = {"name": "c", "pairs": [{"clients": ["127.0.0.1/32"], "proxies": ["cut_off"], "stream": "upstream"}]}
    with connect(proxy.listen) as connection:
        assert ask(api, "/cuts", "POST", cut) == (201, cut)
        assert ask(api, "/cuts", "POST", cut) == (409, {"error": "cut already exists", "status": 409})
        assert ask(api, "/cuts") == (200, [cut]) and ask(api, "/cuts/c") == (200, cut)
        assert ask(api, "/status")[1]["cuts"] == 1
        connection.sendall(b"hello")
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.settimeout(PATIENCE_SECONDS)
        assert ask(api, "/cuts/c", "DELETE")[0] == 204
        assert connection.recv(5) == b"hello"
    assert ask(api, "/cuts/c", "DELETE") == (404, {"error": "cut not found", "status": 404})
    status, told = ask(api, "/cuts", "POST", {"name": "c", "pairs": [{"proxies": ["gone"]}]})
    assert status == 400 and "no proxy 'gone': there are cut_off" in told["error"]
    ask(api, "/cuts", "POST", cut)
    client.reset()
    assert ask(api, "/cuts") == (200, [])


def test_a_toxic_along_a_link_is_for_links_only(api: str, client: Toxiproxy, echo: EchoServer) -> None:
    client.create(name="p", upstream=echo.address)
    toxic = {"name": "t", "type": "slicer", "stream": "forward", "attributes": {"average_size": 9}}
    status, told = ask(api, "/proxies/p/toxics", "POST", toxic)
    assert (status, told["error"]) == (400, "stream was invalid, can be either upstream or downstream")
    status, told = ask(api, "/links/here--here/toxics", "POST", toxic)
    assert (status, told["stream"]) == (200, "forward")
    assert ask(api, "/links/here--here/toxics/t", "DELETE")[0] == 204
