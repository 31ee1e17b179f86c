"""What must not start does not, and what a first start makes is shown once (rule A18)."""

import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from support.processes import NotStartedError, servers
from support.remote import admin
from tellstream.storage.master_key import FILE_NAME as MASTER_KEY

SECONDS = 150
EXTERNAL = '[[auth.issuers]]\nissuer = "https://login.example"\naudience = "x"\n'


def refused(folder: Path, *arguments: str) -> str:
    """Start a server that must refuse; gives its last words, which are one line."""
    command = [sys.executable, "-m", "tellstream", "serve", "--port", "0", *arguments]
    ended = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert ended.returncode != 0, "it started"
    assert "Try it:" not in ended.stdout
    last: str = ended.stderr.splitlines()[-1]
    assert last.startswith("tellstream: "), ended.stderr
    return last


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ('public_url = "http://chat.example.com"', "public_url"),
        ('public_url = "https://user@chat.example.com"', "public_url"),
        (EXTERNAL.replace("https", "http") + "tenants = [1]", "issuer"),
        (EXTERNAL + "tenants = []", "tenants"),
        (EXTERNAL + "tenants = [1]\nalgorithms = ['HS256']", "algorithms"),
        (EXTERNAL + "tenants = [1]\nalgorithms = ['none']", "algorithms"),
        (EXTERNAL + 'tenants = [1]\nintrospection_url = "https://login.example/x"', "go together"),
    ],
    ids=lambda value: value[-40:],
)
def test_a18_a_start_that_would_not_be_safe_is_refused(
    tmp_path: Path, toml: str, says: str
) -> None:
    (tmp_path / "bad.toml").write_text(toml)
    assert says in refused(tmp_path, "--config", "bad.toml")


def test_without_any_issuer_nothing_starts(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("[auth]\nembedded = false")
    assert "auth.embedded" in refused(tmp_path, "--config", "bad.toml")


async def test_a18_the_first_administrator_is_shown_once(tmp_path: Path) -> None:
    async with servers(tmp_path) as pool:
        first = await pool.start()
        found = re.search(r"First administrator: (\S+), .* password (\S+)", first.banner)
        assert found
        email, password = found.groups()
        assert first.banner.count(password) == 1
        assert password not in first.errors
        await first.stop()
        second = await pool.start()
        assert "First administrator" not in second.banner
        assert password not in second.banner + second.errors
        await second.stop()
    stored = b"".join(p.read_bytes() for p in (tmp_path / ".tellstream").iterdir() if p.is_file())
    assert email.encode() in stored
    assert password.encode() not in stored
    hashes = sqlite3.connect(tmp_path / ".tellstream" / "tellstream.db")
    try:
        ((stored_hash, must_change),) = hashes.execute(
            "SELECT password_hash, must_change FROM users"
        ).fetchall()
    finally:
        hashes.close()
    assert stored_hash.startswith("$argon2id$")
    assert must_change == 1


@pytest.mark.parametrize("how", ["missing", "another", "short", "open to others"])
async def test_a18_without_the_right_master_key_nothing_starts(tmp_path: Path, how: str) -> None:
    tables = {"providers": {"openai": {"api_key": "none"}}, "tenants": {"1": {}}}
    async with servers(tmp_path, **tables) as pool:
        arguments = ("credential", "put", "--tenant", "1", "--provider", "openai", "--key-stdin")
        await admin(pool, *arguments, stdin="sk-0123456789abcdef")
        file = tmp_path / ".tellstream" / MASTER_KEY
        lines = file.read_text().splitlines()
        match how:
            case "missing":
                file.unlink()
            case "another":
                file.write_text("A" * 43 + "=\n")
            case "short":
                file.write_text(lines[-1][:20] + "\n")
            case _:
                file.chmod(0o644)
        with pytest.raises(NotStartedError) as ended:
            await pool.start()
    assert str(ended.value).splitlines()[-1].startswith("tellstream: ")
