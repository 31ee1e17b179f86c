"""What holds for all tests."""

from hypothesis import settings

# Timing belongs into benchmarks: a busy machine must not fail an example.
settings.register_profile("tellstream", deadline=None)
settings.load_profile("tellstream")
