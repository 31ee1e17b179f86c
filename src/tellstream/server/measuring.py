"""Counting for Prometheus: the labels there are, from the configuration and the code."""

import platform
from importlib import import_module
from typing import TYPE_CHECKING

from tellstream import __version__
from tellstream.catalog import Catalog
from tellstream.server.dialects import DIALECTS
from tellstream.server.routes import ROUTES

if TYPE_CHECKING:
    from tellstream.telemetry.metrics import PrometheusObserver


def prometheus(catalog: Catalog) -> "PrometheusObserver":
    """Count for Prometheus; the library is loaded only if somebody listens."""
    table = import_module("tellstream.telemetry.metrics_table")
    configured = {
        "version": [__version__],
        "python": [platform.python_version()],
        "route": [route.path for route in ROUTES],
        "dialect": list(DIALECTS),
        "provider": list(catalog.providers),
        "model": list(catalog.models),
    }
    module = import_module("tellstream.telemetry.metrics")
    made: PrometheusObserver = module.PrometheusObserver(table.ClosedSets(configured), __version__)
    return made
