"""``tellstream admin`` as an operator meets it: real processes, every command."""

import csv
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer

from support.canaries import contents, leaks
from support.homes import PostgresqlHome
from support.postgres import postgres_server
from tellstream.cli.admin import app
from tellstream.core.usage import FinishReason, Usage
from tellstream.storage.base import Settlement, UsageRow
from tellstream.storage.sqlite import SqliteLedger

COMMAND = [sys.executable, "-m", "tellstream", "admin"]
SECONDS = 150
PASSWORD = "canary of a good password"
CLIENT = "client create --name N --tenant 7 --json"
USER = "user create --email Ann@a.example --password-stdin --tenant 7 --json"
UPDATE = "tenant update --tenant 7 --system Hi --json"
KEY = "sk-canary-3f9a1c77e2b8d4"


class Said(NamedTuple):
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.code == 0, self
        return json.loads(self.out)


class Operator:
    """Runs commands in a folder.

    Attributes:
        done: the commands that were run.
        said: everything they said.
    """

    def __init__(self, folder: Path, worker: "subprocess.Popen[str]") -> None:
        self.folder = folder
        self.done: set[str] = set()
        self.said: list[Said] = []
        self._worker = worker

    def alone(self, line: str, given: str = "") -> Said:
        """Run a command as a shell does; ``line`` holds no spaces within arguments."""
        result = subprocess.run(
            [*COMMAND, *line.split()], cwd=self.folder, input=given.encode(),
            capture_output=True, timeout=SECONDS, check=False,
        )  # fmt: skip
        return self._note(line, result.returncode, result.stdout, result.stderr)

    def run(self, line: str, *more: str, given: str = "") -> Said:
        """Run a command in a process that has everything loaded: see ``commands_worker``."""
        with tempfile.TemporaryDirectory() as folder:
            files = [Path(folder) / name for name in ("in", "out", "err")]
            files[0].write_text(given)
            arguments = ["admin", *line.split(), *more]
            request = json.dumps([arguments, str(self.folder), [str(file) for file in files]])
            assert self._worker.stdin is not None
            assert self._worker.stdout is not None
            print(request, file=self._worker.stdin, flush=True)
            code = int(self._worker.stdout.readline())
            return self._note(line, code, files[1].read_bytes(), files[2].read_bytes())

    def _note(self, line: str, code: int, out: bytes, err: bytes) -> Said:
        self.done.add(" ".join(word for word in line.split()[:2] if not word.startswith("-")))
        self.said.append(Said(code, out.decode(), err.decode()))
        return self.said[-1]


@pytest.fixture(scope="session")
def worker() -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, str(Path(__file__).with_name("commands_worker.py"))]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process


@pytest.fixture
def operator(tmp_path: Path, worker: "subprocess.Popen[str]") -> Operator:
    return Operator(tmp_path, worker)


def commands() -> Iterator[tuple[str, Any]]:
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        if hasattr(command, "commands"):
            yield from ((f"{name} {verb}", one) for verb, one in command.commands.items())
        else:
            yield name, command


async def used(path: Path) -> None:
    """Let tenant 7 have finished a stream."""
    ledger = SqliteLedger(path)
    await ledger.start()
    usage = Usage(prompt_tokens=3, completion_tokens=5)
    row = UsageRow("str_1", 7, "ann", "shop", "=fast", 1_767_225_600)
    settlement = Settlement(
        "sim", "m", 1_767_225_700, FinishReason("Stop"), usage, False, 1_500_000_000, 420
    )
    await ledger.settle(7, "str_1", settlement, row=row)
    await ledger.close()


async def test_every_command_does_what_it_says(operator: Operator) -> None:
    run = operator.run
    # What other programs depend on, as they run it.
    client = operator.alone(f"{CLIENT} --redirect-uri https://a.example/cb --scope chat")
    user = operator.alone(USER, f"{PASSWORD}\n")
    tenant = run(
        "tenant create --tenant 7 --models * --limit concurrent_streams=20 --json", "--name", "A B"
    ).json
    assert (tenant["name"], tenant["limits"]) == ("A B", {"concurrent_streams": 20})
    await used(operator.folder / ".tellstream/tellstream.db")
    public = run(f"{CLIENT} --redirect-uri http://[::1]/ --public --grant authorization_code")
    put = "credential put --tenant 7 --provider openai --key-stdin --label main --json"
    credential = run(put, given=KEY)
    changed = run(f"{UPDATE} --limit tokens_per_day=5 --limit concurrent_streams=none")
    rotated = run("keys rotate --json").json
    made = client.json
    assert len(made["client_secret"]) == 43
    assert (made["redirect_uris"], made["scope"], made["tenants"]) == (
        ["https://a.example/cb"], "chat", [7],
    )  # fmt: skip
    assert "client_secret" not in public.json
    assert public.json["grant_types"] == ["authorization_code"]
    assert (user.json["email"], user.json["tenants"]) == ("ann@a.example", [7])
    assert credential.json.keys() == {"provider", "label", "last4", "created_at"}
    assert "no model has a target at openai" in credential.err
    assert changed.json["limits"] == {"tokens_per_day": 5}
    assert changed.json["system"] == "Hi"

    report = "usage --tenant 7 --from 2026-01-01 --to 2026-01-31"
    lists = [
        run("tenant list --json"),
        run("client list --json"),
        run("user list --json"),
        run("credential list --tenant 7 --json"),
        run("keys list --json"),
        run("tenant show --tenant 7"),
        run(f"client show --client-id {made['client_id']}"),
        run(f"{report} --by model --csv"),
        run(f"{report} --json"),
    ]
    assert [row["id"] for row in lists[0].json] == [7]
    assert {row["client_id"] for row in lists[1].json} == {
        made["client_id"], public.json["client_id"],
    }  # fmt: skip
    assert made["client_secret"] not in lists[1].out
    assert [row["email"] for row in lists[2].json] == ["ann@a.example"]
    assert lists[3].json == [credential.json]
    assert [key["signs"] for key in lists[4].json] == [True, False]
    assert lists[4].json[1]["kid"] == rotated["kid"]
    assert "name: A B\n" in lists[5].out
    assert "scope: chat\n" in lists[6].out
    (row,) = csv.DictReader(io.StringIO(lists[7].out))
    assert (row["model"], row["prompt_tokens"], row["cost"]) == ("=fast", "3", "1.500000000")
    assert (row["finish_reasons.Stop"], row["first_token_ms.p50"]) == ("1", "420")
    assert [(row["day"], row["streams"]) for row in lists[8].json] == [("2026-01-01", 1)]
    assert lists[8].json[0]["first_token_ms"]["counts"] == {"500": 1}

    assert run("tenant suspend --tenant 7 --json").json["suspended_at"]
    assert run("tenant resume --tenant 7 --json").json["suspended_at"] is None
    done = {"added": True, "encrypted": 1, "needed": 0, "dropped": True}
    assert run("secrets rotate --json").json == done
    reset = "user password --email ann@a.example --password-stdin --must-change --json"
    assert run(reset, given="another good one").json["must_change"]
    assert run(f"client delete --client-id {made['client_id']}").out == "Deleted.\n"
    assert run("user delete --email ann@a.example --json").json["deleted"]
    assert run("credential delete --tenant 7 --provider openai").code == 0
    assert run("migrate --json").json["revision"]
    assert "there are more: --before" in run("audit list --limit 1").err
    log = run("audit list --tenant 7 --json").json
    assert log["meta"] == {"cursor": None, "has_more": False}
    assert {event["act"] for event in log["data"]} == {
        "tenant.created", "tenant.updated", "tenant.suspended", "tenant.resumed",
        "client.created", "client.deleted", "user.created", "user.reset", "user.deleted",
        "credential.put", "credential.deleted",
    }  # fmt: skip
    assert all(event["subject"].startswith("cli:") for event in log["data"])

    assert operator.done == {name for name, _ in commands()}  # a new command needs a line here
    texts: dict[str, str | bytes] = {str(n): s.out + s.err for n, s in enumerate(operator.said)}
    texts |= contents([operator.folder])
    assert any(name.endswith("tellstream.db") for name in texts)
    assert leaks({"key": KEY, "password": PASSWORD}, texts) == []


GARBAGE = [
    ("tenant create --tenant 7 --limit nope=1", "", "limits: has a field that is not known"),
    ("tenant create --tenant 7 --limit prompt_chars=x", "", "--limit prompt_chars: must be"),
    ("tenant create --tenant 7 --limit prompt_chars", "", "must be NAME=VALUE"),
    ("tenant create --tenant 7 --models none", "", "models: match no model"),
    ("tenant update --tenant 7", "", "nothing to change"),
    ("tenant show --tenant 8", "", "not found"),
    ("client create --name N --redirect-uri ftp://x --tenant 1", "", "a redirect URI is"),
    ("client create --name N --tenant 1 --scope root", "", "scopes of a client"),
    ("client create --name N --tenant 1 --public --no-pkce", "", "must use PKCE"),
    ("client delete --client-id x", "", "not found"),
    ("user create --email a@b --tenant 1", PASSWORD, "--password-stdin is required"),
    ("user create --email a@b --tenant 1 --password-stdin", "", "in one line"),
    ("user create --email a@b --tenant 1 --password-stdin", "a\nb", "in one line"),
    ("user create --email a@b --tenant 1 --password-stdin", "short", "password: Use at least"),
    ("user create --email no --tenant 1 --password-stdin", PASSWORD, "email: that is no email"),
    ("user delete --email a@b", "", "not found"),
    ("credential put --tenant 1 --provider x --key-stdin", "two words", "key: must be"),
    ("credential put --tenant 8 --provider x --key-stdin", KEY, "not found"),
    ("credential delete --tenant 1 --provider x", "", "not found"),
    ("usage --tenant 1 --from 2026-13-01", "", "--from: must be a day"),
    ("usage --tenant 1 --csv --json", "", "exclude each other"),
    ("keys list --config missing.toml", "", "missing.toml"),
]


def test_what_is_wrong_is_one_line_and_exit_code_1(operator: Operator) -> None:
    assert operator.run("tenant list").code == 0
    for line, given, expected in GARBAGE:
        one = operator.run(line, given=given)
        assert one.code == 1, (line, one)
        assert one.out == "", line
        assert one.err.startswith("tellstream: "), one
        assert len(one.err.splitlines()) == 1, one
        assert expected in one.err, (line, one.err)
        assert not given or given not in one.err, line


def test_secrets_are_never_arguments(operator: Operator) -> None:
    for name, command in commands():
        for parameter in command.params:
            words = " ".join(parameter.opts)
            if any(word in words for word in ("password", "key", "secret", "token")):
                assert parameter.is_flag, (name, words)
        assert {"--config", "--json"} <= {o for p in command.params for o in p.opts}, name
    refused = operator.run("user create --email a@b --tenant 1 --password", PASSWORD)
    assert refused.code == 2
    refused = operator.run(f"credential put --tenant 1 --provider x --key={KEY}")
    assert refused.code == 2
    assert KEY not in refused.err


def test_the_file_wins_and_an_unreadable_argument_is_refused(operator: Operator) -> None:
    file = operator.folder / "tellstream.toml"
    file.write_text('[tenants.7]\nname = "File"\n')
    said = operator.run("tenant create --tenant 7 --name Store --json")
    assert said.json["shadowed_by_file"] is True
    assert "configuration file" in said.err
    said = operator.run("tenant update --tenant 7 --name", os.fsdecode(b"\xff"))
    assert (said.code, said.out) == (1, "")
    assert "UTF-8" in said.err


def test_a_database_that_cannot_be_used_is_one_line(operator: Operator) -> None:
    file = operator.folder / "tellstream.toml"
    canary = "canary-of-a-password"
    file.write_text(f'[store]\nurl = "postgresql://u:{canary}@127.0.0.1:1/x"\n')
    (operator.folder / "damaged").mkdir(mode=0o700)
    database = operator.folder / "damaged" / "tellstream.db"
    database.write_bytes(b"no database" * 1000)
    database.chmod(0o600)
    (operator.folder / "other.toml").write_text('data_dir = "damaged"\n')
    for line in ("tenant list", "migrate", "user list --config other.toml"):
        said = operator.run(line)
        assert (said.code, said.out, len(said.err.splitlines())) == (1, "", 1), said
        assert canary not in said.err


def test_clients_of_earlier_versions_are_there(operator: Operator) -> None:
    from tellstream.auth.clients import ClientRegistry  # noqa: PLC0415 - used here only

    folder = operator.folder / ".tellstream"
    old, _ = ClientRegistry(folder).create("Bot", [], ["chat"], [1], public=False)
    assert [row["client_id"] for row in operator.run("client list --json").json] == [old.client_id]


def test_postgresql_is_migrated_and_administered(operator: Operator) -> None:
    with postgres_server() as server:
        home = PostgresqlHome(server, server.database())
        file = operator.folder / "tellstream.toml"
        file.write_text(f'[store]\nurl = "{home.address}"\n')
        said = operator.run("tenant list")
        assert said.code == 1
        assert "tellstream admin migrate" in said.err
        assert operator.run("migrate --json").json["revision"]
        made = operator.run("tenant create --tenant 7 --json")
        rotated = operator.run("keys rotate --json")
        line = "credential put --tenant 1 --provider x --key-stdin --json"
        put = operator.run(line, given=KEY)
        assert (made.json["id"], put.json["last4"]) == (7, "b8d4")
        kids = [key["kid"] for key in operator.run("keys list --json").json]
        assert rotated.json["kid"] in kids
        assert home.ask("SELECT act FROM audit_events WHERE act = 'store.migrated'")
    assert not (operator.folder / ".tellstream/tellstream.db").exists()
