"""What operators see of a server: logs, metrics, traces. Never secrets, never what was said.

Imports only logging: metrics and traces are loaded by whoever turns them on.
"""

from tellstream.telemetry.logs import configure_logging
from tellstream.telemetry.redaction import Redactor

__all__ = ["Redactor", "configure_logging"]
