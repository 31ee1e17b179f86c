"""The command line as a user meets it: real processes, their output and exit codes."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

COMMAND = [sys.executable, "-m", "tellstream"]
SECONDS = 120


def run(*arguments: str, cwd: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], cwd=cwd, capture_output=True, text=True, timeout=SECONDS,
        check=False, **options,
    )  # fmt: skip


@contextmanager
def serving(
    cwd: Path, *arguments: str, env: dict[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Run ``tellstream serve`` on a free port; gives the process and its banner."""
    process = subprocess.Popen(
        [*COMMAND, "serve", "--port", "0", *arguments], cwd=cwd, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **(env or {})},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        banner: list[str] = []
        while not banner or not banner[-1].startswith("  curl"):
            line = process.stdout.readline()
            assert line, process.communicate()[1]
            banner.append(line.rstrip())
        yield process, banner
    finally:
        process.kill()
        process.communicate()


def url_of(banner: list[str]) -> str:
    found = re.search(r"listens on (\S+)", banner[0])
    assert found
    return found[1]


def running_streams(url: str) -> int:
    with urllib.request.urlopen(f"{url}/readyz", timeout=5) as response:
        return int(json.load(response)["streams"])


class TestServe:
    def test_the_banner_says_what_is_offered(self, tmp_path: Path) -> None:
        with serving(tmp_path) as (_, banner):
            text = "\n".join(banner)
        assert "sim (default)" in text
        assert "the built-in simulator answers" in text

    def test_the_curl_line_works_as_pasted_from_anywhere(
        self, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        with serving(tmp_path) as (_, banner):
            answer = subprocess.run(
                ["sh", "-c", banner[-1]], cwd=tmp_path_factory.mktemp("else"),
                capture_output=True, text=True, timeout=SECONDS, check=True,
            )  # fmt: skip
        assert answer.stdout.startswith("id: 1\nevent: stream_start\n")
        assert "event: stream_end" in answer.stdout

    def test_a_provider_key_in_the_environment_is_found(self, tmp_path: Path) -> None:
        with serving(tmp_path, env={"XAI_API_KEY": "planted-key-1"}) as (process, banner):
            text = "\n".join(banner)
            assert "grok-4-1-fast-non-reasoning (default)" in text
            assert "simulator" not in text
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=SECONDS)
        assert "planted-key-1" not in text + errors

    @pytest.mark.parametrize(
        ("toml", "says"),
        [
            ("data_dir = 1\ny == 2", "line 2"),
            ("zzz = 1", "zzz"),
            ("[streams]\ncomit_seconds = 5", "streams.comit_seconds"),
            ("[streams]\ncommit_seconds = 'x'", "streams.commit_seconds"),
            ("[providers.xai]\napi_key = 'env:NOT_THERE_AT_ALL'", "NOT_THERE_AT_ALL"),
            ("[models.m]\ntargets = ['nobody/x']", "models.m.targets.0"),
            ("[store]\nurl = 'mysql://h/d'", "store.url"),
            ("[eventlog]\nurl = 'nats://h'", "eventlog.url"),
            ("public_url = 'http://example.com'", "public_url"),
        ],
        ids=lambda value: value[:30],
    )
    def test_garbage_configuration_is_one_clear_line(
        self, tmp_path: Path, toml: str, says: str
    ) -> None:
        file = tmp_path / "bad.toml"
        file.write_text(toml)
        result = run("serve", "--config", str(file), cwd=tmp_path)
        assert result.returncode == 1
        assert says in result.stderr
        assert result.stderr.startswith("tellstream: ")
        assert len(result.stderr.splitlines()) == 1
        assert result.stdout == ""

    def test_a_missing_configuration_file_is_named(self, tmp_path: Path) -> None:
        result = run("serve", "--config", "none.toml", cwd=tmp_path)
        assert result.returncode == 1
        assert "none.toml" in result.stderr
        assert len(result.stderr.splitlines()) == 1

    def test_a_busy_port_is_one_clear_line(self, tmp_path: Path) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = str(taken.getsockname()[1])
            result = run("serve", "--port", port, cwd=tmp_path)
        assert result.returncode == 1
        assert "Address already in use" in result.stderr
        assert port in result.stderr
        assert len(result.stderr.splitlines()) == 1

    def test_a_damaged_key_file_stops_the_start(self, tmp_path: Path) -> None:
        run("token", "--tenant", "1", cwd=tmp_path)
        key_file = next((tmp_path / ".tellstream").glob("*keys*"))
        assert key_file.stat().st_mode & 0o777 == 0o600
        key_file.write_text("{")
        result = run("serve", "--port", "0", cwd=tmp_path)
        assert result.returncode == 1
        assert key_file.name in result.stderr
        assert len(result.stderr.splitlines()) == 1

    def test_an_unwritable_data_directory_is_one_clear_line(self, tmp_path: Path) -> None:
        (tmp_path / ".tellstream").write_text("a file, not a folder")
        result = run("serve", "--port", "0", cwd=tmp_path)
        assert result.returncode == 1
        assert len(result.stderr.splitlines()) == 1

    def test_several_workers_are_refused_with_the_reason(self, tmp_path: Path) -> None:
        result = run("serve", "--workers", "2", cwd=tmp_path)
        assert result.returncode == 1
        assert "event log" in result.stderr

    def test_sigterm_ends_an_idle_server(self, tmp_path: Path) -> None:
        with serving(tmp_path) as (process, _):
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=5)

    def test_sigterm_fails_readiness_and_seals_what_does_not_finish(self, tmp_path: Path) -> None:
        environment = {"TELLSTREAM_STREAMS__DRAIN_SECONDS": "1.5"}
        with serving(tmp_path, env=environment) as (process, banner):
            pasted = banner[-1].replace('"Hello"', '"Hello", "model": "sim-stall"')
            with subprocess.Popen(["sh", "-c", pasted], stdout=subprocess.PIPE, text=True) as curl:
                assert curl.stdout is not None
                curl.stdout.readline()
                process.send_signal(signal.SIGTERM)
                time.sleep(0.3)
                with pytest.raises(urllib.error.HTTPError) as refused:
                    urllib.request.urlopen(url_of(banner) + "/readyz", timeout=5)
                with refused.value as answer:
                    assert answer.code == 503
                    assert int(answer.headers["Retry-After"]) >= 1
                rest = curl.stdout.read()
            process.wait(timeout=10)
        assert '"error_type":"server_draining"' in rest
        assert rest.count("event: stream_end") == 1


class TestToken:
    def test_it_prints_one_token_and_nothing_else(self, tmp_path: Path) -> None:
        result = run("token", "--tenant", "1", cwd=tmp_path)
        assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+\n", result.stdout)
        assert result.stderr == ""

    def test_an_unknown_scope_is_refused(self, tmp_path: Path) -> None:
        result = run("token", "--tenant", "1", "--scope", "root", cwd=tmp_path)
        assert (result.returncode, "root" in result.stderr) == (1, True)

    def test_a_tenant_is_required(self, tmp_path: Path) -> None:
        assert run("token", cwd=tmp_path).returncode == 2


class TestChat:
    def test_in_a_pipe_it_prints_the_plain_text(self, tmp_path: Path) -> None:
        with serving(tmp_path) as (_, banner):
            arguments = ("chat", "--url", url_of(banner), "--model", "sim-fast")
            result = run(*arguments, "Hello there", cwd=tmp_path)
            piped = run(*arguments, cwd=tmp_path, input="Hello there")
        assert result.returncode == 0
        assert "> Hello there" in result.stdout
        assert "\x1b" not in result.stdout
        assert piped.stdout == result.stdout

    def test_events_prints_the_raw_frames(self, tmp_path: Path) -> None:
        with serving(tmp_path) as (_, banner):
            result = run("chat", "--url", url_of(banner), "--events", "Hi", cwd=tmp_path)
        assert result.stdout.startswith("id: 1\nevent: stream_start\ndata: {")

    def test_a_failed_answer_is_said_and_exits_with_1(self, tmp_path: Path) -> None:
        with serving(tmp_path) as (_, banner):
            arguments = ("chat", "--url", url_of(banner), "--model")
            cut = run(*arguments, "sim-cut", "Hi", cwd=tmp_path)
            busy = run(*arguments, "sim-busy", "Hi", cwd=tmp_path)
        assert cut.returncode == busy.returncode == 1
        assert "upstream_truncated" in cut.stderr
        assert "provider_rate_limited" in busy.stderr

    def test_without_a_server_it_says_so(self, tmp_path: Path) -> None:
        result = run("chat", "--url", "http://127.0.0.1:9", "Hi", cwd=tmp_path)
        assert result.returncode == 1
        assert "tellstream serve" in result.stderr
        assert len(result.stderr.splitlines()) == 1

    def test_ctrl_c_cancels_the_stream_at_the_server(self, tmp_path: Path) -> None:
        with serving(tmp_path) as (_, banner):
            url = url_of(banner)
            with subprocess.Popen(
                [*COMMAND, "chat", "--url", url, "--model", "sim-stall", "--events", "Hi"],
                cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            ) as chat:  # fmt: skip
                assert chat.stdout is not None
                chat.stdout.readline()
                chat.send_signal(signal.SIGINT)
                try:
                    output, errors = chat.communicate(timeout=20)
                finally:
                    chat.kill()
            assert chat.returncode == 130
            assert "cancelled" in errors
            assert "Traceback" not in errors
            assert '"finish_reason":"Cancelled"' in output
            deadline = time.monotonic() + 5
            while running_streams(url):
                assert time.monotonic() < deadline
                time.sleep(0.05)


class TestOthers:
    def test_the_demo_shows_a_whole_answer_and_succeeds(self, tmp_path: Path) -> None:
        result = run("demo", cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        assert "event: stream_end" in result.stdout
        assert "grammatical:   yes" in result.stdout

    def test_simulate_runs_by_itself(self, tmp_path: Path) -> None:
        process = subprocess.Popen(
            [*COMMAND, "simulate", "--port", "0"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
        )
        try:
            assert process.stdout is not None
            found = re.search(r"http://\S+", process.stdout.readline())
            assert found
            with urllib.request.urlopen(found[0] + "/v1/models", timeout=5) as response:
                assert "sim-cut" in response.read().decode()
        finally:
            process.kill()
            process.communicate()

    def test_a_client_is_registered_and_listed_without_its_secret(self, tmp_path: Path) -> None:
        arguments = ("--name", "app", "--scope", "chat", "--tenant", "1", "--json")
        created = json.loads(run("admin", "client", "create", *arguments, cwd=tmp_path).stdout)
        listed = run("admin", "client", "list", "--json", cwd=tmp_path).stdout
        assert created["client_secret"]
        assert created["client_id"] in listed
        assert created["client_secret"] not in listed

    @pytest.mark.parametrize(
        "command", [(), ("serve",), ("chat",), ("token",), ("simulate",), ("admin",)], ids=str
    )
    def test_help_teaches(self, tmp_path: Path, command: tuple[str, ...]) -> None:
        result = run(*command, "--help", cwd=tmp_path)
        assert result.returncode == 0
        assert len(result.stdout.splitlines()) > 8
