"""Several processes on one database: real ones, also killed."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from support.homes import Home, SqliteHome
from support.ledger_calls import open_row
from support.ledgers import NOON, row, settled, settlement
from tellstream.storage import migrate
from tellstream.storage.ledger import SqlLedger

TESTS = Path(__file__).parents[1]
WORKER = Path(__file__).with_name("processes_worker.py")
SECONDS = 60.0


class Worker:
    """A process of ``processes_worker``."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @classmethod
    async def start(cls, home: Home, task: str, number: int = 0) -> "Worker":
        environment = os.environ | {"PYTHONPATH": f"{TESTS.parent / 'src'}:{TESTS}"}
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(WORKER), home.address, task, str(number), env=environment,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        return cls(process)

    async def ready(self) -> None:
        assert self.process.stdout is not None
        assert await asyncio.wait_for(self.process.stdout.readline(), SECONDS) == b"ready\n"

    async def finish(self, status: int = 0) -> str:
        """Let it go; returns what it printed."""
        output, _ = await asyncio.wait_for(self.process.communicate(b"\n"), SECONDS)
        assert self.process.returncode == status
        return output.decode()


async def together(home: Home, task: str, count: int = 2) -> list[str]:
    """Run a task in several processes at once."""
    workers = [await Worker.start(home, task, number) for number in range(1, count + 1)]
    await asyncio.gather(*(worker.ready() for worker in workers))
    return await asyncio.gather(*(worker.finish() for worker in workers))


async def test_processes_that_start_at_once_on_no_file_make_one(path: Path) -> None:
    sqlite_home = SqliteHome(path)
    await together(sqlite_home, "start", 4)
    assert sqlite_home.stored() == []
    ask = sqlite_home.ask
    assert ask("SELECT version_num FROM alembic_version") == [(migrate.NEWEST,)]
    assert ask("PRAGMA journal_mode") == [("wal",)]
    assert ask("PRAGMA integrity_check") == [("ok",)]


async def test_two_processes_that_settle_the_same_rows_agree(ledger: SqlLedger, home: Home) -> None:
    await asyncio.gather(*(open_row(ledger, row(f"str_{n}")) for n in range(200)))
    told = await together(home, "settle")
    assert told[0] == told[1]
    kept = dict(home.stored("stream_id, prompt_tokens"))
    assert told[0].split() == [str(kept[f"str_{n}"]) for n in range(200)]
    assert set(kept.values()) == {1, 2}  # each was first somewhere
    # And a third that comes later is told the same.
    late = await ledger.settle(1, "str_0", settlement(99))
    assert late.usage.prompt_tokens == kept["str_0"]


async def test_two_processes_that_open_rows_lose_none(home: Home) -> None:
    await together(home, "open")
    assert home.stored("count(*), 0") == [(400, 0)]


async def test_a_row_whose_process_was_killed_waits_to_be_settled(
    ledger: SqlLedger, home: Home
) -> None:
    await settled(ledger, "str_done")
    worker = await Worker.start(home, "die")
    await worker.finish(-signal.SIGKILL)
    waiting = await ledger.unsettled(NOON, 10)
    assert waiting == [row("str_dying")]
    assert await ledger.settle(1, "str_dying", settlement(7)) == settlement(7)
    assert await ledger.unsettled(NOON, 10) == []


async def test_a_process_waits_for_another_that_writes(ledger: SqlLedger, home: Home) -> None:
    with home.blocked():
        opening = asyncio.ensure_future(open_row(ledger, row()))
        await asyncio.sleep(0.1)
        assert not opening.done()
    await opening
    assert len(home.stored()) == 1
