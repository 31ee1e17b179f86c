"""``tellstream token``: sign an access token with the keys of this installation."""

import asyncio
import os
import time
from pathlib import Path

from tellstream.auth.issuers import embedded_issuer
from tellstream.auth.keys import SigningKeys
from tellstream.auth.metadata import issuer_identifier
from tellstream.auth.tokens import sign_token
from tellstream.cli.failures import CliError
from tellstream.config import load_settings
from tellstream.core.principals import SCOPES
from tellstream.settings import Settings

CLIENT = "tellstream-cli"
"""The ``client_id`` of tokens made on the command line."""


def sign(config: Path | None, tenants: list[int], scope: str, subject: str, ttl: int) -> str:
    """Sign a token; see the command's help.

    Raises:
        CliError: an unknown scope.
        ConfigError: the configuration is not valid.
    """
    settings = load_settings(config, os.environ, Path.cwd())
    return asyncio.run(sign_with(settings, tenants, scope, subject=subject, ttl=ttl))


async def sign_with(
    settings: Settings, tenants: list[int], scope: str, *, subject: str = "local", ttl: int = 3600
) -> str:
    """Sign a token for the server that has these settings.

    Raises:
        CliError: an unknown scope.
        KeyFileError: the signing keys cannot be used.
        StoreSetupError: the store they are in cannot be used.
    """
    return signed(await _keys(settings), settings, tenants, scope, subject=subject, ttl=ttl)


def signed(
    keys: SigningKeys,
    settings: Settings,
    tenants: list[int],
    scope: str,
    *,
    subject: str = "local",
    ttl: int = 3600,
) -> str:
    """Sign a token with these keys.

    Raises:
        CliError: an unknown scope.
    """
    scopes = frozenset(scope.split())
    unknown = scopes.difference(SCOPES)
    if unknown or not scopes:
        raise CliError(f"--scope: {' '.join(sorted(unknown)) or 'empty'}; of: {', '.join(SCOPES)}")
    return sign_token(
        keys,
        embedded_issuer(issuer_identifier(settings.public_url), keys),
        tenants=frozenset(tenants),
        subject=subject,
        client=CLIENT,
        scopes=scopes,
        ttl=ttl,
        now=time.time(),
    )


async def _keys(settings: Settings) -> SigningKeys:
    if settings.store.url == "sqlite":  # in a file: nothing else is needed
        return SigningKeys.load_or_create(settings.data_dir)
    from tellstream.server.app import load_keys, opened_store

    async with opened_store(settings) as store:
        return (await load_keys(settings, store))[0]
