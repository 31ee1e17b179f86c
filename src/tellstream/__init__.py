"""Tellstream: a self-hosted, multi-tenant chat streaming server."""

__version__ = "0.1.0"
