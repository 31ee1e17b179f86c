"""Several processes on one file: real ones, also killed."""

import asyncio
import os
import signal
import sqlite3
import sys
from pathlib import Path

from support.ledgers import NOON, row, settled, settlement, stored
from tellstream.storage.sqlite import SqliteLedger

TESTS = Path(__file__).parents[1]
WORKER = Path(__file__).with_name("processes_worker.py")
SECONDS = 60.0


class Worker:
    """A process of ``processes_worker``."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @classmethod
    async def start(cls, path: Path, task: str, number: int = 0) -> "Worker":
        environment = os.environ | {"PYTHONPATH": f"{TESTS.parent / 'src'}:{TESTS}"}
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(WORKER), str(path), task, str(number), env=environment,
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


async def together(path: Path, task: str, count: int = 2) -> list[str]:
    """Run a task in several processes at once."""
    workers = [await Worker.start(path, task, number) for number in range(1, count + 1)]
    await asyncio.gather(*(worker.ready() for worker in workers))
    return await asyncio.gather(*(worker.finish() for worker in workers))


async def test_processes_that_start_at_once_on_no_file_make_one(path: Path) -> None:
    await together(path, "start", 4)
    assert stored(path) == []
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("0001",)]
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


async def test_two_processes_that_settle_the_same_rows_agree(
    ledger: SqliteLedger, path: Path
) -> None:
    await asyncio.gather(*(ledger.open(row(f"str_{n}")) for n in range(200)))
    told = await together(path, "settle")
    assert told[0] == told[1]
    kept = dict(stored(path, "stream_id, prompt_tokens"))
    assert told[0].split() == [str(kept[f"str_{n}"]) for n in range(200)]
    assert set(kept.values()) == {1, 2}  # each was first somewhere
    # And a third that comes later is told the same.
    late = await ledger.settle(1, "str_0", settlement(99))
    assert late.usage.prompt_tokens == kept["str_0"]


async def test_two_processes_that_open_rows_lose_none(path: Path) -> None:
    await together(path, "open")
    assert stored(path, "count(*), 0") == [(400, 0)]


async def test_a_row_whose_process_was_killed_waits_to_be_settled(
    ledger: SqliteLedger, path: Path
) -> None:
    await settled(ledger, "str_done")
    worker = await Worker.start(path, "die")
    await worker.finish(-signal.SIGKILL)
    waiting = await ledger.unsettled(NOON, 10)
    assert waiting == [row("str_dying")]
    assert await ledger.settle(1, "str_dying", settlement(7)) == settlement(7)
    assert await ledger.unsettled(NOON, 10) == []


async def test_a_process_waits_for_another_that_writes(ledger: SqliteLedger, path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    opening = asyncio.ensure_future(ledger.open(row()))
    await asyncio.sleep(0.1)
    assert not opening.done()
    other.execute("COMMIT")
    other.close()
    await opening
    assert len(stored(path)) == 1
