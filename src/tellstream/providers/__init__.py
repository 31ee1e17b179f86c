"""Providers: bytes in, parts out; and the one file that opens upstream connections."""
