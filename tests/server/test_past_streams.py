"""A stream whose log is gone: it is still known how it ended, to those who may know of it."""

from pathlib import Path

import aiohttp

from server.conftest import tables
from support.chat import ask
from support.replay import ReplayProvider
from support.server import tellstream
from tellstream.providers.simulator import Simulator


async def test_after_a_restart_without_the_log_the_state_is_that_of_the_usage_row(
    tmp_path: Path, simulator: Simulator, replay: ReplayProvider
) -> None:
    configured = tables(simulator, replay, eventlog={"url": "memory"})
    async with tellstream(tmp_path, **configured) as server:
        reply = await ask(server, {"prompt": "x"})
        stream_id = reply.headers["X-Stream-Id"]
        path = f"/v1/streams/{stream_id}"
        async with (
            aiohttp.ClientSession() as session,
            session.get(server.url + path, headers=server.headers()) as response,
        ):
            before = (await response.json())["data"]
    async with (
        tellstream(tmp_path, **configured) as server,
        aiohttp.ClientSession(server.url) as session,
    ):
        async with session.get(path, headers=server.headers()) as response:
            assert (await response.json())["data"] == {**before, "attempts": []}
        async with session.get(f"{path}/events", headers=server.headers()) as response:
            assert (response.status, (await response.json())["error"]) == (410, "gone")
        async with session.post(f"{path}/cancel", headers=server.headers()) as response:
            assert (response.status, (await response.json())["data"]["state"]) == (202, "finished")
        for headers in (server.headers(subject="other"), server.headers(2)):
            for suffix in ("", "/events"):
                async with session.get(path + suffix, headers=headers) as response:
                    assert response.status == 404
