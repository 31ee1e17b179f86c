"""Traces: which spans there are, and when there are any.

OpenTelemetry's own variables decide: without ``OTEL_EXPORTER_OTLP_ENDPOINT`` (or the one for
traces) and without ``OTEL_TRACES_EXPORTER`` nothing is loaded and nothing is traced. The work with
the library is in ``traces_otel.py``, which is imported only then.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Final

import structlog

from tellstream.core.observer import NullTracer, Tracer

log = structlog.get_logger("tellstream.traces")

EXPORTERS: Final = ("otlp", "console", "none")
"""Values of ``OTEL_TRACES_EXPORTER``."""
PROTOCOL: Final = "http/protobuf"
"""The only one of ``OTEL_EXPORTER_OTLP_PROTOCOL`` that the extra installs."""
ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")


class TraceSetupError(Exception):
    """Traces cannot be sent as the environment asks; the message is one line."""


def wanted_exporter(environ: Mapping[str, str]) -> str:
    """Say where spans go: one of ``EXPORTERS``.

    Raises:
        TraceSetupError: the environment asks for an exporter or a protocol that there is not.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return "none"
    asked = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if not asked:
        asked = "otlp" if any(environ.get(name, "").strip() for name in ENDPOINTS) else "none"
    if asked not in EXPORTERS:
        raise TraceSetupError(
            f"environment: OTEL_TRACES_EXPORTER: {asked!r} is not one of {', '.join(EXPORTERS)}"
        )
    protocols = [environ[name].strip() for name in PROTOCOLS if environ.get(name, "").strip()]
    if asked == "otlp" and protocols and protocols[0] != PROTOCOL:
        raise TraceSetupError(
            f"environment: {PROTOCOLS[1]}: {protocols[0]!r} is not available, only {PROTOCOL}"
        )
    return asked


def open_tracer(environ: Mapping[str, str], version: str) -> Tracer:
    """Make the tracer that the environment asks for; close it at the end.

    Raises:
        TraceSetupError: see ``wanted_exporter``.
    """
    exporter = wanted_exporter(environ)
    if exporter == "none":
        return NullTracer()
    try:
        otel = import_module("tellstream.telemetry.traces_otel")
    except ModuleNotFoundError as error:
        # Often set for every process of a cluster: no reason not to start, but one to say so.
        log.warning("traces.not_installed", reason=str(error), advice='install the extra "otel"')
        return NullTracer()
    made: Tracer = otel.OtelTracer(otel.exporting_provider(exporter, version))
    return made
