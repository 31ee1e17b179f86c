"""``tellstream chat``: one question, or a conversation, through a running server."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple

from rich.console import Console
from rich.control import strip_control_codes
from rich.text import Text

from tellstream.cli.failures import EXIT_FAILURE, EXIT_INTERRUPTED, CliError
from tellstream.cli.tokens import sign_with
from tellstream.client import (
    AsyncStream,
    AsyncTellstream,
    ConnectionFailedError,
    ResumePolicy,
)
from tellstream.config import load_settings
from tellstream.core import events as ev
from tellstream.core import lenient_json
from tellstream.core.errors import ApiError

CANCEL_SECONDS: Final = 3.0
"""For the server to cancel a stream and to send its end, after Ctrl-C."""
START_SECONDS: Final = 1.0
"""Of trying to reach a server; somebody is watching, who may have mistyped the address."""


class Question(NamedTuple):
    """Where and how to ask; see the command's help."""

    config: Path | None
    url: str | None
    token: str | None
    tenant: int
    model: str | None
    events: bool


def chat(question: Question, prompt: str | None) -> int:
    """Ask, and print the answer; returns the exit code.

    Raises:
        CliError: there is nothing to ask.
        ApiError: the server refused, or is not there.
    """
    if prompt is None and sys.stdin.isatty():
        return _converse(question)
    text = sys.stdin.read() if prompt is None else prompt
    if not text.strip():
        raise CliError("there is nothing to ask: give a prompt, or write it to standard input")
    return _run(question, text, [])[0]


def _converse(question: Question) -> int:
    history: list[dict[str, str]] = []
    while True:
        try:
            prompt = input("> ")
        except EOFError:
            return 0
        if prompt.strip():
            code, answer = _run(question, prompt, history[-20:])
            if code == 0 and answer:
                history += [
                    {"role": "user", "content": prompt},
                    {"role": "assistant", "content": answer},
                ]


def _run(question: Question, prompt: str, history: list[dict[str, str]]) -> tuple[int, str]:
    try:
        return asyncio.run(_ask(question, prompt, history))
    except KeyboardInterrupt:
        sys.stderr.write("\ncancelled\n")
        return EXIT_INTERRUPTED, ""


async def _ask(question: Question, prompt: str, history: list[dict[str, str]]) -> tuple[int, str]:
    settings = load_settings(question.config, os.environ, Path.cwd())
    url = question.url or settings.public_url
    token = question.token or await sign_with(settings, [question.tenant], "chat")
    fields: dict[str, Any] = {"model": question.model, "history": history or None}
    fields = {name: value for name, value in fields.items() if value is not None}
    policy = ResumePolicy(start=START_SECONDS)
    try:
        client = AsyncTellstream(url, token, question.tenant, policy=policy)
    except ValueError as error:
        raise CliError(str(error)) from error
    printer = _RawPrinter() if question.events else _Printer()
    printer.wait()
    try:
        async with client, client.stream(prompt, **fields) as stream:
            return await _until_interrupted(stream, printer)
    except ConnectionFailedError as error:
        reason = f"{url}: {error.message} (is `tellstream serve` running there?)"
        raise CliError(reason) from error
    finally:
        printer.stop()


async def _until_interrupted(
    stream: AsyncStream, printer: "_RawPrinter | _Printer"
) -> tuple[int, str]:
    """Show the stream; on Ctrl-C cancel it at the server, whose end then ends the showing."""
    loop = asyncio.get_running_loop()
    interrupted = asyncio.Event()
    showing = asyncio.ensure_future(printer.show(stream))
    waiting = asyncio.ensure_future(interrupted.wait())
    loop.add_signal_handler(signal.SIGINT, interrupted.set)
    try:
        await asyncio.wait({showing, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if not interrupted.is_set():
            return await showing
        await _cancel(stream, showing)
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        waiting.cancel()
        showing.cancel()
        await asyncio.gather(showing, waiting, return_exceptions=True)
    raise KeyboardInterrupt


async def _cancel(stream: AsyncStream, showing: "asyncio.Future[tuple[int, str]]") -> None:
    """Cancel the stream at the server and let its end be shown."""
    try:
        async with asyncio.timeout(CANCEL_SECONDS):
            await stream.cancel()
            await asyncio.wait({showing})
    except (TimeoutError, ApiError):
        pass  # the server does not answer or has forgotten the stream: leaving is all that is left


class _RawPrinter:
    """Prints frames as they arrive, each once and whole."""

    def wait(self) -> None:
        """Show nothing while waiting."""

    def stop(self) -> None:
        """Nothing to clean up."""

    async def show(self, stream: AsyncStream) -> tuple[int, str]:
        """Print the frames of ``stream``."""
        async for frame in stream.raw():
            sys.stdout.buffer.write(frame)
            sys.stdout.buffer.flush()
        return 0, ""


class _Printer:
    """Prints an answer: plain text in a pipe; colours, a spinner and usage on a terminal."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._terminal = self._console.is_terminal
        self._status = self._console.status("waiting for the first token …", spinner="dots")

    def wait(self) -> None:
        """Show a spinner until the first content."""
        if self._terminal:
            self._status.start()

    def stop(self) -> None:
        """Remove the spinner."""
        if self._terminal:
            self._status.stop()

    async def show(self, stream: AsyncStream) -> tuple[int, str]:
        """Print ``stream``; returns the exit code and the answer's text."""
        try:
            async for event in stream:
                if event.type not in ev.NON_CONTENT:
                    self.stop()
                self._print(event)
        finally:
            sys.stdout.write("\n")
        transcript = stream.transcript
        if transcript.error is not None:
            sys.stderr.write(f"tellstream: {transcript.error.error_type}: ")
            sys.stderr.write(f"{transcript.error.message}\n")
            return EXIT_FAILURE, ""
        usage = transcript.usage
        if self._terminal and usage is not None:
            summary = f"{transcript.provider}/{transcript.model} · {transcript.finish_reason} · "
            tokens = f"{usage.prompt_tokens} + {usage.completion_tokens} tokens"
            self._console.print(Text(summary + tokens, style="dim"))
        return 0, transcript.text

    def _print(self, event: ev.Event) -> None:
        match event:
            case ev.TextDelta():
                self._write(event.delta, "")
            case ev.ThinkingDelta() if self._terminal:
                self._write(event.delta, "dim italic")
            case ev.ThinkingComplete() if self._terminal:
                self._write("\n\n", "")
            case ev.ToolCall():
                arguments = lenient_json.dumps(event.arguments)
                self._write(f"\n{event.tool_name}({arguments})", "cyan")
            case ev.CitationEvent() if self._terminal:
                self._write(f" [{event.citation.source}]", "blue")
            case _:
                pass

    def _write(self, text: str, style: str) -> None:
        if self._terminal:
            # What a model writes must not move the cursor or change the terminal.
            self._console.print(Text(strip_control_codes(text), style=style), end="")
        else:
            sys.stdout.write(text)
            sys.stdout.flush()
