"""Traces: when there are any, what they say, and what they never say."""

import asyncio
import subprocess
import sys
from contextlib import suppress
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from support.canaries import leaks
from support.collector import Collector
from tellstream.core.errors import ProviderError
from tellstream.core.observer import NullTracer, StreamEnded, Tracer
from tellstream.core.usage import FinishReason, Usage
from tellstream.telemetry import traces_otel
from tellstream.telemetry.traces import TraceSetupError, open_tracer, wanted_exporter
from tellstream.telemetry.traces_otel import OtelTracer, exporting_provider, resource

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
CANARY = "canary-canary-canary-1"
END = StreamEnded(
    model="grok",
    provider="xai",
    response_model="grok-4-0709",
    finish_reason=FinishReason.STOP,
    error=None,
    seconds=1.0,
    usage=Usage(100, 20, None, 60, 5),
    estimated=False,
)


class Traced:
    """A tracer, and the spans that have ended."""

    def __init__(self) -> None:
        self._sink = InMemorySpanExporter()
        provider = TracerProvider(resource=resource("1.2.3"), shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._sink))
        self.tracer = OtelTracer(provider)

    def span(self, name: str) -> ReadableSpan:
        (found,) = [span for span in self._sink.get_finished_spans() if span.name == name]
        return found

    def text(self) -> str:
        return "".join(span.to_json() for span in self._sink.get_finished_spans())


@pytest.fixture
def traced() -> Traced:
    return Traced()


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


async def one_stream(tracer: Tracer, end: StreamEnded = END) -> None:
    """A request that starts a stream in a task of its own, as the server does."""

    async def produce() -> None:
        with tracer.stream(end.model) as span:
            with suppress(ProviderError), tracer.attempt("local", "qwen3"):
                raise ProviderError("provider_timeout", reason=f"it said {CANARY}")
            with tracer.attempt("xai", "grok-4"):
                await asyncio.sleep(0)
            span.ended(end)

    headers = [(b"traceparent", PARENT.encode()), (b"authorization", f"Bearer {CANARY}".encode())]
    with tracer.request("POST", headers) as request:
        await asyncio.create_task(produce())
        request.answered("/v1/chat/stream", 200)


class TestSpans:
    async def test_the_tree_hangs_on_the_callers_trace(self, traced: Traced) -> None:
        await one_stream(traced.tracer)
        request, stream = traced.span("POST /v1/chat/stream"), traced.span("chat grok")
        first, second = traced.span("chat qwen3"), traced.span("chat grok-4")
        assert request.parent is not None
        assert f"{request.parent.span_id:016x}" == "b7ad6b7169203331"
        assert f"{request.context.trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"
        for child, parent in ((stream, request), (first, stream), (second, stream)):
            assert child.parent is not None
            assert child.parent.span_id == parent.context.span_id
            assert child.context.trace_id == request.context.trace_id
        kinds = [span.kind for span in (request, stream, first)]
        assert kinds == [SpanKind.SERVER, SpanKind.INTERNAL, SpanKind.CLIENT]

    async def test_a_stream_says_what_the_conventions_ask_for(self, traced: Traced) -> None:
        await one_stream(traced.tracer)
        assert attributes(traced.span("chat grok")) == {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "x_ai",
            "gen_ai.request.model": "grok",
            "gen_ai.response.model": "grok-4-0709",
            "gen_ai.response.finish_reasons": ("Stop",),
            "gen_ai.usage.input_tokens": 100,
            "gen_ai.usage.output_tokens": 20,
            "gen_ai.usage.cache_read.input_tokens": 60,
            "gen_ai.usage.reasoning.output_tokens": 5,
            "tellstream.usage.estimated": False,
        }
        assert traced.span("chat grok").status.status_code is StatusCode.UNSET

    async def test_attempts_hold_no_tokens_which_would_count_twice(self, traced: Traced) -> None:
        await one_stream(traced.tracer)
        assert attributes(traced.span("chat grok-4")) == {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "x_ai",
            "gen_ai.request.model": "grok-4",
        }
        failed = traced.span("chat qwen3")
        assert attributes(failed)["error.type"] == "provider_timeout"
        assert failed.status.status_code is StatusCode.ERROR

    async def test_a_failed_stream_names_its_code(self, traced: Traced) -> None:
        with traced.tracer.stream("grok") as span:
            span.ended(
                StreamEnded(
                    "grok", "xai", "x", FinishReason.ERROR, "upstream_truncated", 1, Usage(), True
                )
            )
        assert attributes(traced.span("chat grok"))["error.type"] == "upstream_truncated"
        assert traced.span("chat grok").status.status_code is StatusCode.ERROR

    async def test_a_cancelled_attempt_is_no_error(self, traced: Traced) -> None:
        with pytest.raises(asyncio.CancelledError), traced.tracer.attempt("xai", "grok-4"):
            raise asyncio.CancelledError
        span = traced.span("chat grok-4")
        assert span.status.status_code is StatusCode.UNSET
        assert attributes(span)["tellstream.abandoned"] is True

    async def test_no_span_says_what_an_exception_says(self, traced: Traced) -> None:
        await one_stream(traced.tracer)
        with pytest.raises(ValueError, match=CANARY), traced.tracer.attempt("xai", "m"):
            raise ValueError(CANARY)
        with pytest.raises(ValueError, match=CANARY), traced.tracer.request("GET", []):
            raise ValueError(CANARY)
        assert attributes(traced.span("chat m"))["error.type"] == "ValueError"
        assert leaks({"value": CANARY}, {"spans": traced.text()}) == []
        assert '"events": []' in traced.text()
        assert "exception" not in traced.text()

    async def test_a_providers_model_name_is_cut_and_printable(self, traced: Traced) -> None:
        end = StreamEnded(
            "m", "xai", "a\r\n\x1b" + "b" * 500, FinishReason.STOP, None, 1, Usage(), False
        )
        with traced.tracer.stream("m") as span:
            span.ended(end)
        shown = attributes(traced.span("chat m"))["gen_ai.response.model"]
        assert shown == "a" + "b" * 96


class TestRequests:
    @pytest.mark.parametrize(
        "header",
        [b"garbage", b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01", b"\xff\xfe", b"1" * 10**6],
        ids=["garbage", "zeros", "bytes", "long"],
    )
    def test_a_malformed_parent_begins_a_new_trace(self, traced: Traced, header: bytes) -> None:
        with traced.tracer.request("GET", [(b"traceparent", header)]) as span:
            span.answered("/v1/models", 200)
        assert traced.span("GET /v1/models").parent is None

    def test_a_caller_that_does_not_sample_is_not_traced(self, traced: Traced) -> None:
        quiet = PARENT[:-1] + "0"
        with traced.tracer.request("GET", [(b"traceparent", quiet.encode())]) as span:
            span.answered("/v1/models", 200)
        assert traced.text() == ""

    def test_names_are_routes_never_paths(self, traced: Traced) -> None:
        with traced.tracer.request("PROPFIND", []) as span:
            span.answered("", 404)
        assert attributes(traced.span("_OTHER")) == {
            "http.request.method": "_OTHER",
            "http.response.status_code": 404,
        }

    @pytest.mark.parametrize(("status", "failed"), [(200, False), (404, False), (503, True)])
    def test_only_our_own_failures_are_errors(
        self, traced: Traced, status: int, failed: bool
    ) -> None:
        with traced.tracer.request("GET", []) as span:
            span.answered("/readyz", status)
        shown = traced.span("GET /readyz")
        assert (shown.status.status_code is StatusCode.ERROR) == failed
        assert ("error.type" in attributes(shown)) == failed


class TestSetup:
    @pytest.mark.parametrize(
        ("environ", "exporter"),
        [
            ({}, "none"),
            ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:4318"}, "otlp"),
            ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://h:4318/v1/traces"}, "otlp"),
            ({"OTEL_TRACES_EXPORTER": "otlp"}, "otlp"),
            ({"OTEL_TRACES_EXPORTER": "console"}, "console"),
            ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://h"}, "none"),
            ({"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "otlp"}, "none"),
            ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, "none"),
        ],
        ids=str,
    )
    def test_the_environment_decides(self, environ: dict[str, str], exporter: str) -> None:
        assert wanted_exporter(environ) == exporter

    @pytest.mark.parametrize(
        ("environ", "says"),
        [
            ({"OTEL_TRACES_EXPORTER": "zipkin"}, "zipkin"),
            ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "grpc"),
        ],
    )
    def test_what_there_is_not_is_refused_in_one_line(
        self, environ: dict[str, str], says: str
    ) -> None:
        with pytest.raises(TraceSetupError, match=says) as refused:
            open_tracer(environ, "1")
        assert len(str(refused.value).splitlines()) == 1

    async def test_without_the_variables_nothing_is_traced(self) -> None:
        tracer = open_tracer({}, "1")
        assert isinstance(tracer, NullTracer)
        await one_stream(tracer)
        await tracer.close()

    def test_without_the_variables_the_library_is_not_loaded(self) -> None:
        program = """
import sys
import tellstream.telemetry
from tellstream.telemetry.traces import open_tracer
open_tracer({}, "1")
print([m for m in sys.modules if m.split(".")[0] in ("opentelemetry", "prometheus_client")])
"""
        shown = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
        )
        assert shown.stdout == "[]\n"

    def test_without_the_extra_the_server_starts_and_says_so(self) -> None:
        program = """
import sys
sys.modules["opentelemetry"] = None
from tellstream.telemetry import configure_logging
from tellstream.telemetry.traces import open_tracer
configure_logging(sys.stdout)
print(type(open_tracer({"OTEL_TRACES_EXPORTER": "otlp"}, "1")).__name__)
"""
        shown = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
        )
        line, kind = shown.stdout.splitlines()
        assert '"traces.not_installed"' in line
        assert kind == "NullTracer"

    def test_the_resource_names_the_service_unless_the_operator_does(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert resource("1.2.3").attributes["service.name"] == "tellstream"
        assert resource("1.2.3").attributes["service.version"] == "1.2.3"
        monkeypatch.setenv("OTEL_SERVICE_NAME", "chat-eu")
        assert resource("1.2.3").attributes["service.name"] == "chat-eu"


class TestSending:
    async def test_spans_arrive_at_the_collector_by_the_end(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        collector = Collector()
        try:
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", await collector.start())
            tracer = open_tracer({"OTEL_TRACES_EXPORTER": "otlp"}, "1.2.3")
            await one_stream(tracer)
            await tracer.close()
        finally:
            await collector.close()
        (sent,) = collector.received
        assert sent.startswith(b"POST /v1/traces ")
        assert b"chat grok" in sent
        assert leaks({"value": CANARY}, {"export": sent}) == []

    async def test_a_collector_that_is_away_does_not_hold_up_the_stop(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
        monkeypatch.setattr(traces_otel, "CLOSE_SECONDS", 0.2)
        tracer = OtelTracer(exporting_provider("otlp", "1"))
        await one_stream(tracer)
        async with asyncio.timeout(5):
            await tracer.close()

    async def test_the_console_gets_one_line_per_span(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        tracer = OtelTracer(exporting_provider("console", "1"))
        await one_stream(tracer)
        await tracer.close()
        assert len(capsys.readouterr().err.splitlines()) == 4
