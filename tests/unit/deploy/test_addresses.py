"""What `docker compose logs lab` says."""

import http.server
import json
import threading
from typing import Any

from deploy.addresses import lines, read_status

ADDRESSES = {
    "viewers": "127.0.0.1:8080",
    "api": "127.0.0.1:4566",
    "operators": "127.0.0.1:4568",
    "prometheus": "127.0.0.1:9090",
    "dns": "127.0.0.1:8053",
}
STATUS: dict[str, Any] = {
    "nodes": [{"role": "edge"}, {"role": "edge"}, {"role": "regional"}, {"role": "dns_router"}],
    "distributions": [{"id": "E1", "domain_name": "d1.cdn.localhost"}],
}


def test_a_site_to_open_comes_first() -> None:
    said = list(lines(STATUS, "small", ADDRESSES))
    assert said[0] == "the lab small is up: 2 edges, 1 regional cache, 1 router"
    assert said[1].split() == ["site", "http://d1.cdn.localhost:8080/", "(E1)"]
    assert "dig @127.0.0.1 -p 8053 d1.cdn.localhost" in "\n".join(said)


def test_a_lab_without_distributions_and_routers_says_what_there_is() -> None:
    addresses = {name: address for name, address in ADDRESSES.items() if name != "dns"}
    said = "\n".join(lines({"nodes": [], "distributions": []}, "small", addresses))
    assert "none yet: create a distribution" in said and "dig" not in said


def test_a_port_that_the_engine_has_chosen_is_not_invented() -> None:
    said = list(lines(STATUS, "small", {**ADDRESSES, "viewers": "127.0.0.1:0"}))
    assert said[-1].strip() == "port 0 is one that the engine has chosen: `docker compose ps` shows which"


def test_the_control_plane_is_asked_at_its_operators_port() -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/status" else 404)
            self.end_headers()
            self.wfile.write(json.dumps(STATUS).encode())

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
            """Silent."""

    with http.server.HTTPServer(("127.15.252.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        assert read_status(f"http://127.15.252.1:{server.server_address[1]}") == STATUS
        thread.join(10)
