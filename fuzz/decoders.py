"""Search for input that breaks a decoder. ``make fuzz`` runs it for a minute.

Invariant: whatever the bytes, a decoder never raises, the composed events are a grammatical stream,
and the same bytes in two different chunkings give the same parts.
"""

import random
import sys
import time
from typing import Final

from conformance.expected import ROOT
from tellstream.core import grammar
from tellstream.core.composer import Composer
from tellstream.core.ids import EventIds
from tellstream.core.parts import Part
from tellstream.core.usage import Usage
from tellstream.providers.base import Dialect, Endpoint
from tellstream.providers.hosts import GENERIC
from tellstream.server.dialects import DIALECTS, load_dialect

SECONDS: Final = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
SEED: Final = int(sys.argv[2]) if len(sys.argv) > 2 else time.time_ns()
BUILT_IN: Final = (
    b'data: {"model":"m","choices":[{"index":0,"delta":{"content":"<think>a</think>b"}}]}\n\n'
    b'data: {"choices":[{"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"f",'
    b'"arguments":"{}"}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":1}}\n\n'
    b"error: {}\r\n\r\n: comment\nevent: error\ndata: {}\n\ndata: [DONE]\n\n"
)


def decode(dialect: Dialect, chunks: list[bytes]) -> list[Part]:
    decoder = dialect.decoder(Endpoint("fuzz", "http://127.0.0.1/v1", None, GENERIC))
    parts = [part for chunk in chunks for part in decoder.feed(chunk)]
    return parts + decoder.eof()


def cut(body: bytes, source: random.Random) -> list[bytes]:
    at = sorted(source.sample(range(len(body) + 1), min(len(body) + 1, source.randrange(1, 40))))
    return [body[a:b] for a, b in zip([0, *at], [*at, len(body)], strict=True)]


def mutate(body: bytes, source: random.Random) -> bytes:
    """Change a few bytes, cut, repeat or splice pieces."""
    data = bytearray(body)
    for _ in range(source.randrange(1, 12)):
        position = source.randrange(len(data) + 1)
        match source.randrange(5):
            case 0:
                data[position:position] = bytes([source.randrange(256)])
            case 1:
                del data[position : position + source.randrange(1, 60)]
            case 2:
                data[position : position + 1] = source.choice(
                    (b"\r", b"\n", b"\0", b'"', b"{", b"null")
                )
            case 3:
                end = position + source.randrange(200)
                data[position:position] = data[position:end]
            case _:
                data[position : position + 4] = source.choice(
                    (b"1e999", b"-1", b"[]", b'"\\ud83d"')
                )
    return bytes(data)


def check(dialect: Dialect, body: bytes, source: random.Random) -> None:
    whole = decode(dialect, [body])
    assert repr(whole) == repr(decode(dialect, cut(body, source))), "two chunkings differ"
    composer = Composer(EventIds(1), "fuzz", "m")
    events = composer.feed(whole, 1.0)
    events += composer.close(composer.ending(), Usage(), 2.0)
    grammar.check(events)


def main() -> None:
    print(f"seed {SEED}, {SECONDS:.0f} s", flush=True)
    source = random.Random(SEED)
    corpus = {
        name: [BUILT_IN, *(p.read_bytes()[:20_000] for p in sorted(ROOT.glob(f"{name}/*")))]
        for name in DIALECTS
    }
    dialects = {name: load_dialect(name) for name in DIALECTS}
    runs, deadline = 0, time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        name = source.choice(list(DIALECTS))
        body = mutate(source.choice(corpus[name]), source)
        try:
            check(dialects[name], body, source)
        except BaseException:
            print(f"run {runs}, {name}: {body!r}")
            raise
        runs += 1
    print(f"{runs} inputs, no failure")


if __name__ == "__main__":
    main()
