"""1,000 sequential and 300 concurrent streams leave the server's memory flat."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import psutil
import pytest

from support.chat import parse

GROWTH: float = 8 * 1024 * 1024
"""Bytes that 1,300 finished streams may leave behind; unpacked they would hold three times that."""


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[tuple[str, int, str]]:
    environment = {**os.environ, "TELLSTREAM_STREAMS__DRAIN_SECONDS": "0.1"}
    arguments = [sys.executable, "-m", "tellstream"]
    process = await asyncio.create_subprocess_exec(
        *arguments, "serve", "--port", "0", cwd=tmp_path, env=environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    url = (await process.stdout.readline()).decode().split()[4]
    sign = await asyncio.create_subprocess_exec(
        *arguments, "token", "--tenant", "1", cwd=tmp_path, stdout=asyncio.subprocess.PIPE
    )
    token = (await sign.communicate())[0].decode().strip()
    try:
        yield url, process.pid, token
    finally:
        process.terminate()
        await process.communicate()


@pytest.mark.timeout(400)
async def test_memory_is_flat(server: tuple[str, int, str]) -> None:
    url, pid, token = server
    process = psutil.Process(pid)
    headers = {"Authorization": f"Bearer {token}", "X-Tenant": "1"}
    async with aiohttp.ClientSession(
        headers=headers, connector=aiohttp.TCPConnector(limit=0)
    ) as session:

        async def one() -> None:
            body = {"prompt": "x", "model": "sim-fast"}
            while True:
                async with session.post(f"{url}/v1/chat/stream", json=body) as response:
                    if response.status == 200:
                        parse(await response.read())
                        return
                    assert response.status == 503  # a busy machine, and an advice for how long
                    await asyncio.sleep(int(response.headers["Retry-After"]))

        async def round_of_streams() -> int:
            for _ in range(1000):
                await one()
            await asyncio.gather(*(one() for _ in range(300)))
            await asyncio.sleep(1)  # the log is swept in the background
            return process.memory_info().rss

        for _ in range(2):  # until caches, pools and bounded histories are full
            before = await round_of_streams()
        after = await round_of_streams()
    assert after - before < GROWTH
