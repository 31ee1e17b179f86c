"""``tellstream chat`` on connections that break."""

import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from client.scripted import (
    CLOSED,
    STREAM_ID,
    Action,
    Asked,
    Hold,
    Scripted,
    frames_of,
    refused,
    story,
)

FRAMES = frames_of(story("Hel", "lo"))
BODY = b"".join(FRAMES)


def chat(url: str, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "tellstream", "chat", "--url", url, "--token", "t",
         *arguments, "Hi"],
        cwd=cwd, capture_output=True, timeout=150, check=False,
    )  # fmt: skip


def halves(asked: Asked) -> Iterable[Action]:
    """Break off in the middle of a frame, each time some frames further."""
    return [CLOSED, b"".join(FRAMES[asked.after :])[:300]]


def test_it_resumes_silently(tmp_path: Path) -> None:
    with Scripted(halves) as server:
        result = chat(server.url, tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"Hello\n", b"")
    assert len(server.asked) > 2


def test_the_raw_frames_go_on_exactly(tmp_path: Path) -> None:
    with Scripted(halves) as server:
        result = chat(server.url, tmp_path, "--events")
    assert (result.returncode, result.stdout, result.stderr) == (0, BODY, b"")
    assert len(server.asked) > 2


def test_giving_up_is_one_line_with_the_stream(tmp_path: Path) -> None:
    busy = refused(503, "service_unavailable", Retry_After="3600")
    for arguments, shown in (((), b"Hel\n"), (("--events",), b"".join(FRAMES[:3]))):
        with Scripted([CLOSED, *FRAMES[:3]], [busy]) as server:
            result = chat(server.url, tmp_path, *arguments)
        assert result.returncode == 1
        assert result.stdout == shown
        assert STREAM_ID in result.stderr.decode()
        assert len(result.stderr.splitlines()) == 1


def test_ctrl_c_leaves_even_a_server_that_does_not_answer(tmp_path: Path) -> None:
    def script(asked: Asked) -> Iterable[Action]:
        return [CLOSED, FRAMES[0], Hold()] if asked.path == "/v1/chat/stream" else [Hold()]

    with (
        Scripted(script) as server,
        subprocess.Popen(
            [sys.executable, "-m", "tellstream", "chat", "--url", server.url, "--token", "t",
             "--events", "Hi"],
            cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as process,
    ):  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        try:
            _, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 130
    assert b"cancelled" in errors
    assert b"Traceback" not in errors
    assert any(asked.path.endswith("/cancel") for asked in server.asked)
