"""HAProxy with its small-object cache: one thread, an access log with the fields of ours that it can tell, the cache in memory.

Its log goes to its standard output, which is a file here: one write(2) for each answer, by HAProxy itself on the measured core. Ours writes to a file too, on the
measured core, though many lines at a time; HAProxy has no such thing. A datagram for each line (syslog, its usual way) would cost it the same call and a reader's work
on top, so this is the cheapest way in which its log is really written. A ring in memory would be cheaper and is no log: what is not read in time is lost.
"""

from benchmarks.peers import origin
from benchmarks.peers.processes import program
from benchmarks.peers.servers import SLOW_ORIGIN, Place, Server, version_of

CACHE_MEBIBYTES = 512
"""It writes to all of it when it starts, a second for this much; what the rows have in it at a time is a tenth.

A row of misses goes round in it, as a cache does that is full."""
LARGEST_OBJECT_BYTES = 16 * 1024**2
CONNECTIONS = 8_192
"""Two descriptors each: machines often allow 20,000."""
CANNOT = {
    "hit 10 MiB disk": "it has no cache on disk",
    "hit 304": "its 304 has a Content-Length (RFC 9110 15.4.5 allows that), after which wrk waits for a body",
    "hit 206": "it answers a request for a range with the whole object",
    "collapse": "it does not collapse requests: each viewer's would go to the origin",
}
"""By row, why it is not measured there."""

_CONFIGURATION = """
global
  nbthread 1
  maxconn {connections}
  log stdout len 8192 format raw local0
cache bench
  total-max-size {mebibytes}
  max-object-size {largest}
  max-age 3600
defaults
  mode http
  log global
  timeout connect 10s
  timeout client 600s
  timeout server 60s
  timeout http-request 600s
  timeout http-keep-alive 600s
  option http-keep-alive
  http-reuse always
frontend viewers
  bind {address} backlog 4096
  capture request header Host len 128
  capture request header Referer len 512
  capture request header User-Agent len 512
  capture request header Cookie len 1024
  capture request header X-Forwarded-For len 128
  capture response header Content-Type len 64
  capture response header Content-Length len 16
  capture response header Content-Range len 64
  unique-id-format %{{+X}}o%ci%cp%fi%fp%Ts%rt%pid
  log-format "{log}"
  http-after-response set-header X-Cache hit if {{ res.cache_hit }}
  http-after-response set-header X-Cache miss unless {{ res.cache_hit }}
  http-after-response set-header Via "1.1 haproxy"
  http-after-response set-header X-Request-Id %[unique-id]
  use_backend slow if {{ path_beg /slow/ }}
  default_backend objects
backend objects
  http-request cache-use bench
  http-response cache-store bench
  server origin {origin}
backend slow
  http-request cache-use bench
  http-response cache-store bench
  server origin {slow}
"""
_LOG = (
    r"%t\tFRA56-P1\t%B\t%ci\t%HM\t%[capture.req.hdr(0)]\t%HP\t%ST\t%[capture.req.hdr(1)]\t%[capture.req.hdr(2)]\t%HQ\t%[capture.req.hdr(3)]\t%tsc\t%ID\t%[capture.req.hdr(0)]\thttp"
    r"\t%U\t%Ta\t%[capture.req.hdr(4)]\t-\t-\t%ts\t%HV\t-\t-\t%cp\t%Tr\t%ts\t%[capture.res.hdr(0)]\t%[capture.res.hdr(1)]\t%[capture.res.hdr(2)]"
)
_RUN = 'exec "$0" -db -f "$1" >>"$2"'
"""The shell is gone once the file is open."""


def haproxy(place: Place) -> Server:
    """One thread in one process."""
    configuration, log = place.folder / "haproxy.cfg", place.folder / "haproxy.access.log"
    configuration.write_text(
        _CONFIGURATION.format(
            connections=CONNECTIONS, mebibytes=CACHE_MEBIBYTES, largest=LARGEST_OBJECT_BYTES, address=place.address,
            log=_LOG, origin=origin.ADDRESS, slow=SLOW_ORIGIN,
        )
    )  # fmt: skip
    command = ["sh", "-c", _RUN, program("haproxy"), str(configuration), str(log)]
    note = f"cache of {CACHE_MEBIBYTES} MiB, objects up to {LARGEST_OBJECT_BYTES // 2**20} MiB"
    return Server("haproxy", place, version_of("haproxy", "-v"), (("haproxy", command),), note)
