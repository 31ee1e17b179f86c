"""What the commands of ``tellstream admin`` have in common: the store they act on, and output.

They act for the operator, straight on the store of the configuration, whether a server runs or not.
"""

import asyncio
import getpass
import json
import logging
import os
import pwd
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer
from pydantic import SecretStr

from tellstream.administration.actor import Actor
from tellstream.cli.failures import CliError
from tellstream.core.errors import ChatError
from tellstream.settings import Settings

if TYPE_CHECKING:  # the others commands do without them
    from tellstream.administration.acts import Administration
    from tellstream.storage.store import Store

MAX_SECRET_BYTES: Final = 64 * 1024
"""Of standard input, when a secret is read from it; far more than any has."""
PAGE_ROWS: Final = 500
"""Rows that a list reads at once."""

Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="TOML file; default: tellstream.toml if there."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Tenant = Annotated[int, typer.Option("--tenant", min=1, help="Its number.")]

Row = Mapping[str, Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Session:
    """What a command works with.

    Attributes:
        settings: of the installation.
        store: open.
        acts: what can be done.
        operator: who does it.
    """

    settings: Settings
    store: "Store"
    acts: "Administration"
    operator: Actor


def operator() -> Actor:
    """Name who runs this command."""
    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:  # as in many containers
        name = str(uid)
    return Actor(None, f"cli:{name}")


def load(config: Path | None) -> Settings:
    """Load the settings.

    Raises:
        CliError: an argument of the command is no text.
        ConfigError: they are not valid.
    """
    from tellstream.config import load_settings
    from tellstream.telemetry import configure_logging

    configure_logging(sys.stderr, logging.WARNING)
    if not all(argument.isascii() or _is_text(argument) for argument in sys.argv):
        raise CliError("an argument is not valid UTF-8")
    return load_settings(config, os.environ, Path.cwd())


def run(config: Path | None, work: Callable[[Session], Awaitable[T]]) -> T:
    """Do ``work`` with the store open.

    Raises:
        CliError: what is asked for is refused.
        ConfigError: the settings are not valid.
        KeyFileError, PrivateFileError, StoreSetupError: a file or the database cannot be used.
    """
    settings = load(config)

    async def session() -> T:
        async with _opened(settings) as opened:
            return await work(opened)

    try:
        return asyncio.run(session())
    except ChatError as error:
        raise CliError(_said(error)) from error


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Session]:
    from tellstream.administration.acts import Administration
    from tellstream.administration.offer import Offer
    from tellstream.administration.signing_keys import KeyPlace
    from tellstream.auth.first_start import FirstStart
    from tellstream.auth.passwords import Passwords
    from tellstream.server.app import load_keys, opened_store
    from tellstream.server.dialects import build_offer
    from tellstream.storage.master_key import MasterKey

    catalog = build_offer(settings, os.environ)
    offer = Offer(catalog.models, catalog.providers, catalog.tenants, catalog.in_file)
    passwords = Passwords()
    try:
        async with opened_store(settings) as store:
            await FirstStart(store, time.time).import_clients(settings.data_dir)
            place = None
            if settings.auth.embedded:
                place = KeyPlace(*await load_keys(settings, store), settings.data_dir)
            master_key = MasterKey(settings.data_dir)
            acts = Administration.over(store, time.time, offer, passwords, master_key, place)
            yield Session(settings, store, acts, operator())
    finally:
        passwords.close()


def secret_from_stdin(given: bool, option: str) -> SecretStr:
    """Read a secret from standard input: its one line; a terminal does not show what is typed.

    Args:
        given: the option was; without it, nothing is read.
        option: its name.

    Raises:
        CliError: there is none, or more than one line.
    """
    if not given:
        raise CliError(f"{option} is required: secrets are only taken from standard input")
    if sys.stdin.isatty():
        text = getpass.getpass("")
    else:
        raw = sys.stdin.buffer.read(MAX_SECRET_BYTES + 1)
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            raise CliError("standard input is not valid UTF-8") from None
        text = text.removesuffix("\n").removesuffix("\r")
    if not text or "\n" in text or len(text) > MAX_SECRET_BYTES:
        raise CliError("standard input must hold the secret, in one line")
    return SecretStr(text)


def show(row: Row, *, as_json: bool) -> None:
    """Print one thing."""
    if as_json:
        typer.echo(_json(row))
    else:
        _lines([row])


def show_all(rows: Iterable[Row], *, as_json: bool) -> None:
    """Print a list."""
    if as_json:
        typer.echo(_json(list(rows)))
    else:
        _lines(rows)


def done(text: str, row: Row, *, as_json: bool) -> None:
    """Say that something was done."""
    typer.echo(_json(row) if as_json else text)


def remark(text: str) -> None:
    """Say something beside the output."""
    typer.echo(f"tellstream: {text}", err=True)


async def all_pages(
    page: Callable[[Any], Awaitable[tuple[list[T], Any]]], start: Any = None
) -> list[T]:
    """Read a list to its end."""
    found: list[T] = []
    after = start
    while True:
        rows, after = await page(after)
        found += rows
        if after is None:
            return found


def _lines(rows: Iterable[Row]) -> None:
    for number, row in enumerate(rows):
        separator = "\n" if number else ""
        typer.echo(separator + "\n".join(f"{name}: {_line(row[name])}" for name in row))


def _line(value: Any) -> str:
    """Write a value in one line, without control characters: some come from strangers."""
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_line, value))
    if value is None:
        return "-"
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return "".join(char if char.isprintable() else "?" for char in text)


def _json(value: Any) -> str:
    return json.dumps(value, default=str)


def _said(error: ChatError) -> str:
    """Put an error into one line."""
    if error.details:
        return "; ".join(f"{name}: {text}" for name, text in error.details)
    if error.code == "not_found":
        return "not found"
    return error.message if error.reason is None else f"{error.message} ({error.reason})"


def _is_text(argument: str) -> bool:
    try:
        argument.encode()
    except UnicodeEncodeError:  # what the system could not decode
        return False
    return True
