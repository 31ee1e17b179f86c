"""The Python client: typed events from a Tellstream server."""

from tellstream.client.client import AsyncTellstream
from tellstream.core.errors import ApiError

__all__ = ["ApiError", "AsyncTellstream"]
