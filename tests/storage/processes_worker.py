"""A process that uses the ledger at an address; driven by ``test_processes``.

Says "ready" when the ledger is open, waits for a line, does what it was told, prints what it got.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from support.ledgers import row, settlement
from tellstream.storage.ledger import SqlLedger


def ledger_at(address: str) -> SqlLedger:
    """A ledger; of what only the other kind needs, nothing is imported."""
    if address.startswith("sqlite:"):
        from tellstream.storage.sqlite import SqliteLedger  # noqa: PLC0415

        return SqliteLedger(Path(address.removeprefix("sqlite:")))
    from tellstream.storage.postgresql import PostgresqlLedger  # noqa: PLC0415

    return PostgresqlLedger(address)


async def main(address: str, task: str, number: int) -> None:
    if task == "start":  # the race is about opening the file
        go()
    ledger = ledger_at(address)
    await ledger.start()
    if task == "settle":
        go()
        told = {}
        order = range(200) if number == 1 else range(199, -1, -1)  # they meet in the middle
        for n in order:
            settled = await ledger.settle(1, f"str_{n}", settlement(number))
            told[n] = settled.usage.prompt_tokens
        sys.stdout.write(" ".join(str(told[n]) for n in range(200)))
    elif task == "open":
        go()
        await asyncio.gather(*(ledger.open(row(f"str_{number}_{n}")) for n in range(200)))
    elif task == "die":
        await ledger.open(row("str_dying"))
        os.kill(os.getpid(), signal.SIGKILL)
    await ledger.close()


def go() -> None:
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
