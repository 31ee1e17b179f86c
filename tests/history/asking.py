"""What is done about one request, and how to learn in the end what came of it."""

import asyncio
import time
from collections.abc import Awaitable
from typing import Final

from history.checker import take_apart
from history.facts import Call, How, View
from history.readers import Asked, Client, Live, Where, over
from tellstream.providers.simulator import Simulator

CALL_SECONDS: Final = 5.0
"""For calls of the provider to be closed."""


async def carry_out(client: Client, asked: Asked) -> None:
    """Do all that is planned about one stream: ask for it, follow it, cancel it."""
    planned = asked.plan
    others: list[Awaitable[None]] = [client.follow(asked, reader) for reader in planned.readers]
    if planned.cancel is not None:
        others.append(client.cancel(asked, *planned.cancel))
    following = asyncio.gather(*others)
    try:
        await asyncio.gather(*(client.ask(asked, reader) for reader in planned.askers))
    finally:
        if not asked.stream.done():
            asked.stream.set_result(None)
    await following


async def read_whole(client: Client, live: Live, where: Where, deadline: float) -> None:
    """Read a whole log; what there is of it, if it never ends."""
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            while True:
                view = await client.whole(live, where())
                if len(view.body) >= len(live.facts.log):
                    live.facts.log = view.body
                if over(view):
                    break
                await asyncio.sleep(0.1)
    except TimeoutError:
        view = View("the last reader", 0, live.facts.log, How.HUNG)
    live.facts.log = b"".join(take_apart(live.facts.log).frames)
    live.facts.views.append(view)


async def calls_for(simulator: Simulator, prompt: str) -> list[Call]:
    """Find the provider's calls for a prompt; wait until they are over."""
    deadline = time.monotonic() + CALL_SECONDS
    while True:
        records = [
            record
            for record in simulator.requests()
            if record.body["messages"][-1]["content"] == prompt
        ]
        running = any(record.state == "running" for record in records)
        if not running or time.monotonic() > deadline:
            return [Call(r.state, r.prompt_tokens, r.completion_tokens) for r in records]
        await asyncio.sleep(0.05)
