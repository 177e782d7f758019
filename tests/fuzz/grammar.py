"""Streams of requests and responses as a peer would send them, and as an attacker would.

A stream is made of tokens with a kind, from the grammar of RFC 9112. An attack replaces tokens by others of their kind (a line end by a bare LF, a length by a
negative one), leaves out or repeats tokens, or spoils bytes. So most of a stream stays right, and what is wrong with it is deep inside.
"""

import random

Token = tuple[str, bytes]

NASTY: dict[str, list[bytes]] = {
    "method": [b"get", b"G\0T", b"FROB", b"PRI", b"CONNECT", b"", b"GET,", b"TRACE", b"\tGET", b"PUT", b"OPTIONS"],
    "space": [b"  ", b"\t", b"", b" \r", b"\x0b", b"\xa0", b"\0"],
    "target": [
        b"*", b"a", b"", b"/a b", b"/a#b", b"/\0", b"/\xc3\xa9", b"/a\tb", b"//h/a", b"http://h/a", b"http://x/a", b"http://h:81/a", b"http://h", b"http://h?q",
        b"http://u@h/", b"http:///a", b"HTTP://H/a", b"https://h/a", b"ftp://h/a", b"h:80", b"/%0d%0aX:%20y", b"/..;/a", b"/\x7f", b"/a\r", b'/"<>\\^`{|}',
    ],
    "version": [b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/0.9", b"http/1.1", b"HTTP/1.10", b"HTTP/1", b"HTTP/1.1 ", b"", b"HTTP/01.1"],
    "eol": [b"\n", b"\r", b"\r\r\n", b"\n\r", b" \r\n", b"\r\n ", b"\r\n\t", b"\r\n\r\n", b"\0\r\n", b""],
    "end": [b"\n", b"\r", b"\r\n\r\n", b"", b" \r\n", b"\r\n\n"],
    "name": [
        b"Content-Length", b"Transfer-Encoding", b"Host", b"Content Length", b"Content-Length ", b"\tHost", b"", b"X\0Y", b"X:Y", b"X\xc3\xa9", b"Connection",
        b"Expect", b"transfer_encoding", b"X\r\nY", b"X(", b" X", b"Upgrade", b"X-Edge-Log-Index", b"Trailer", b"TE", b"Keep-Alive", b"Content-Length\x0b",
    ],
    "colon": [b" :", b"", b"\t:", b"::", b":\r\n", b":\r\n ", b"=", b" : "],
    "value": [
        b"", b"a\rb", b"a\nb", b"a\r\n b", b"a\0b", b"\x7f", b"\xff", b"a\x01", b"close", b"keep-alive", b"chunked", b"5", b"x" * 300, b'"a\r\nX: y"', b"a,b,,c",
        b"content-length", b"transfer-encoding", b"upgrade", b"100-continue", b"a\x0bb", b"a\x85b", b"h, h", b"h:80", b"H", b"h:x", b"h@x", b"[::1]", b"h/",
    ],
    "length": [
        b"0", b"1", b"4", b"6", b"99", b"-1", b"+5", b"5,5", b"5, 6", b"0x5", b"5 5", b"", b"005", b"5.0", b"5e0", b"18446744073709551617", b"9223372036854775807",
        b"\xd9\xa5", b"5\t", b"5;", b"1" * 30, b"5\0", b"_5", b"5_0",
    ],
    "coding": [
        b"Chunked", b"gzip", b"gzip, chunked", b"chunked, gzip", b"chunked,chunked", b"identity", b"", b"x", b"chunked ", b"\x0bchunked", b"chunked;q=1",
        b'"chunked"',
        b"chunked, identity", b"chunkedd", b"chun\rked", b",chunked", b"chunked,", b"\0chunked",
    ],
    "size": [
        b"0", b"00", b"5", b"6", b"4", b"0x5", b"-1", b"+5", b"", b"g", b"5 ", b" 5", b"5\t", b"FFFFFFFFFFFFFFFF", b"10000000000000005",
        b"7fffffffffffffff", b"05", b"5_",
        b"\xd9\xa5", b"5\r", b"5\0", b"5.", b"5,",
    ],
    "extension": [
        b";", b";a", b";a=b", b'; a = "b;c"', b';a="\r\n"', b" ;a", b"; a", b";a = b", b"a=b", b";\n", b";a\rb", b"\t", b";a=", b";;", b";=b", b';a="b',
        b";a\0", b";" + b"x" * 200, b";\xff",
    ],
    "data": [b"", b"hell", b"hello!", b"\r\n", b"0\r\n\r\n", b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"],
    "status": [
        b"100", b"101", b"102", b"103", b"199", b"200", b"204", b"205", b"206", b"304", b"404", b"503", b"599", b"600", b"999", b"000", b"20", b"2000",
        b"abc", b"-20", b"",
    ],
    "reason": [b"", b"a\rb", b"a\nb", b"a\0b", b"OK\r\nX: y", b"\xff", b"x" * 200, b"\x01", b"\t", b" "],
}  # fmt: skip

METHODS = [b"GET", b"GET", b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH"]
TARGETS = [b"/", b"/a", b"/b?x=1&y=2", b"/%2e%2e/%00", b"/a;v=1", b"http://h/abs", b"/longer/path/to/something.html?q"]
PLAIN_FIELDS = [
    (b"Accept", b"*/*"), (b"User-Agent", b"fuzz/1.0"), (b"X-Thing", b"1"), (b"X-Thing", b"2"), (b"x-thing", b"1"), (b"Cookie", b"a=1; b=2"), (b"Cookie", b"c=3"),
    (b"Accept-Encoding", b"gzip, br"), (b"X-Empty", b""), (b"X-Obs", b"caf\xe9"), (b"Cache-Control", b"no-cache"), (b"If-None-Match", b'"1"'),
    (b"Referer", b"http://h/?a:b"),
    (b"X-Edge-Result", b"hit"), (b"X-Forwarded-For", b"192.0.2.1"), (b"Via", b"1.1 x"), (b"Authorization", b"Basic eDp5"), (b"Origin", b"http://o"),
    (b"X-Secret", b"s"),
]  # fmt: skip

UPGRADING = [b"Upgrade", b"Upgrade, HTTP2-Settings", b"keep-alive, upgrade", b"close, Upgrade"]
PROTOCOLS = [b"h2c", b"websocket", b"foo/2, WebSocket", b"TLS/1.0", b"websockets"]


def fields(pairs: list[tuple[bytes, bytes]], rng: random.Random) -> list[Token]:
    tokens: list[Token] = []
    for name, value in pairs:
        kind = {b"content-length": "length", b"transfer-encoding": "coding"}.get(name.lower(), "value")
        before, after = (
            rng.choice([b" ", b" ", b" ", b"", b"\t ", b"  "]),
            rng.choice([b"", b"", b"", b" ", b"\t"] if kind != "coding" else [b"", b"", b" "]),
        )
        tokens += [("name", name), ("colon", b":"), ("ows", before), (kind, value), ("ows", after), ("eol", b"\r\n")]
    return [*tokens, ("end", b"\r\n")]


def chunked(body: bytes, rng: random.Random) -> list[Token]:
    tokens: list[Token] = []
    at = 0
    while at < len(body):
        size = rng.randint(1, len(body) - at)
        digits = rng.choice([b"%x", b"%X", b"0%x"]) % size
        extension = rng.choice([b"", b"", b"", b";a=b", b';a="b"', b";a;b=c"])
        tokens += [
            ("size", digits),
            ("extension", extension),
            ("eol", b"\r\n"),
            ("data", body[at : at + size]),
            ("eol", b"\r\n"),
        ]
        at += size
    tokens += [("size", b"0"), ("extension", b""), ("eol", b"\r\n")]
    trailers = [(b"X-Trailer", b"t")] if rng.random() < 0.2 else []
    return tokens + fields(trailers, rng)


class Sections:
    """Header sections of one connection: often one that was used before, or one that differs from it in a byte, a name's case, or the order."""

    def __init__(self) -> None:
        self._used: list[list[tuple[bytes, bytes]]] = []

    def draw(self, rng: random.Random) -> list[tuple[bytes, bytes]]:
        if self._used and rng.random() < 0.7:
            section = list(rng.choice(self._used[-2:]))
            if rng.random() < 0.5:
                section = self._nearly(section, rng)
        else:
            section = [(b"Host", b"h"), *rng.sample(PLAIN_FIELDS, rng.randint(0, 5))]
            if rng.random() < 0.3:
                rng.shuffle(section)
        if rng.random() < 0.1:
            section += [(b"Connection", rng.choice(UPGRADING)), (b"Upgrade", rng.choice(PROTOCOLS))]
        self._used.append(section)
        return list(section)

    def _nearly(self, section: list[tuple[bytes, bytes]], rng: random.Random) -> list[tuple[bytes, bytes]]:
        place = rng.randrange(len(section))
        name, value = section[place]
        match rng.randrange(4):
            case 0:
                section[place] = (name.swapcase(), value)
            case 1 if name.lower() != b"host":
                section[place] = (name, value[:-1] + bytes([rng.choice(b"0123456789xyz")]))
            case 2:
                section.reverse()
            case _:
                section.insert(place, rng.choice(PLAIN_FIELDS))
        return section


def request(rng: random.Random, sections: Sections) -> list[Token]:
    method = rng.choice(METHODS)
    pairs = sections.draw(rng)
    tail: list[Token] = []
    if method in (b"POST", b"PUT", b"PATCH") or rng.random() < 0.05:
        body = rng.choice([b"hello", b"", b"x" * 40, b"\r\n", b"GET /in/body HTTP/1.1\r\nHost: h\r\n\r\n"])
        if rng.random() < 0.5:
            pairs.insert(rng.randint(0, len(pairs)), (b"Content-Length", b"%d" % len(body)))
            tail = [("data", body)]
        else:
            pairs.insert(rng.randint(0, len(pairs)), (b"Transfer-Encoding", b"chunked"))
            tail = chunked(body, rng)
    start: list[Token] = [
        ("method", method),
        ("space", b" "),
        ("target", rng.choice(TARGETS)),
        ("space", b" "),
        ("version", b"HTTP/1.1"),
        ("eol", b"\r\n"),
    ]
    before: list[Token] = [("eol", b"\r\n")] if rng.random() < 0.03 else []
    return before + start + fields(pairs, random.Random(repr(pairs))) + tail  # equal sections in equal bytes


def request_stream(rng: random.Random) -> bytes:
    """Up to six requests on one connection, a third of the streams without an attack."""
    sections = Sections()
    tokens = [token for _ in range(rng.randint(1, 6)) for token in request(rng, sections)]
    return attacked(tokens, rng)


CACHEABLE = [
    (b"Cache-Control", b"max-age=60"), (b"ETag", b'"1"'), (b"ETag", b'W/"1"'), (b"Content-Type", b"text/plain"), (b"Vary", b"Origin"), (b"X-Thing", b"1"),
    (b"Date", b"x"), (b"Set-Cookie", b"a=1"), (b"Connection", b"x-thing"), (b"Connection", b"close"), (b"Age", b"5"), (b"Location", b"/x"),
    (b"X-Edge-Result", b"hit;fresh"),
    (b"Trailer", b"X-T"),
]  # fmt: skip


BODIES = [b"hello", b"", b"x" * 300, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", b"\r\n\r\n"]


def response(rng: random.Random, bodies: list[bytes] | None = None) -> list[Token]:
    """A final response, with its interim ones."""
    tokens: list[Token] = []
    for _ in range(rng.choice([0, 0, 0, 0, 1, 2])):
        tokens += [
            ("text", b"HTTP/1.1 "),
            ("status", rng.choice([b"100", b"103"])),
            ("space", b" "),
            ("reason", b"Wait"),
            ("eol", b"\r\n"),
        ]
        tokens += fields(rng.sample([(b"Link", b"</s>; rel=preload"), (b"X-Thing", b"1")], rng.randint(0, 2)), rng)
    status = rng.choice([b"200"] * 6 + [b"204", b"206", b"301", b"304", b"404", b"500"])
    pairs = [(b"Cache-Control", b"max-age=60"), *rng.sample(CACHEABLE, rng.randint(0, 4))]
    body = rng.choice(bodies or BODIES)
    tail: list[Token] = []
    if status not in (b"204", b"304"):
        framing = rng.random()
        if framing < 0.5:
            pairs.insert(rng.randint(0, len(pairs)), (b"Content-Length", b"%d" % len(body)))
            tail = [("data", body)]
        elif framing < 0.85:
            pairs.insert(rng.randint(0, len(pairs)), (b"Transfer-Encoding", b"chunked"))
            tail = chunked(body, rng)
        else:
            tail = [("data", body)]
    start: list[Token] = [
        ("version", b"HTTP/1.1"),
        ("space", b" "),
        ("status", status),
        ("space", b" "),
        ("reason", b"OK"),
        ("eol", b"\r\n"),
    ]
    return tokens + start + fields(pairs, rng) + tail


def interim_with_body(rng: random.Random) -> list[Token]:
    """RFC 9112 section 6.3, rule 1: there is no such thing, and who reads one is told what the final response is by whoever wrote it."""
    start: list[Token] = [
        ("text", b"HTTP/1.1 "),
        ("status", rng.choice([b"100", b"103", b"199"])),
        ("text", b" Wait\r\n"),
    ]
    body = rng.choice([b"hello", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"])
    if rng.random() < 0.5:
        return [*start, *fields([(b"Transfer-Encoding", b"chunked")], rng), *chunked(body, rng)]
    return [*start, *fields([(b"Content-Length", b"%d" % len(body))], rng), ("data", body)]


def response_stream(rng: random.Random, bodies: list[bytes] | None = None) -> bytes:
    """What an origin sends for one request: at times too little, at times more than one response."""
    tokens = response(rng, bodies)
    if rng.random() < 0.05:
        tokens[:0] = interim_with_body(rng)
    if rng.random() < 0.15:
        tokens += response(rng)
    data = attacked(tokens, rng)
    if rng.random() < 0.2:
        data = data[: rng.randrange(len(data) + 1)]
    return data


# -- attacks


def attacked(tokens: list[Token], rng: random.Random) -> bytes:
    """The bytes of the tokens, spoiled in up to three places."""
    for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
        place = rng.randrange(len(tokens))
        kind, text = tokens[place]
        match rng.randrange(10):
            case 0:
                del tokens[place]
            case 1:
                tokens.insert(place, tokens[place])
            case 2:
                tokens.insert(place, rng.choice(tokens))
            case 3:
                tokens[place] = (kind, _spoiled(text, rng))
            case 4:  # a field of one's own in the middle: a second length, a second coding
                name, value = rng.choice([("length", b"Content-Length: "), ("coding", b"Transfer-Encoding: ")])
                lines = [index for index, token in enumerate(tokens) if token[0] in ("name", "end")]
                at = rng.choice(lines) if lines else place
                tokens[at:at] = [
                    ("text", value),
                    (name, rng.choice([*NASTY[name], b"5", b"chunked"])),
                    ("eol", b"\r\n"),
                ]
            case _:
                if kind in NASTY:
                    tokens[place] = (kind, rng.choice(NASTY[kind]))
        if not tokens:
            break
    return b"".join(text for _, text in tokens)


def _spoiled(text: bytes, rng: random.Random) -> bytes:
    spoiled = bytearray(text)
    at = rng.randrange(len(spoiled) + 1)
    spoiled[at : at + rng.randint(0, 2)] = rng.choice(
        [b"", b"\r", b"\n", b"\0", b" ", b"\t", b":", b"\xff", bytes([rng.randrange(256)]), b"\r\n"]
    )
    return bytes(spoiled)
