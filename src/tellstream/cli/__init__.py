"""The command line: parsing and printing; what commands do is elsewhere."""

from tellstream.cli.main import main

__all__ = ["main"]
