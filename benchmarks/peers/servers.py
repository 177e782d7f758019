"""What is compared: how each cache is started, where it listens, and what it needs on the core that is measured.

One worker each, the cache in memory (or on disk, for the one row that asks for it), an access log with the fields of ours that each can tell, and in each answer an
`X-Cache`, a `Via`, an `Age` and a request id. Unlimited keep-alive. Settings that a peer offers for such work are at what was the fastest when they were tried.
"""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import origin
from benchmarks.peers.processes import program
from benchmarks.peers.requests import HOST_NAME

SLOW_ORIGIN = "127.60.0.2:8001"
"""`/slow/` is asked of this one."""
MEMORY_BYTES = 2 * 1024**3
DISK_MEMORY_BYTES = 64 * 1024**2
DISK_BYTES = 4 * 1024**3
ECHO_ORIGIN = "127.60.0.2:8002"
"""`/echo/` is a WebSocket that this one answers."""


@dataclass(frozen=True)
class Place:
    """Where one cache lives."""

    folder: Path
    """Configuration and logs; in memory where the machine has a file system there."""
    storage: Path
    """Of a cache that keeps files."""
    address: str
    is_disk: bool = False

    @property
    def host(self) -> str:
        """The address without its port."""
        return self.address.partition(":")[0]

    @property
    def port(self) -> str:
        """The port alone."""
        return self.address.partition(":")[2]


@dataclass(frozen=True)
class Server:
    """A cache, ready to be started."""

    name: str
    place: Place
    version: str
    commands: tuple[tuple[str, list[str]], ...]
    """Names and command lines, in the order in which they start; all of them on the measured core."""
    note: str
    """What of its configuration a reader should know."""


def version_of(name: str, flag: str) -> str:
    """What an installed program says of itself."""
    output = subprocess.run([program(name), flag], capture_output=True, text=True, check=False, timeout=20)
    found = re.search(r"(?:nginx/|varnish-|Traffic Server |HAProxy version )([\d.]+)", output.stdout + output.stderr)
    return found[1] if found else "unknown"


# -- ours


def edge(place: Place, control_plane: str, memory_bytes: int) -> Server:
    """`python -m edge_node` with everything that is on by default, and its access log."""
    listen, admin = place.address, f"{place.host}:9100"
    flags = [
        "--node-id", f"bench-{place.host}", "--role", "edge", "--region", "eu-central-1", "--pop", "FRA56-P1", "--listen", listen, "--admin", admin,
        "--control-plane", control_plane, "--state-dir", str(place.storage / "edge"), "--access-log", str(place.folder / "edge.access.log"),
    ]  # fmt: skip
    note = f"{memory_bytes // 2**20} MiB of memory"
    if place.is_disk and edge_has_flag("--disk-bytes"):
        flags += ["--cache-bytes", str(DISK_MEMORY_BYTES), "--disk-bytes", str(DISK_BYTES)]
        note = f"{DISK_MEMORY_BYTES // 2**20} MiB of memory, {DISK_BYTES // 2**20} MiB of disk"
    else:
        flags += ["--cache-bytes", str(memory_bytes)]
    command = [sys.executable, "-m", "edge_node", *flags]
    return Server("edge", place, "this tree", (("edge", command),), note)


def edge_has_flag(flag: str) -> bool:
    """What this edge understands."""
    command = [sys.executable, "-m", "edge_node", "--help"]
    return flag in subprocess.run(command, capture_output=True, text=True, check=False, timeout=30).stdout


# -- nginx

_NGINX = """
{user} daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.error;
events {{ worker_connections 8192; }}
http {{
  log_format standard
    "$time_iso8601\\tFRA56-P1\\t$bytes_sent\\t$remote_addr\\t$request_method\\t$host\\t$uri\\t$status\\t$http_referer\\t$http_user_agent\\t$args\\t$http_cookie\\t"
    "$upstream_cache_status\\t$request_id\\t$http_host\\t$scheme\\t$request_length\\t$request_time\\t$http_x_forwarded_for\\t-\\t-\\t$upstream_cache_status\\t"
    "$server_protocol\\t-\\t-\\t$remote_port\\t$request_time\\t$upstream_cache_status\\t$sent_http_content_type\\t$sent_http_content_length\\t$sent_http_content_range";
  access_log {folder}/nginx.access.log standard buffer=64k flush=1s;
  keepalive_requests 1000000000; keepalive_timeout 600s; sendfile off; output_buffers 2 256k; tcp_nodelay on;
  open_file_cache max=20000 inactive=60s; open_file_cache_min_uses 1;
  client_body_temp_path {folder}/b; proxy_temp_path {storage}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  proxy_cache_path {storage}/nginx levels=1:2 keys_zone=zone:256m max_size={size} inactive=1d use_temp_path=off;
  upstream origin {{ server {origin}; keepalive 512; keepalive_requests 1000000000; }}
  upstream slow {{ server {slow}; keepalive 512; }}
  upstream echo {{ server {echo}; }}
  proxy_cache zone; proxy_cache_lock on; proxy_cache_lock_timeout 60s; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
  add_header X-Cache $upstream_cache_status always; add_header Via "1.1 nginx" always; add_header X-Request-Id $request_id always; add_header Age 0 always;
  server {{ listen {address} backlog=4096;
    location / {{ proxy_pass http://origin; }}
    location /slow/ {{ proxy_pass http://slow; }}
    location /echo/ {{ proxy_pass http://echo; proxy_cache off; proxy_read_timeout 600s; proxy_set_header Host $host;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade"; }}
  }}
}}
"""


def nginx(place: Place) -> Server:
    """`proxy_cache` with one worker; its files lie in memory where the machine has a file system there."""
    configuration = place.folder / "nginx.conf"
    configuration.write_text(
        _NGINX.format(
            folder=place.folder, storage=place.storage, address=place.address, origin=origin.ADDRESS, slow=SLOW_ORIGIN, echo=ECHO_ORIGIN,
            size=DISK_BYTES if place.is_disk else MEMORY_BYTES, user="user root;" if os.geteuid() == 0 else "",
        )
    )  # fmt: skip
    command = [program("nginx"), "-c", str(configuration)]
    return Server(
        "nginx", place, version_of("nginx", "-v"), (("nginx", command),), f"files in {place.storage.parent.parent}"
    )


# -- Varnish

_VARNISH = """
vcl 4.1;
backend default { .host = "%(origin_host)s"; .port = "%(origin_port)s"; }
backend slow { .host = "%(slow_host)s"; .port = "%(slow_port)s"; }
sub vcl_recv {
  unset req.http.Cookie;
  if (req.url ~ "^/slow/") { set req.backend_hint = slow; }
}
sub vcl_deliver {
  if (obj.hits > 0) { set resp.http.X-Cache = "HIT"; } else { set resp.http.X-Cache = "MISS"; }
  set resp.http.X-Request-Id = req.xid;
}
"""
_VARNISH_LOG = (
    r"%{%Y-%m-%d\t%H:%M:%S}t\tFRA56-P1\t%O\t%h\t%m\t%{Host}i\t%U\t%s\t%{Referer}i\t%{User-agent}i\t%q\t%{Cookie}i\t%{Varnish:hitmiss}x\t%{VSL:Begin[2]}x\t%{Host}i\thttp\t%I\t%D"
    r"\t%{X-Forwarded-For}i\t-\t-\t%{Varnish:handling}x\t%H\t-\t-\t-\t%{Varnish:time_firstbyte}x\t%{Varnish:handling}x\t%{Content-Type}o\t%{Content-Length}o\t%{Content-Range}o"
)


def varnish(place: Place) -> Server:
    """varnishd and the program that writes its log, both on the core: the log is a part of the work."""
    configuration, working = place.folder / "varnish.vcl", place.folder / "varnish"
    (origin_host, _, origin_port), (slow_host, _, slow_port) = origin.ADDRESS.partition(":"), SLOW_ORIGIN.partition(":")
    names = {"origin_host": origin_host, "origin_port": origin_port, "slow_host": slow_host, "slow_port": slow_port}
    configuration.write_text(_VARNISH % names)
    storage = f"file,{place.storage / 'varnish.bin'},{DISK_BYTES}" if place.is_disk else f"malloc,{MEMORY_BYTES}"
    daemon = [
        program("varnishd"), "-F", "-j", "none", "-n", str(working), "-a", place.address, "-f", str(configuration), "-s", storage, "-T", "none",
        "-p", "thread_pools=1", "-p", "thread_pool_min=100", "-p", "thread_pool_max=2000", "-p", "timeout_idle=600", "-p", "listen_depth=4096",
    ]  # fmt: skip
    log = [
        program("varnishncsa"), "-n", str(working), "-t", "20", "-a", "-w", str(place.folder / "varnish.access.log"), "-F", _VARNISH_LOG,
    ]  # fmt: skip
    commands = (("varnishd", daemon), ("varnishncsa", log))
    return Server("varnish", place, version_of("varnishd", "-V"), commands, storage.partition(",")[0] + " storage")


# -- Apache Traffic Server

_RECORDS = """
CONFIG proxy.config.proxy_name STRING bench
CONFIG proxy.config.admin.user_id STRING #-1
CONFIG proxy.config.crash_log_helper STRING NULL
CONFIG proxy.config.http.server_ports STRING {port}:ip-in={host}
CONFIG proxy.config.exec_thread.autoconfig INT 0
CONFIG proxy.config.exec_thread.limit INT 1
CONFIG proxy.config.exec_thread.affinity INT 0
CONFIG proxy.config.accept_threads INT 0
CONFIG proxy.config.net.connections_throttle INT 15000
CONFIG proxy.config.net.listen_backlog INT 4096
CONFIG proxy.config.cache.ram_cache.size INT {memory}
CONFIG proxy.config.cache.ram_cache_cutoff INT 4194304
CONFIG proxy.config.http.keep_alive_no_activity_timeout_in INT 600
CONFIG proxy.config.http.keep_alive_no_activity_timeout_out INT 600
CONFIG proxy.config.http.server_session_sharing.match STRING both
CONFIG proxy.config.http.insert_request_via_str INT 1
CONFIG proxy.config.http.insert_response_via_str INT 1
CONFIG proxy.config.http.insert_age_in_response INT 1
CONFIG proxy.config.http.cache.required_headers INT 2
CONFIG proxy.config.http.cache.cache_responses_to_cookies INT 1
CONFIG proxy.config.http.cache.max_open_read_retries INT 100
CONFIG proxy.config.http.cache.open_read_retry_time INT 10
CONFIG proxy.config.cache.enable_read_while_writer INT 1
CONFIG proxy.config.http.background_fill_completed_threshold FLOAT 0.0
CONFIG proxy.config.http.background_fill_active_timeout INT 0
CONFIG proxy.config.url_remap.remap_required INT 1
CONFIG proxy.config.url_remap.pristine_host_hdr INT 1
CONFIG proxy.config.log.logging_enabled INT 3
CONFIG proxy.config.log.logfile_dir STRING {folder}/trafficserver
CONFIG proxy.config.log.max_space_mb_for_logs INT 20000
CONFIG proxy.config.log.max_space_mb_headroom INT 10
CONFIG proxy.config.log.rolling_enabled INT 0
CONFIG proxy.config.diags.show_location INT 0
CONFIG proxy.config.log.max_secs_per_buffer INT 1
"""
_LOGGING = """
logging:
  formats:
    - name: standard
      format: "%<cqtd>\\t%<cqtt>\\tFRA56-P1\\t%<psql>\\t%<chi>\\t%<cqhm>\\t%<{Host}cqh>\\t%<cqup>\\t%<pssc>\\t%<{Referer}cqh>\\t\
%<{User-Agent}cqh>\\t%<cquuc>\\t%<{Cookie}cqh>\\t%<crc>\\t%<cruuid>\\t%<{Host}cqh>\\t%<cqus>\\t%<cqhl>\\t%<ttms>\\t%<{X-Forwarded-For}cqh>\\t-\\t-\\t%<crsc>\\t%<cqpv>\\t-\\t-\\t%<chp>\\t%<ttms>\\t%<crsc>\\t%<psct>\\t%<{Content-Length}psh>\\t\
%<{Content-Range}psh>"
  logs:
    - filename: trafficserver.access
      format: standard
      mode: ascii
"""
_HEADERS = """
cond %{SEND_RESPONSE_HDR_HOOK}
set-header X-Cache %{CACHE}
set-header X-Request-Id %{ID:UNIQUE}
"""


def trafficserver(place: Place) -> Server:
    """One event thread; bodies up to 4 MiB also in its memory cache."""
    home = place.folder / "ts"
    for folder in (home / "etc", home / "run", place.folder / "trafficserver", place.storage / "ts-cache"):
        folder.mkdir(parents=True)
    size = DISK_BYTES if place.is_disk else MEMORY_BYTES
    files = {
        "records.config": _RECORDS.format(
            port=place.port,
            host=place.host,
            folder=place.folder,
            memory=DISK_MEMORY_BYTES if place.is_disk else MEMORY_BYTES,
        ),
        "remap.config": f"map http://{HOST_NAME}/slow/ http://{SLOW_ORIGIN}/slow/\nmap http://{HOST_NAME}/ http://{origin.ADDRESS}/\n",
        "plugin.config": f"header_rewrite.so {home}/etc/headers.config\n",
        "headers.config": _HEADERS.strip() + "\n",
        "logging.yaml": _LOGGING,
        "storage.config": f"{place.storage}/ts-cache {size}\n",
        "ip_allow.yaml": "ip_allow:\n  - apply: in\n    ip_addrs: 127.0.0.0/8\n    action: allow\n    methods: ALL\n",
    }
    for name, text in files.items():
        (home / "etc" / name).write_text(text)
    system = {
        "prefix": "/usr", "exec_prefix": "/usr", "bindir": "/usr/bin", "sbindir": "/usr/sbin", "sysconfdir": f"{home}/etc", "datadir": f"{home}/etc",
        "includedir": "/usr/include", "libdir": "/usr/lib/trafficserver", "libexecdir": "/usr/lib/trafficserver/modules", "localstatedir": f"{home}/run",
        "runtimedir": f"{home}/run", "logdir": f"{place.folder}/trafficserver", "cachedir": f"{place.storage}/ts-cache",
    }  # fmt: skip
    (home / "runroot.yaml").write_text("".join(f"{name}: {path}\n" for name, path in system.items()))
    command = [program("traffic_server"), f"--run-root={home}/runroot.yaml"]
    version = version_of("traffic_server", "-V")
    return Server("trafficserver", place, version, (("trafficserver", command),), "bodies up to 4 MiB in memory")
