"""A client that does not read: it costs its own connection, nothing else."""

import asyncio
import socket
import time
from pathlib import Path

import pytest

from server.conftest import LOGS, tables
from support.chat import ask
from support.replay import ReplayProvider
from support.server import tellstream
from tellstream.providers.simulator import Simulator


@pytest.mark.parametrize("log", LOGS)
async def test_a_client_that_stops_reading_is_cut_off_and_the_stream_goes_on(
    tmp_path: Path,
    simulator: Simulator,
    replay: ReplayProvider,
    monkeypatch: pytest.MonkeyPatch,
    log: str,
    request: pytest.FixtureRequest,
) -> None:
    monkeypatch.setattr("tellstream.server.http_protocol.WRITE_SECONDS", 0.3)
    models = {
        "long": {"targets": ["sim/sim:words=15000"]},
        "plain": {"targets": ["sim/sim:words=5"]},
    }
    tenants = {"1": {"model": "plain"}}
    streams = {"detach_seconds": 60}
    configuration = tables(
        simulator,
        replay,
        models=models,
        tenants=tenants,
        streams=streams,
        eventlog={"url": LOGS[log](request)},
    )
    async with tellstream(tmp_path, send_buffer=65536, **configuration) as server:
        host, port = server.url.removeprefix("http://").split(":")
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect((host, int(port)))
        body = b'{"prompt": "x", "model": "long"}'
        headers = "".join(f"{name}: {value}\r\n" for name, value in server.headers().items())
        client.sendall(
            f"POST /v1/chat/stream HTTP/1.1\r\nHost: x\r\n{headers}"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        # Others are served as ever meanwhile, and the producer does not wait for the slow one.
        assert (await ask(server, {"prompt": "x"})).transcript.finish_reason == "Stop"
        deadline = time.monotonic() + 10
        while server.services.streams.running:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        client.settimeout(10)
        received = await asyncio.to_thread(drain, client)
    assert b"event: stream_start" in received
    assert b"event: stream_end" not in received


def drain(client: socket.socket) -> bytes:
    """Begin to read only after the cut-off; returns what had still been sent."""
    time.sleep(1.0)
    received = b""
    with client:
        try:
            while chunk := client.recv(65536):
                received += chunk
        except ConnectionResetError:
            pass
    return received
