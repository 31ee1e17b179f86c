import pytest

from tellstream.auth.token_cache import MAX_ENTRIES, TokenCache
from tellstream.core.principals import Principal

PRINCIPAL = Principal(frozenset({1}), "s", "c", frozenset(), 2_000_000_000, "j")


@pytest.mark.parametrize(("age", "hit"), [(0, True), (29.9, True), (30, False), (-0.1, False)])
def test_an_entry_counts_for_30_seconds(age: float, hit: bool) -> None:
    cache: TokenCache[Principal] = TokenCache()
    cache.put(b"k", PRINCIPAL, 1000.0)
    assert (cache.get(b"k", 1000.0 + age) is PRINCIPAL) is hit
    assert cache.get(b"other", 1000.0) is None


def test_the_count_is_bounded_and_the_oldest_goes_first() -> None:
    cache: TokenCache[Principal] = TokenCache()
    for number in range(MAX_ENTRIES):
        cache.put(b"%d" % number, PRINCIPAL, 0)
    cache.put(b"0", PRINCIPAL, 0)  # now the newest
    cache.put(b"new", PRINCIPAL, 0)
    assert len(cache) == MAX_ENTRIES
    assert cache.get(b"0", 0) is PRINCIPAL
    assert cache.get(b"1", 0) is None
    assert cache.get(b"2", 0) is PRINCIPAL
