"""The pure centre: event types, grammar, composer, errors, codecs.

Nothing in this package does I/O, reads a clock, an environment variable or randomness; time and
entropy are arguments. It imports the standard library and msgspec only
(tests/test_architecture.py).
"""
