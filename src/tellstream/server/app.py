"""The composition root: the one place that names concrete adapters and wires them together.

Read ``build`` from top to bottom to see everything a running server consists of.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module
from typing import Any, Final

import structlog

from tellstream import __version__
from tellstream.administration.acts import Administration
from tellstream.administration.offer import Offer
from tellstream.administration.signing_keys import KeyPlace
from tellstream.auth.authenticator import Authenticator
from tellstream.auth.authorization_server import AuthorizationServer
from tellstream.auth.external import ExternalIssuers
from tellstream.auth.first_start import FirstAdmin, FirstStart
from tellstream.auth.http_fetch import HttpFetch
from tellstream.auth.issuers import Issuer, embedded_issuer
from tellstream.auth.keys import SigningKeys
from tellstream.auth.metadata import issuer_identifier, protected_resource_metadata_url
from tellstream.auth.own_page import OwnPage
from tellstream.auth.passwords import Passwords
from tellstream.auth.stored_keys import StoredKeys
from tellstream.auth.tokens import TokenVerifier
from tellstream.catalog import SIMULATOR, Catalog
from tellstream.core.observer import NullObserver, Observer, Tracer
from tellstream.eventlog.base import EventLog, LogSetupError
from tellstream.eventlog.memory import MemoryEventLog
from tellstream.eventlog.sqlite import SqliteEventLog
from tellstream.limits.admission import SharedAdmission
from tellstream.limits.base import Admission
from tellstream.limits.counters import Counters
from tellstream.limits.history import LedgerHistory
from tellstream.limits.memory import MemoryCounters
from tellstream.limits.places import Places
from tellstream.providers.http import Timeouts, Upstream
from tellstream.providers.simulator import Simulator
from tellstream.server.application import Application
from tellstream.server.auth_audit import record
from tellstream.server.bookmarks import Bookmarks
from tellstream.server.checks import is_shared
from tellstream.server.client_address import ClientAddress
from tellstream.server.dialects import load_dialect
from tellstream.server.key_sealing import KeySealing
from tellstream.server.measuring import prometheus
from tellstream.server.past_streams import PastStreams
from tellstream.server.refusals import Refusals
from tellstream.server.reloading import Reloading
from tellstream.server.services import Services
from tellstream.server.tenancy import Tenancy
from tellstream.settings import Settings
from tellstream.storage import encrypted
from tellstream.storage.base import StoreSetupError
from tellstream.storage.changes import ChangeWatcher
from tellstream.storage.database import Database
from tellstream.storage.ledger import SqlLedger
from tellstream.storage.master_key import MasterKey
from tellstream.storage.sqlite import SqliteDatabase
from tellstream.storage.store import Store
from tellstream.streams.arrears import Arrears
from tellstream.streams.janitor import Janitor
from tellstream.streams.meter import Meter
from tellstream.streams.policy import StreamPolicy
from tellstream.streams.probe import Finding, probe
from tellstream.streams.retry import RetryPolicy
from tellstream.streams.seal import Sealer
from tellstream.streams.service import StreamService
from tellstream.telemetry.metrics_listener import MetricsListener, metrics_address
from tellstream.telemetry.traces import open_tracer

log = structlog.get_logger("tellstream.server")

SUSPENSION_SECONDS: Final = 1.0
"""Between two looks for streams of tenants that are gone; they end within 5 s of the change."""
RENEWALS: Final = 3
"""Of a lease in its length: two may be late before it runs out."""


async def prepare(settings: Settings, catalog: Catalog) -> FirstAdmin | None:
    """Do once, before any worker starts, what the first start of an installation needs.

    Returns:
        The first administrator's password, to show once; None if there is a user already.

    Raises:
        KeyFileError: the signing keys cannot be used.
        StoreSetupError: the store, or the key of its secrets, cannot be used.
        OSError: the data directory cannot be written.
    """
    if not settings.auth.embedded:
        return None
    passwords = Passwords()
    try:
        async with opened_store(settings) as store:
            await load_keys(settings, store)
            first_start = FirstStart(store, time.time, record)
            await first_start.import_clients(settings.data_dir)
            return await first_start.first_admin(passwords, catalog.tenants)
    finally:
        passwords.close()


def build(settings: Settings, catalog: Catalog, worker: int = 0) -> Application:
    """Wire a server; nothing is opened before its lifespan starts.

    Args:
        settings: what is configured.
        catalog: what is offered.
        worker: which of several processes this is, from 0.
    """
    stack = AsyncExitStack()
    public_url = issuer_identifier(settings.public_url)

    async def start() -> Services:
        tracer = open_tracer(os.environ, __version__)
        stack.push_async_callback(tracer.close)
        metrics = prometheus(catalog) if settings.metrics.listen else None
        observer = metrics or NullObserver()

        store = await stack.enter_async_context(opened_store(settings))
        master_key = MasterKey(settings.data_dir)
        tenancy = Tenancy(await _with_simulator(catalog, stack), load_dialect)
        watcher = ChangeWatcher(store, Reloading(store, master_key, tenancy))
        await watcher.look()
        _background(stack, watcher.run())

        page = OwnPage(public_url, lambda: tenancy.tenants)
        passwords = Passwords()
        stack.callback(passwords.close)
        place = await _keys(settings, store, stack) if settings.auth.embedded else None
        authorization = await _authorization(public_url, store, place, passwords, page, stack)
        authenticator = _authenticator(settings, authorization, stack)
        administration = Administration.over(
            store,
            time.time,
            Offer(catalog.models, catalog.providers, catalog.tenants, catalog.in_file),
            passwords,
            master_key,
            place,
            *([authorization.revocations.add] if authorization is not None else []),
        )
        refusals = Refusals(store, time.time)
        stack.push_async_callback(refusals.close)
        refusals.start()

        ledger = SqlLedger(database(settings))
        stack.push_async_callback(ledger.close)
        await ledger.start()
        admission = _admission(settings, ledger, observer)
        stack.push_async_callback(admission.close)
        await admission.start()
        streams = await _streams(settings, store, admission, ledger, observer, tracer, stack)
        _background(stack, _end_suspended(tenancy, streams))

        if metrics is not None:
            metrics.watch(streams.readings)
            listener = MetricsListener(metrics.exposition)
            stack.push_async_callback(listener.close)
            await listener.start(*metrics_address(settings.metrics.listen, worker))
        return Services(
            settings=settings,
            tenancy=tenancy,
            streams=streams,
            admission=admission,
            ledger=ledger,
            authenticator=authenticator,
            authorization=authorization,
            administration=administration,
            refusals=refusals,
            client_address=ClientAddress(settings.auth.trusted_proxies),
            public_url=public_url,
            resource_metadata_url=protected_resource_metadata_url(public_url),
            bookmarks=Bookmarks(store, time.time),
            observer=observer,
            tracer=tracer,
        )

    return Application(start, stack.aclose)


async def diagnose(settings: Settings, catalog: Catalog) -> AsyncIterator[Finding]:
    """Call one model of each provider, as the server would."""
    async with AsyncExitStack() as stack:
        upstream = Upstream(Timeouts(**settings.timeouts.model_dump()))
        await upstream.start()
        stack.push_async_callback(upstream.close)
        offered = Tenancy(await _with_simulator(catalog, stack), load_dialect)
        probed: set[str] = set()
        for model in catalog.models:
            for target in offered.targets(model):
                if target.endpoint.provider not in probed:
                    probed.add(target.endpoint.provider)
                    yield await probe(upstream, target, settings.timeouts.total)


def database(settings: Settings) -> Database:
    """Name the database of the store and of the usage rows.

    Raises:
        StoreSetupError: its address cannot be understood, or the extra for it is not installed.
    """
    url = settings.store.url
    if url == "sqlite":
        return SqliteDatabase(settings.data_dir / "tellstream.db")
    try:
        postgresql = import_module("tellstream.storage.postgresql")
    except ModuleNotFoundError as error:
        reason = (
            f'store.url needs the extra "postgres": pip install "tellstream[postgres]" ({error})'
        )
        raise StoreSetupError(reason) from error
    made: Database = postgresql.PostgresqlDatabase(url)
    return made


@asynccontextmanager
async def opened_store(settings: Settings) -> AsyncIterator[Store]:
    """Open the store, and see that its secrets can be read.

    Raises:
        StoreSetupError: that is not possible.
    """
    store = Store(database(settings))
    try:
        await store.start()
        keyring = MasterKey(settings.data_dir).keyring()
        await store.run(None, lambda c: encrypted.check(c, keyring), readonly=True)
        yield store
    finally:
        await store.close()


async def load_keys(settings: Settings, store: Store) -> tuple[SigningKeys, StoredKeys | None]:
    """Load the signing keys: of one machine from its file, of several from their store.

    Returns:
        The keys, and what keeps them like those of the store, if they are there.

    Raises:
        KeyFileError: they cannot be used.
    """
    if settings.store.url == "sqlite":
        return SigningKeys.load_or_create(settings.data_dir), None
    stored = StoredKeys(store, KeySealing(MasterKey(settings.data_dir)), time.time)
    return await stored.load_or_create(settings.data_dir), stored


async def _keys(settings: Settings, store: Store, stack: AsyncExitStack) -> KeyPlace:
    keys, stored = await load_keys(settings, store)
    if stored is not None:
        stack.push_async_callback(stored.close)
        stored.follow()
    return KeyPlace(keys, stored, settings.data_dir)


async def _authorization(
    public_url: str,
    store: Store,
    place: KeyPlace | None,
    passwords: Passwords,
    page: OwnPage,
    stack: AsyncExitStack,
) -> AuthorizationServer | None:
    if place is None:
        return None
    issuer = embedded_issuer(public_url, place.keys)
    server = AuthorizationServer(store, issuer, place.keys, passwords, time.time, record, page)
    stack.push_async_callback(server.close)
    await server.start()
    return server


def _authenticator(
    settings: Settings, embedded: AuthorizationServer | None, stack: AsyncExitStack
) -> Authenticator:
    issuers: list[Issuer] = []
    if embedded is not None:
        issuers.append(embedded.issuer)
    is_revoked = None if embedded is None else embedded.revocations.is_revoked
    if not settings.auth.issuers:
        return Authenticator(TokenVerifier(issuers, is_revoked))
    fetch = HttpFetch()
    stack.push_async_callback(fetch.close)
    external = ExternalIssuers(settings.auth.issuers, fetch, time.monotonic)
    stack.push_async_callback(external.close)
    _background(stack, external.run())
    verifier = TokenVerifier([*issuers, *external.issuers], is_revoked)
    return Authenticator(verifier, external.introspectors)


def _admission(settings: Settings, ledger: SqlLedger, observer: Observer) -> Admission:
    streams = settings.streams
    lease = streams.lease_seconds
    counters: Counters = MemoryCounters(time.time, lease)
    if is_shared(settings.eventlog.url):
        redis = import_module("tellstream.limits.redis")
        counters = redis.RedisCounters(settings.eventlog.url, lease)
    places = Places(streams.max_running, streams.tenant_share)
    return SharedAdmission(counters, places, lease / RENEWALS, LedgerHistory(ledger), observer)


async def _streams(
    settings: Settings,
    store: Store,
    admission: Admission,
    ledger: SqlLedger,
    observer: Observer,
    tracer: Tracer,
    stack: AsyncExitStack,
) -> StreamService:
    event_log = _event_log(settings)
    meter = Meter(ledger, admission)
    stack.push_async_callback(meter.close)
    sealer = Sealer(event_log, meter, time.time, observer)
    upstream = Upstream(Timeouts(**settings.timeouts.model_dump()))
    policy = StreamPolicy(
        on_disconnect=settings.streams.on_disconnect,
        detach=settings.streams.detach_seconds,
        total=settings.timeouts.total,
        retry=RetryPolicy(settings.retries.max, settings.timeouts.first_token),
    )
    streams = StreamService(
        event_log,
        upstream,
        admission,
        meter,
        sealer,
        PastStreams(store),
        policy,
        time.time,
        observer=observer,
        tracer=tracer,
    )
    stack.push_async_callback(event_log.close)
    await event_log.start(streams.cancel_here)
    stack.push_async_callback(upstream.close)
    await upstream.start()
    arrears = Arrears(event_log, ledger, settings.timeouts.total, time.time)
    for work in (Janitor(event_log, sealer).run(), arrears.run()):
        _background(stack, work)
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


async def _end_suspended(tenancy: Tenancy, streams: StreamService) -> None:
    while True:
        await asyncio.sleep(SUSPENSION_SECONDS)
        streams.keep_only(tenancy.tenants)


def _background(stack: AsyncExitStack, work: Coroutine[Any, Any, None]) -> None:
    """Do something for as long as the server runs."""
    stack.push_async_callback(_stop, asyncio.get_running_loop().create_task(work))


async def _stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})


async def _with_simulator(catalog: Catalog, stack: AsyncExitStack) -> Catalog:
    if not catalog.needs_simulator:
        return catalog
    simulator = await stack.enter_async_context(Simulator())
    return catalog.with_base_url(SIMULATOR, f"{simulator.url}/v1")
