"""The origin of all: nginx with objects that are as cheap to serve as possible, on the core of the load generator.

`/small/ANYTHING` is 1 KiB from the configuration itself; `/64k/`, `/1m/` and `/10m/ANYTHING` are files in memory. All have an ETag, a date of change and an hour to live.
"""

import hashlib
import os
import random
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.processes import program

ADDRESS = "127.60.0.2:8000"
FILES = {"64k": 64 * 1024, "1m": 1024 * 1024, "10m": 10 * 1024 * 1024}
SMALL_BODY = hashlib.shake_256(b"1 KiB of text").hexdigest(512)
SMALL_ETAG = '"6515e0f0-400"'

_CONFIGURATION = """
{user} daemon off; worker_processes 1; pid {folder}/origin.pid; error_log {folder}/origin.error warn;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; sendfile on; tcp_nopush on; open_file_cache max=100;
  default_type application/octet-stream;
  client_body_temp_path {folder}/ob; proxy_temp_path {folder}/op; fastcgi_temp_path {folder}/of; uwsgi_temp_path {folder}/ou; scgi_temp_path {folder}/os;
  add_header Cache-Control max-age=3600;
  server {{ listen {address} backlog=4096; root {folder}/files;
    location /small/ {{
      add_header Cache-Control max-age=3600; add_header ETag '{etag}'; add_header Last-Modified "Thu, 01 Jan 2026 00:00:00 GMT"; add_header Accept-Ranges bytes;
      return 200 "{body}";
    }}
    {files}
  }}
}}
"""


@dataclass(frozen=True)
class Contents:
    """The SHA-256 of each body, by the first segment of the path."""

    digests: dict[str, str]


def bodies() -> dict[str, bytes]:
    """The same every time."""
    rng = random.Random(3)
    return {"small": SMALL_BODY.encode()} | {name: rng.randbytes(size) for name, size in FILES.items()}


def write_origin(folder: Path) -> tuple[list[str], Contents]:
    """Its command, and what it serves."""
    files = folder / "files"
    files.mkdir()
    contents = bodies()
    for name in FILES:
        (files / f"{name}.bin").write_bytes(contents[name])
    configuration = folder / "origin.conf"
    configuration.write_text(
        _CONFIGURATION.format(
            folder=folder,
            address=ADDRESS,
            user="user root;" if os.geteuid() == 0 else "",
            etag=SMALL_ETAG,
            body=SMALL_BODY,
            files=" ".join(f"location /{name}/ {{ try_files /{name}.bin =404; }}" for name in FILES),
        )
    )
    digests = {name: hashlib.sha256(body).hexdigest() for name, body in contents.items()}
    return [program("nginx"), "-c", str(configuration)], Contents(digests)
