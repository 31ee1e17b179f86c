"""The composition root: the one place that names concrete adapters and wires them together.

Read ``build`` from top to bottom to see everything a running server consists of.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from importlib import import_module
from typing import Final

import structlog

from tellstream.auth.clients import ClientRegistry
from tellstream.auth.issuers import embedded_issuer
from tellstream.auth.keys import SigningKeys
from tellstream.auth.metadata import issuer_identifier, protected_resource_metadata_url
from tellstream.auth.token_endpoint import TokenContext
from tellstream.auth.tokens import TokenVerifier
from tellstream.catalog import SIMULATOR, Catalog, ProviderConfig, build_catalog
from tellstream.config import ConfigError
from tellstream.eventlog.base import EventLog, LogSetupError
from tellstream.eventlog.memory import MemoryEventLog
from tellstream.eventlog.sqlite import SqliteEventLog
from tellstream.limits.base import Limits
from tellstream.limits.memory import MemoryLimits
from tellstream.providers.base import Dialect, Endpoint
from tellstream.providers.http import Timeouts, Upstream
from tellstream.providers.simulator import ALIASES, Simulator
from tellstream.server.application import Application
from tellstream.server.services import Services, Tenant
from tellstream.settings import Settings
from tellstream.storage.base import UsageLedger
from tellstream.storage.sqlite import SqliteLedger
from tellstream.streams.arrears import Arrears
from tellstream.streams.janitor import Janitor
from tellstream.streams.meter import Meter
from tellstream.streams.probe import Finding, probe
from tellstream.streams.retry import RetryPolicy
from tellstream.streams.seal import Sealer
from tellstream.streams.service import StreamPolicy, StreamService
from tellstream.streams.target import Target

log = structlog.get_logger("tellstream.server")

DIALECTS: Final = {
    "openai-chat": "tellstream.providers.openai_chat:OpenAIChat",
    "anthropic-messages": "tellstream.providers.anthropic_messages:AnthropicMessages",
    "gemini": "tellstream.providers.gemini:Gemini",
    "openai-responses": "tellstream.providers.openai_responses:OpenAIResponses",
    "ollama": "tellstream.providers.ollama:Ollama",
}
"""Where each dialect lives; imported when a provider speaks it."""


def build_offer(settings: Settings, environ: Mapping[str, str]) -> Catalog:
    """Compute the models and tenants on offer.

    Raises:
        ConfigError: nothing can be offered, or something configured cannot.
    """
    return build_catalog(settings, environ, dialects=DIALECTS, simulator_models=tuple(ALIASES))


def check_available(settings: Settings, workers: int = 1) -> None:
    """Refuse settings that name what this version does not have, or that contradict each other.

    Raises:
        ConfigError: naming each key.
    """
    problems = []
    if settings.store.url != "sqlite":
        problems.append("configuration: store.url: only sqlite is available in this version")
    if workers > 1 and not is_shared(settings.eventlog.url):
        problems.append(
            f"configuration: eventlog.url: {settings.eventlog.url} belongs to one process; "
            f"--workers {workers} needs an event log that they share, redis://host:port/db"
        )
    if problems:
        raise ConfigError(problems)


def is_shared(event_log_url: str) -> bool:
    """Whether several processes may use an event log at once."""
    return event_log_url not in {"memory", "sqlite"}


def notices(settings: Settings, workers: int = 1) -> list[str]:
    """Say plainly which settings this version accepts but does not act on."""
    said = []
    if settings.eventlog.url == "memory":
        said.append("Event log: in memory; streams do not survive a restart.")
    if workers > 1:
        said.append("Limits count in each worker by itself in this version.")
    if settings.auth.issuers:
        said.append("External issuers are not served in this version: their tokens are refused.")
    if settings.metrics.listen:
        said.append("There is no metrics listener in this version.")
    return said


def build(settings: Settings, catalog: Catalog) -> Application:
    """Wire a server; apart from its key file nothing is opened before its lifespan starts.

    Raises:
        PrivateFileError: the key file cannot be used.
        OSError: the data directory cannot be written.
    """
    stack = AsyncExitStack()
    public_url = issuer_identifier(settings.public_url)
    keys = SigningKeys.load_or_create(settings.data_dir)
    issuer = embedded_issuer(public_url, keys)
    embedded = TokenContext(issuer, keys, ClientRegistry(settings.data_dir))

    async def start() -> Services:
        limits = MemoryLimits(time.time)
        ledger = SqliteLedger(settings.data_dir / "tellstream.db")
        stack.push_async_callback(ledger.close)
        await ledger.start()
        streams = await _open_streams(settings, limits, ledger, stack)
        offer = await _with_simulator(catalog, stack)
        return Services(
            settings=settings,
            tenants=_tenants(offer),
            streams=streams,
            limits=limits,
            ledger=ledger,
            verifier=TokenVerifier([issuer] if settings.auth.embedded else []),
            token_context=embedded if settings.auth.embedded else None,
            public_url=public_url,
            resource_metadata_url=protected_resource_metadata_url(public_url),
        )

    return Application(start, stack.aclose)


async def diagnose(settings: Settings, catalog: Catalog) -> AsyncIterator[Finding]:
    """Call one model of each provider, as the server would."""
    async with AsyncExitStack() as stack:
        upstream = Upstream(Timeouts(**settings.timeouts.model_dump()))
        await upstream.start()
        stack.push_async_callback(upstream.close)
        offer = await _with_simulator(catalog, stack)
        probed: set[str] = set()
        for target in (target for targets in _targets(offer).values() for target in targets):
            if target.endpoint.provider not in probed:
                probed.add(target.endpoint.provider)
                yield await probe(upstream, target, settings.timeouts.total)


async def _open_streams(
    settings: Settings, limits: Limits, ledger: UsageLedger, stack: AsyncExitStack
) -> StreamService:
    event_log = _event_log(settings)
    meter = Meter(ledger, limits)
    sealer = Sealer(event_log, meter, time.time)
    upstream = Upstream(Timeouts(**settings.timeouts.model_dump()))
    policy = StreamPolicy(
        on_disconnect=settings.streams.on_disconnect,
        detach=settings.streams.detach_seconds,
        total=settings.timeouts.total,
        retry=RetryPolicy(settings.retries.max, settings.timeouts.first_token),
    )
    streams = StreamService(event_log, upstream, limits, meter, sealer, policy, time.time)
    stack.push_async_callback(event_log.close)
    await event_log.start(streams.cancel_here)
    stack.push_async_callback(upstream.close)
    await upstream.start()
    arrears = Arrears(event_log, ledger, settings.timeouts.total, time.time)
    for work in (Janitor(event_log, sealer).run(), arrears.run()):
        stack.push_async_callback(_stop, asyncio.get_running_loop().create_task(work))
    stack.push_async_callback(streams.drain, 0.0)  # whatever the drain before it left over
    return streams


def _event_log(settings: Settings) -> EventLog:
    url, retention = settings.eventlog.url, settings.eventlog.retention_seconds
    if url == "memory":
        return MemoryEventLog(retention, time.monotonic)
    if url == "sqlite":
        return SqliteEventLog(settings.data_dir / "eventlog.db", retention, time.time)
    try:
        redis = import_module("tellstream.eventlog.redis")
    except ModuleNotFoundError as error:
        reason = f'eventlog.url needs the extra "redis": pip install "tellstream[redis]" ({error})'
        raise LogSetupError(reason) from error
    made: EventLog = redis.RedisEventLog(url, retention, settings.streams.lease_seconds)
    return made


async def _stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})


async def _with_simulator(catalog: Catalog, stack: AsyncExitStack) -> Catalog:
    if not catalog.needs_simulator:
        return catalog
    simulator = await stack.enter_async_context(Simulator())
    return catalog.with_base_url(SIMULATOR, f"{simulator.url}/v1")


def _tenants(catalog: Catalog) -> dict[int, Tenant]:
    targets = _targets(catalog)
    tenants = {}
    for number, settings in catalog.tenants.items():
        names = (catalog.default_model(number), *catalog.models_for(number))
        tenants[number] = Tenant(settings, {name: targets[name] for name in names})
    return tenants


def _targets(catalog: Catalog) -> dict[str, tuple[Target, ...]]:
    spoken = {t.provider.dialect for targets in catalog.models.values() for t in targets}
    dialects = {name: load_dialect(name) for name in spoken}
    return {
        model: tuple(
            Target(
                _endpoint(target.provider),
                dialects[target.provider.dialect],
                target.provider.dialect,
                target.model,
            )
            for target in targets
        )
        for model, targets in catalog.models.items()
    }


def load_dialect(name: str) -> Dialect:
    """Import and make the dialect called ``name`` (a key of ``DIALECTS``)."""
    module, _, attribute = DIALECTS[name].partition(":")
    made: Callable[[], Dialect] = getattr(import_module(module), attribute)
    return made()


def _endpoint(provider: ProviderConfig) -> Endpoint:
    key = provider.api_key.get_secret_value() if provider.api_key is not None else None
    return Endpoint(provider.name, provider.base_url, key, provider.host)
