"""Spans with OpenTelemetry and its conventions for HTTP and generative AI.

Three kinds: the request (server), the stream (what a caller would call one generation: the models,
the usage, the ending) and each call of a provider (client). Tokens stand on the stream alone: a
backend that adds up spans must not count them twice. No span holds a prompt, an answer, the text of
an exception, a caller, a tenant or a stream's id, and none is announced to providers.

The provider of spans is our own, not the process-wide one: nothing else is traced by accident.
"""

import asyncio
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    ConsoleSpanExporter,
    SpanExporter,
)
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from tellstream.core.errors import ChatError
from tellstream.core.observer import StreamEnded

CLOSE_SECONDS: Final = 5.0
"""For the last spans to be sent; a collector that is away must not hold up the stop."""
MAX_MODEL_CHARS: Final = 100
"""Of a model's name as a provider reports it."""
MAX_TRACE_HEADER_BYTES: Final = 512
"""Of ``traceparent`` or ``tracestate`` (the specification's own bound for the latter)."""
SERVER_ERROR: Final = 500

PROVIDER_NAMES: Final = {
    "xai": "x_ai",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
}
"""Our names of providers whose name in the conventions is another one."""
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER_METHOD: Final = "_OTHER"
"""As the conventions want it for methods that nobody knows."""
_TRACE_HEADERS: Final = frozenset({b"traceparent", b"tracestate"})


def exporting_provider(exporter: str, version: str) -> TracerProvider:
    """Make a source of spans that sends them where ``exporter`` (``otlp``, ``console``) says.

    Addresses, headers, the sampler and the resource come from OpenTelemetry's variables.
    """
    sink: SpanExporter = OTLPSpanExporter() if exporter == "otlp" else _lines()
    provider = TracerProvider(resource=resource(version), shutdown_on_exit=False)
    # Its queue is bounded by OTEL_BSP_MAX_QUEUE_SIZE, 2048 by default; what is more is dropped.
    provider.add_span_processor(BatchSpanProcessor(sink))
    return provider


def _lines() -> ConsoleSpanExporter:
    """One line per span on standard error, as for logs."""
    return ConsoleSpanExporter(
        out=sys.stderr, formatter=lambda span: f"{span.to_json(indent=None)}\n"
    )


def resource(version: str) -> Resource:
    """Say what runs; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES have the last word."""
    ours = Resource({"service.name": "tellstream", "service.version": version})
    given = Resource.create({}).attributes
    unnamed = str(given.get("service.name", "")).startswith("unknown_service")
    return ours.merge(
        Resource({n: v for n, v in given.items() if not (unnamed and n == "service.name")})
    )


class OtelTracer:
    """Makes spans.

    Args:
        provider: their source; shut down by ``close``.
    """

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("tellstream")
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def request(
        self, method: str, headers: Iterable[tuple[bytes, bytes]]
    ) -> Iterator["_RequestSpan"]:
        """Surround the answer to a request."""
        shown = method if method in METHODS else OTHER_METHOD
        carrier = {
            name.decode(): value.decode("latin-1")
            for name, value in headers
            if name in _TRACE_HEADERS and len(value) <= MAX_TRACE_HEADER_BYTES
        }
        with self._tracer.start_as_current_span(
            shown,
            context=self._propagator.extract(carrier, context=Context()),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": shown},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            yield _RequestSpan(span, shown)

    @contextmanager
    def stream(self, model: str) -> Iterator["_StreamSpan"]:
        """Surround the production of a stream."""
        with self._tracer.start_as_current_span(
            f"chat {model}",
            attributes={"gen_ai.operation.name": "chat", "gen_ai.request.model": model},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            yield _StreamSpan(span)

    @contextmanager
    def attempt(self, provider: str, model: str) -> Iterator[None]:
        """Surround one call of a provider."""
        with self._tracer.start_as_current_span(
            f"chat {model}",
            kind=SpanKind.CLIENT,
            attributes={
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": PROVIDER_NAMES.get(provider, provider),
                "gen_ai.request.model": model,
            },
            record_exception=False,  # its text may quote the provider
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except ChatError as error:
                _fail(span, error.code)
                raise
            except asyncio.CancelledError:
                span.set_attribute("tellstream.abandoned", value=True)
                raise
            except Exception as error:
                _fail(span, type(error).__qualname__)
                raise

    async def close(self) -> None:
        """Send what is left, for at most ``CLOSE_SECONDS``."""
        loop = asyncio.get_running_loop()
        sent = asyncio.Event()

        def shut_down() -> None:
            self._provider.shutdown()
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(sent.set)

        # A daemon: a collector that does not answer must not keep the process alive.
        threading.Thread(target=shut_down, daemon=True).start()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await sent.wait()


class _RequestSpan:
    def __init__(self, span: Span, method: str) -> None:
        self._span = span
        self._method = method

    def answered(self, route: str, status: int) -> None:
        """Name the span after its route, and note the status."""
        if route:
            self._span.update_name(f"{self._method} {route}")
            self._span.set_attribute("http.route", route)
        if status:
            self._span.set_attribute("http.response.status_code", status)
        if status >= SERVER_ERROR:
            _fail(self._span, str(status))


class _StreamSpan:
    def __init__(self, span: Span) -> None:
        self._span = span

    def ended(self, end: StreamEnded) -> None:
        """Note how it ended."""
        if not self._span.is_recording():
            return
        self._span.set_attributes(
            {
                "gen_ai.provider.name": PROVIDER_NAMES.get(end.provider, end.provider),
                "gen_ai.response.model": _printable(end.response_model),
                "gen_ai.response.finish_reasons": [end.finish_reason.value],
                "gen_ai.usage.input_tokens": end.usage.prompt_tokens,
                "gen_ai.usage.output_tokens": end.usage.completion_tokens,
                "tellstream.usage.estimated": end.estimated,
            }
        )
        for name, count in (
            ("gen_ai.usage.cache_read.input_tokens", end.usage.cache_read_input_tokens),
            ("gen_ai.usage.cache_creation.input_tokens", end.usage.cache_write_input_tokens),
            ("gen_ai.usage.reasoning.output_tokens", end.usage.thought_tokens),
        ):
            if count is not None:
                self._span.set_attribute(name, count)
        if end.error is not None:
            _fail(self._span, end.error)


def _fail(span: Span, kind: str) -> None:
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR))


def _printable(name: str) -> str:
    """What a provider says of itself, without anything that is no name."""
    return "".join(c for c in name[:MAX_MODEL_CHARS] if c.isprintable())
