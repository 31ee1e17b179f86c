"""``tellstream doctor``: check this installation, one line per check."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from tellstream.catalog import Catalog
from tellstream.cli.failures import EXIT_FAILURE
from tellstream.config import load_settings
from tellstream.server.app import diagnose, load_keys, opened_store
from tellstream.server.checks import check_available
from tellstream.server.dialects import build_offer
from tellstream.settings import Settings
from tellstream.streams.probe import Finding


def doctor(config: Path | None) -> int:
    """Run all checks; returns the exit code: 0 if everything is well.

    Raises:
        ConfigError: the configuration is not valid.
        KeyFileError: the signing keys cannot be used.
        StoreSetupError: the store cannot be used.
    """
    settings = load_settings(config, os.environ, Path.cwd())
    check_available(settings)
    catalog = build_offer(settings, os.environ)
    _line("ok", "configuration", f"models: {len(catalog.models)}, tenants: {len(catalog.tenants)}")
    return asyncio.run(_check(settings, catalog))


async def _check(settings: Settings, catalog: Catalog) -> int:
    async with opened_store(settings) as store:
        _line("ok", "store", "its schema is of this version, its secrets can be read")
        await load_keys(settings, store)
        _line("ok", "signing keys", str(settings.data_dir))
    return await _providers(diagnose(settings, catalog))


async def _providers(findings: AsyncIterator[Finding]) -> int:
    code = 0
    async for finding in findings:
        verdict, text = judge(finding)
        _line(verdict, f"{finding.provider}/{finding.model}", text)
        if verdict != "ok":
            code = EXIT_FAILURE
    return code


def judge(finding: Finding) -> tuple[str, str]:
    """Say in words what a call of a provider showed."""
    if finding.error is not None:
        reason = f" ({finding.error.reason})" if finding.error.reason else ""
        return "FAILED", f"{finding.error.code}: {finding.error.message}{reason}"
    if finding.deltas == 0:
        return "FAILED", "the answer was empty"
    figures = (
        f"first token after {finding.first_token_ms} ms, {finding.deltas} events in "
        f"{finding.reads} reads over {finding.spread_ms} ms"
    )
    if finding.buffered:
        return "FAILED", f"{figures}: everything came at once, something on the way buffers"
    return "ok", figures


def _line(verdict: str, subject: str, text: str) -> None:
    sys.stdout.write(f"{verdict:<7} {subject}: {text}\n")
    sys.stdout.flush()
