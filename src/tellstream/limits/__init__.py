"""Limits of a tenant: rates, concurrent streams, tokens."""
