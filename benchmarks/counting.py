"""Counting the instructions that parts of a program execute, with valgrind's callgrind.

A processor's own counters would be faster, but virtual machines rarely have them, and they count
what a busy machine does to a program. Under callgrind the same work takes the same number of
instructions whatever else the machine does.

What a program has to do with it:

1. When everything is warm it prints ``ready`` and waits for a line, awake: up to here it runs five
   times as slow as by itself, and is not counted. Only then the counter is switched on, through the
   channel that valgrind has for debuggers; a process that sleeps would have to be woken by tracing
   it, which is not permitted everywhere.
2. From here on it runs fifty times as slow. It calls ``getppid``, which nothing else calls, before
   and after each part that counts: callgrind writes down what was executed since the last call.
"""

import asyncio
import re
import shutil
import subprocess
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from typing import Final

PROGRAMS: Final = ("valgrind", "vgdb")
MARK: Final = "getppid"
READY: Final = b"ready\n"
COUNT_SECONDS: Final = 300.0
"""For everything; twenty times what it takes where nobody else is."""
_SUM: Final = re.compile(r"^totals: (\d+)$", re.MULTILINE)


class CountError(Exception):
    """Nothing could be counted; the message is for whoever asked."""


def missing() -> str | None:
    """Say why nothing can be counted here; None: it can."""
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"{absent[0]} is not on PATH; Debian: apt-get install valgrind" if absent else None


def version() -> str:
    """Name the counter."""
    said = subprocess.run(["valgrind", "--version"], capture_output=True, text=True, check=True)
    return said.stdout.strip()


def count(command: list[str], environment: dict[str, str], folder: Path) -> tuple[list[int], str]:
    """Run a program; returns what was executed up to each mark since the last, and its output.

    Args:
        command: the program and its arguments.
        environment: of the program, and all of it.
        folder: an empty one, for valgrind's files.

    Raises:
        CountError: the program failed, took too long, or made no mark.
    """
    try:
        output = asyncio.run(_run(command, environment, folder))
    except TimeoutError as error:
        raise CountError(f"the program did not end within {COUNT_SECONDS:g} s") from error
    counts: list[int] = []
    while (part := folder / f"counts.{len(counts) + 1}").exists():
        found = _SUM.search(part.read_text())
        if found is None:
            raise CountError(f"callgrind wrote no sum into {part.name}")
        counts.append(int(found[1]))
    if not counts:
        raise CountError(f"the program never called {MARK}")
    return counts, output


async def _run(command: list[str], environment: dict[str, str], folder: Path) -> str:
    channel = f"--vgdb-prefix={folder}/vgdb"
    options = [
        "--tool=callgrind", "--quiet", "--instr-atstart=no", f"--dump-before={MARK}",
        f"--callgrind-out-file={folder}/counts", "--vgdb=yes", channel,
    ]  # fmt: skip
    with (folder / "errors").open("w+") as errors:
        process = await asyncio.create_subprocess_exec(
            "valgrind", *options, *command, env=environment, stdin=PIPE, stdout=PIPE, stderr=errors
        )
        try:
            async with asyncio.timeout(COUNT_SECONDS):
                output = await _talk(process, channel)
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()
        if process.returncode or output is None:
            errors.seek(0)
            raise CountError(f"the program failed:\n{errors.read().strip()}")
    return output


async def _talk(process: Process, channel: str) -> str | None:
    """Switch the counter on when the program is ready, and wait for its end."""
    assert process.stdout is not None
    if await process.stdout.readline() != READY:
        await process.communicate()
        return None
    switch = await asyncio.create_subprocess_exec(
        "vgdb", channel, f"--pid={process.pid}", "instrumentation", "on",
        stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE,
    )  # fmt: skip
    _, said = await switch.communicate()
    if switch.returncode:
        raise CountError(f"the counter could not be switched on: {said.decode().strip()}")
    output, _ = await process.communicate(b"\n")
    return output.decode()
