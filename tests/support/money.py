"""Many streams at once, each in its own way, and afterwards what everybody says was used.

A prompt holds a marker, by which the provider's record of each call is found.
"""

import asyncio
import json
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, NamedTuple

import aiohttp

from support.chat import parse
from tellstream.core import events as ev
from tellstream.core.chat import ChatRequest
from tellstream.core.estimate import estimate
from tellstream.core.prices import Price
from tellstream.core.usage import Usage
from tellstream.providers.simulator import Record, Simulator, parse_model
from tellstream.providers.simulator.answer import DELTAS, Turn, pieces
from tellstream.streams.metering import prompt_tokens

PATIENCE: Final = 60.0
TENANTS: Final = (1, 2, 3)
SUBJECTS: Final = ("ann", "bob", "cy")
SYSTEM: Final = "You are Acme's assistant."
PRICES: Final[dict[str, dict[str, Any]]] = {
    "plain": {"input": "2.5", "output": "10", "cache_read": "0.25", "cache_write": "3.125"},
    "claude": {"input": 3, "output": 15, "cache_read": "0.3", "cache_write": "3.75"},
    "long": {"input": "0.1", "output": "0.4"},
    "charged": {"input": "0.11", "output": "0.34", "per": 1000},
}
# The provider, and the script of each target.
MODELS: Final[dict[str, tuple[str, ...]]] = {
    "plain": ("a/sim:words=25,cached=4,delay_ms=1",),
    "thinks": ("a/sim:think=8,words=12,delay_ms=1",),
    "claude": ("claude/sim:words=20,cached=3,delay_ms=1",),
    "silent": ("a/sim:words=15,usage=none",),
    "long": ("a/sim:words=250,delay_ms=4",),
    "claude-long": ("claude/sim:words=250,delay_ms=4",),
    "charged": ("groq/sim:words=120,delay_ms=3",),
    "flaky": ("flaky/sim:words=15,flap=3",),
    "falls-back": ("bad/sim:status=429", "gone/x", "b/sim:words=15,delay_ms=1"),
    "cut": ("cut/sim:words=30,fault=eof,at=20,delay_ms=1",),
    "cut-at-once": ("cut/sim:words=30,fault=eof,at=0",),
    "error": ("cut/sim:words=30,fault=error,at=12,delay_ms=1",),
    "refused": ("bad/sim:status=400",),
    "busy": ("bad/sim:status=503",),
}
WEIGHTS: Final = {"plain": 5, "claude": 4, "long": 6, "claude-long": 4, "charged": 3}
LONG: Final = frozenset({"long", "claude-long", "charged"})


def configuration(simulator: Simulator) -> dict[str, Any]:
    """The tables of a server in front of the simulator."""
    chat = {"dialect": "openai-chat", "api_key": "none"}
    own = {
        name: {**chat, "base_url": f"{simulator.url}/{name}/v1"}
        for name in ("a", "b", "bad", "flaky", "cut")
    }
    claude = {"dialect": "anthropic-messages", "base_url": f"{simulator.url}/v1", "api_key": "none"}
    return {
        "providers": {
            **own,
            "claude": claude,
            "gone": {**chat, "base_url": "http://127.0.0.1:1/v1"},
            "groq": {"base_url": f"{simulator.url}/groq/v1", "api_key": "none"},
        },
        "models": {
            name: {"targets": list(targets)} | ({"price": PRICES[name]} if name in PRICES else {})
            for name, targets in MODELS.items()
        },
        "tenants": {
            str(tenant): {
                "model": "plain",
                **({"system": SYSTEM} if tenant == 2 else {}),
                "limits": {"tokens_per_day": 10_000_000, "budget_per_month": 1000},
            }
            for tenant in TENANTS
        },
        "retries": {"max": 1},
    }


class Plan(NamedTuple):
    """One request, and what its caller does.

    Attributes:
        act: ``read`` to the end, ``cancel``, ``leave``, or ``wait`` for the whole answer.
        after: frames that are read before.
    """

    number: int
    tenant: int
    subject: str
    model: str
    act: str
    after: int

    @property
    def prompt(self) -> str:
        return f"marker-{self.number} please tell me about the river"


def plans(dice: random.Random, count: int) -> list[Plan]:
    """Plan so many requests."""
    names = list(MODELS)
    weights = [WEIGHTS.get(name, 1) for name in names]
    made = []
    for number in range(count):
        model = dice.choices(names, weights)[0]
        acts = ("cancel", "leave", "read") if model in LONG else ("read", "wait", "leave")
        act = dice.choices(acts, (5, 3, 2))[0]
        after = dice.choice((0, 1, 4, 20, 60))
        made.append(Plan(number, dice.choice(TENANTS), dice.choice(SUBJECTS), model, act, after))
    return made


@dataclass
class Told:
    """What a caller knows of its stream.

    Attributes:
        text: what it has read.
        end: the end, if it read that.
    """

    plan: Plan
    stream_id: str = ""
    status: int = 0
    text: str = ""
    end: ev.StreamEnd | None = None


@dataclass
class Crowd:
    """Callers.

    Attributes:
        urls: of the servers that answer now.
        told: what each caller was told, in the order of the plans.
        done: requests that are over.
    """

    headers: Callable[[int, str], dict[str, str]]
    urls: list[str]
    session: aiohttp.ClientSession
    dice: random.Random
    told: list[Told] = field(default_factory=list)
    done: int = 0

    async def go(self, planned: list[Plan], at_once: int) -> None:
        """Make all requests, so many at once."""
        waiting = iter(planned)

        async def caller() -> None:
            for plan in waiting:
                await self._one(plan)
                self.done += 1

        await asyncio.gather(*(caller() for _ in range(at_once)))

    async def _one(self, plan: Plan) -> None:
        told = Told(plan)
        self.told.append(told)
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    await self._ask(told)
                except aiohttp.ClientConnectorError:  # nobody listens: a server is restarted
                    await asyncio.sleep(0.1)
                except (aiohttp.ClientError, OSError):  # it was killed while it answered
                    return
                else:
                    return

    async def _ask(self, told: Told) -> None:
        plan = told.plan
        path = "/v1/chat" if plan.act == "wait" else "/v1/chat/stream"
        body = {"prompt": plan.prompt, "model": plan.model}
        headers = self.headers(plan.tenant, plan.subject)
        url = self.dice.choice(self.urls) + path
        async with self.session.post(url, json=body, headers=headers) as response:
            told.status = response.status
            told.stream_id = response.headers.get("X-Stream-Id", "")
            if plan.act == "wait" or response.status != 200:
                await response.read()
                return
            seen = b""
            frames = 0
            while plan.act == "read" or frames < plan.after:
                line = await response.content.readline()
                if not line:
                    break
                seen += line
                frames += line == b"\n"
            if plan.act == "cancel":
                await self._cancel(told)
                seen += await response.read()
            elif plan.act == "leave":
                response.close()
            self._note(told, seen)

    async def _cancel(self, told: Told) -> None:
        """Cancel, at any server."""
        plan = told.plan
        url = f"{self.dice.choice(self.urls)}/v1/streams/{told.stream_id}/cancel"
        headers = self.headers(plan.tenant, plan.subject)
        try:
            async with self.session.post(url, headers=headers) as response:
                await response.read()
                assert response.status in (202, 503), response.status
        except (aiohttp.ClientError, OSError):  # killed; its streams end with it
            pass

    @staticmethod
    def _note(told: Told, seen: bytes) -> None:
        whole = seen[: seen.rfind(b"\n\n") + 2]
        frames = [f for f in whole.split(b"\n\n") if b"\nevent: " in b"\n" + f]
        for frame in frames:
            name = re.search(rb"^event: (\w+)$", frame, re.MULTILINE)
            data = re.search(rb"^data: (.*)$", frame, re.MULTILINE)
            assert name
            assert data
            event = ev.decode(name[1].decode(), data[1])
            if isinstance(event, ev.TextDelta | ev.ThinkingDelta):
                told.text += event.delta
            elif isinstance(event, ev.StreamEnd):
                told.end = event


class Generated(NamedTuple):
    """What the provider did in one call, by its own count.

    Attributes:
        prompt: tokens it has read; 0: it refused.
        said: tokens it has written.
        text: what it has written.
        whole: whether that was the whole answer.
    """

    prompt: int
    said: int
    text: str
    whole: bool

    def reported(self, model: str) -> list[tuple[int, int]]:
        """The counts that it may have told."""
        claude = model.startswith("claude")  # tells the prompt at first, and all at the end
        start = [(self.prompt, 0)] if claude and self.prompt else []
        told = self.whole and model not in {"silent", "cut", "cut-at-once", "error"}
        return start + ([(self.prompt, self.said)] if told else [])


def calls(simulator: Simulator) -> dict[int, list[Record]]:
    """The provider's calls by the number of the plan, oldest first."""
    found: dict[int, list[Record]] = {}
    for record in reversed(simulator.requests()):
        match = re.search(r"marker-(\d+) ", json.dumps(record.body))
        assert match, record
        found.setdefault(int(match[1]), []).append(record)
    return found


def generated(record: Record) -> Generated:
    """Say what one call came to."""
    said = islice(_deltas(record.model), record.completion_tokens + 1)
    texts = list(said)
    whole = len(texts) == record.completion_tokens
    text = "".join(texts[: record.completion_tokens])
    return Generated(record.prompt_tokens, record.completion_tokens, text, whole)


def _deltas(model: str) -> Iterator[str]:
    for piece in pieces(parse_model(model), Turn(model=model, digest="")):
        if isinstance(piece, DELTAS):
            yield getattr(piece, "text", "")


def estimated_prompt(plan: Plan) -> int:
    """What the server takes a prompt for."""
    system = SYSTEM if plan.tenant == 2 else None
    return prompt_tokens(ChatRequest(plan.prompt, system=system))


def price(model: str) -> Price | None:
    """What a model costs."""
    if model not in PRICES:
        return None
    rates = PRICES[model]
    return Price.of(
        rates["input"], rates["output"], rates.get("cache_read"), rates.get("cache_write"),
        rates.get("per", 1_000_000),
    )  # fmt: skip


def usage_of(row: dict[str, Any]) -> Usage:
    """The counts of a row of a report, or of a state."""
    return Usage(**{name: row[name] for name in Usage.__struct_fields__})


def end_of(body: bytes) -> tuple[ev.StreamEnd, str]:
    """The end of a whole stream, and what it said."""
    events, _ = parse(body)
    end = events[-1]
    assert isinstance(end, ev.StreamEnd)
    said = (e.delta for e in events if isinstance(e, ev.TextDelta | ev.ThinkingDelta))
    return end, "".join(said)


def problem(plan: Plan, usage: Usage, estimated: bool, seen: str, of: list[Record]) -> str:
    """Say what is wrong with a row, given what its readers saw and what the provider did.

    An estimate is exact in one respect: it is the estimate of a text that lies between what readers
    saw and what the provider had written. How far that is from the provider's own count is the
    matter of the estimator: see ``tests/core/test_estimate.py``.
    """
    counts = usage.prompt_tokens, usage.completion_tokens
    if not of:
        # Killed before the call, or the prompt was on its way.
        fits = counts in {(0, 0), (estimated_prompt(plan), 0)}
        return "" if fits else f"{counts} without a call"
    last = generated(of[-1])
    if not estimated:
        if counts == (0, 0):
            return "" if not last.prompt else f"nothing for {last}"
        fits = counts in last.reported(plan.model)
        return "" if fits else f"{counts} was never reported by {last}"
    if usage.prompt_tokens not in {estimated_prompt(plan), last.prompt}:
        return f"{usage.prompt_tokens} is no count of the prompt"
    low, high = estimate(seen), estimate(last.text)
    fits = low <= usage.completion_tokens <= high
    return "" if fits else f"{counts} is not within {low} and {high}"
