"""``tellstream doctor`` against providers that are well, down, refusing and buffering."""

import asyncio
import sys
from pathlib import Path

import pytest

from support.server import toml
from tellstream.providers.simulator import Simulator


async def doctor(folder: Path, **tables: object) -> tuple[int, str]:
    file = folder / "tellstream.toml"
    file.write_text("".join(f"{name} = {toml(value)}\n" for name, value in tables.items()))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tellstream", "doctor", "--config", str(file), cwd=folder,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode or 0, output.decode()


async def diagnose(folder: Path, script: str, base_url: str | None = None) -> tuple[int, str]:
    async with Simulator() as simulator:
        provider = {"dialect": "openai-chat", "base_url": base_url or f"{simulator.url}/v1"}
        return await doctor(
            folder,
            providers={"p": {**provider, "api_key": "planted-key"}},
            models={"m": {"targets": [f"p/{script}"]}},
        )


async def test_a_provider_that_is_well(tmp_path: Path) -> None:
    code, output = await diagnose(tmp_path, "sim:words=20,delay_ms=10,first_ms=50")
    assert code == 0, output
    line = output.splitlines()[-1]
    assert line.startswith("ok      p/sim:words=20")
    assert "first token after" in line


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("sim:status=401", "provider_auth"),
        ("sim:status=404", "provider_rejected"),
        ("sim:words=9,fault=eof,at=4", "upstream_truncated"),
        ("sim:words=20,together=1", "something on the way buffers"),
        ("sim:words=0", "empty"),
    ],
)
async def test_a_provider_that_is_not(tmp_path: Path, script: str, says: str) -> None:
    code, output = await diagnose(tmp_path, script)
    assert code == 1
    assert says in output
    assert "planted-key" not in output


async def test_a_provider_that_is_not_there(tmp_path: Path) -> None:
    code, output = await diagnose(tmp_path, "m", base_url="http://127.0.0.1:1/v1")
    assert code == 1
    assert "provider_unavailable" in output


async def test_a_bad_configuration(tmp_path: Path) -> None:
    code, output = await doctor(tmp_path, zzz=1)
    assert code == 1
    assert "zzz" in output
