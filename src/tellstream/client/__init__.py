"""The Python client: typed events from a Tellstream server."""

from tellstream.client.client import ApiError, AsyncTellstream

__all__ = ["ApiError", "AsyncTellstream"]
