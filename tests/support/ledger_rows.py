"""Usage rows as if streams had finished on earlier days."""

import asyncio
import random
from collections.abc import Sequence

from support.server import Running
from tellstream.core.usage import FinishReason, Usage
from tellstream.storage.base import COST_UNITS, Settlement, UsageRow

DAY = 86_400
ENDS = {
    FinishReason.STOP: 82,
    FinishReason.CANCELLED: 6,
    FinishReason.LENGTH: 5,
    FinishReason.ERROR: 4,
    FinishReason.CONTENT_FILTER: 2,
    FinishReason.TOOL_CALLS: 1,
}
"""How streams end, by how often."""


async def add_usage(
    server: Running,
    days: int,
    models: Sequence[str] = ("grok-4-1-fast", "claude-sonnet", "gemini-flash"),
    clients: Sequence[str] = ("tellstream-page", "console", "shop"),
    *,
    tenant: int = 1,
    seed: int = 7,
    most: int = 4,
    failing: bool = False,
) -> list[Settlement]:
    """Settle streams on each of so many days before today, in a pattern made of ``seed``.

    Args:
        server: whose ledger it is.
        days: how many.
        models: that were asked, the first ones more often.
        clients: that asked, likewise.
        tenant: whose streams they are.
        seed: of the pattern.
        most: streams of one day.
        failing: each failed before any content.
    """
    source = random.Random(seed)
    today = int(server.services.clock()) // DAY * DAY
    ledger = server.services.ledger
    rows = []
    for back in range(1, days + 1):
        for number in range(source.randint(0, most)):
            name = f"str_past_{tenant}_{back}_{number}"
            finished = today - back * DAY + 3600 + number
            asked, by = _one(source, models), _one(source, clients)
            row = UsageRow(name, tenant, "usr_1", by, asked, finished)
            settlement = _settlement(source, asked, 6.0 + 0.4 * models.index(asked), finished)
            if failing:
                settlement = Settlement(
                    "sim", asked, finished, FinishReason.ERROR, Usage(), estimated=False
                )
            rows.append((row, settlement))
    return await asyncio.gather(
        *(ledger.settle(tenant, row.stream_id, one, row=row) for row, one in rows)
    )


def _settlement(source: random.Random, model: str, pace: float, finished: int) -> Settlement:
    """Make up what a stream used and how it ended; ``pace`` is how slowly its model begins."""
    prompt, completion = source.randint(500, 9000), source.randint(200, 4000)
    thought = source.choice((None, completion // 3))
    (end,) = source.choices(list(ENDS), list(ENDS.values()))
    first: int | None = int(source.lognormvariate(pace, 0.45))
    if end is FinishReason.ERROR and source.random() < 0.5:
        first, completion, thought = None, 0, None
    return Settlement(
        "sim",
        model,
        finished,
        end,
        Usage(prompt, completion, None, prompt // 2, thought),
        estimated=end is FinishReason.CANCELLED,
        cost=(prompt * 2 + completion * 10) * COST_UNITS // 1_000_000,
        first_token_ms=first,
    )


def _one(source: random.Random, names: Sequence[str]) -> str:
    """Choose one; the first ones more often."""
    return source.choices(names, range(len(names), 0, -1))[0]
