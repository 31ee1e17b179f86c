"""A ledger in a file of its own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tellstream.storage.sqlite import SqliteLedger


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "tellstream.db"


@pytest.fixture
async def ledger(path: Path) -> AsyncIterator[SqliteLedger]:
    ledger = SqliteLedger(path)
    await ledger.start()
    yield ledger
    await ledger.close()
