"""Usage rows as if streams had finished on earlier days."""

import random
from collections.abc import Iterable

from support.server import Running
from tellstream.core.usage import FinishReason, Usage
from tellstream.storage.base import COST_UNITS, Settlement, UsageRow

DAY = 86_400


async def add_usage(
    server: Running,
    days: int,
    models: Iterable[str] = ("grok-4-1-fast", "claude-sonnet", "gemini-flash"),
    clients: Iterable[str] = ("tellstream-page", "console", "shop"),
    *,
    tenant: int = 1,
    seed: int = 7,
) -> list[Settlement]:
    """Settle some streams on each of so many days before today, in a pattern made of ``seed``."""
    source = random.Random(seed)
    today = int(server.services.clock()) // DAY * DAY
    settled = []
    for back in range(1, days + 1):
        for number in range(source.randint(0, 4)):
            name = f"str_past_{tenant}_{back}_{number}"
            finished = today - back * DAY + 3600 + number
            row = UsageRow(
                name,
                tenant,
                "usr_1",
                source.choice(list(clients)),
                source.choice(list(models)),
                finished,
            )
            prompt, completion = source.randint(500, 9000), source.randint(200, 4000)
            thought = source.choice((None, completion // 3))
            usage = Usage(prompt, completion, None, prompt // 2, thought)
            cost = (prompt * 2 + completion * 10) * COST_UNITS // 1_000_000
            settlement = Settlement(
                "sim", row.model, finished, FinishReason.STOP, usage, estimated=False, cost=cost
            )
            await server.services.ledger.open(row)
            settled.append(await server.services.ledger.settle(tenant, name, settlement, row=row))
    return settled
