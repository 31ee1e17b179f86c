"""``tellstream demo``: the whole path once, for the eye and as a check.

A real server on a free port in a process of its own, a token, one answer over a real connection:
the frames as they arrive, then the fold, then whether the stream was grammatical.
"""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from tellstream.cli.failures import EXIT_FAILURE, CliError
from tellstream.cli.tokens import sign_with
from tellstream.client import AsyncTellstream
from tellstream.config import load_settings
from tellstream.core import events as ev
from tellstream.core import grammar
from tellstream.core.errors import GrammarError
from tellstream.core.sse import SseDecoder
from tellstream.core.transcript import fold
from tellstream.server.dialects import build_offer

PROMPT: Final = "What is Tellstream, in one paragraph?"
START_SECONDS: Final = 30.0
"""For the server to listen; a cold start takes about one."""
STOP_SECONDS: Final = 10.0


def demo(config: Path | None) -> int:
    """Run the demonstration; returns the exit code.

    Raises:
        CliError: the server did not start.
    """
    return asyncio.run(_demo(config))


async def _demo(config: Path | None) -> int:
    settings = load_settings(config, os.environ, Path.cwd())
    tenant = next(iter(build_offer(settings, os.environ).tenants))
    file = [] if config is None else ["--config", str(config)]
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tellstream", "serve", "--port", "0", *file,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        url = await _address(server)
        token = await sign_with(settings, [tenant], "chat")
        _say(f'\n$ POST {url}/v1/chat/stream   X-Tenant: {tenant}   {{"prompt": "{PROMPT}"}}\n')
        async with AsyncTellstream(url, token, tenant) as client:
            events = await _stream(client)
    finally:
        await _stop(server)
    return _report(events)


async def _address(server: asyncio.subprocess.Process) -> str:
    """Read the server's banner up to the line that says where it listens."""
    assert server.stdout is not None
    try:
        async with asyncio.timeout(START_SECONDS):
            while line := (await server.stdout.readline()).decode():
                _say(line.rstrip())
                found = re.search(r"listens on (http://\S+)", line)
                if found:
                    while (line := (await server.stdout.readline()).decode()) != "Try it:\n":
                        _say(line.rstrip())
                    return found[1]
    except TimeoutError:
        pass
    assert server.stderr is not None
    raise CliError(f"the server did not start: {(await server.stderr.read()).decode()}")


async def _stream(client: AsyncTellstream) -> list[ev.Event]:
    decoder = SseDecoder()
    events: list[ev.Event] = []
    async with client.stream(PROMPT) as stream:
        async for chunk in stream.raw():
            sys.stdout.write(chunk.decode())
            sys.stdout.flush()
            events += [ev.decode(event.event, event.data) for event in decoder.feed(chunk)]
    return events


def _report(events: list[ev.Event]) -> int:
    transcript = fold(events)
    _say(f"model:         {transcript.provider}/{transcript.model}")
    _say(f"text:          {transcript.text}")
    _say(f"finish reason: {transcript.finish_reason}")
    _say(f"usage:         {transcript.usage}")
    try:
        grammar.check(events)
    except GrammarError as error:
        _say(f"NOT grammatical: {error.reason}")
        return EXIT_FAILURE
    _say(f"grammatical:   yes, {len(events)} events, ended once")
    return EXIT_FAILURE if transcript.error is not None else 0


async def _stop(server: asyncio.subprocess.Process) -> None:
    if server.returncode is not None:
        return
    server.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await server.communicate()
    except TimeoutError:
        server.kill()
        await server.wait()


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
