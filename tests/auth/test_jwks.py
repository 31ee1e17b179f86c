"""One bad key costs itself; one bad document costs nothing that was had before."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey

from support.issuers import EC, OKP, OTHER_RSA, RSA, b64, key_set, public
from tellstream.auth.issuers import ALGORITHMS, key_fits
from tellstream.auth.jwks import MAX_KEY_SET_BYTES, KeySet, Skipped, parse_key_set

GOOD = public(RSA, kid="good")


def parse(*rows: object) -> KeySet:
    return parse_key_set(json.dumps({"keys": rows}).encode())


def kids(found: KeySet) -> list[object]:
    return [key.get("kid") for key in found.keys]


def short_rsa() -> RSAKey:
    with pytest.warns(match="2048"):
        return RSAKey.generate_key(1024)


def test_keys_of_every_algorithm_are_found_by_their_kid() -> None:
    found = parse_key_set(key_set({"a": RSA, "b": EC, "c": OKP}))
    assert [[key.key_type for key in found.find(kid)] for kid in "abc"] == [
        ["RSA"],
        ["EC"],
        ["OKP"],
    ]
    assert len(found.find(None)) == found.published == 3
    assert not found.find("d")
    assert not found.skipped


def test_keys_without_a_kid_and_kids_used_twice() -> None:
    found = parse(public(RSA), public(EC, kid="x"), public(OTHER_RSA, kid="x"))
    assert len(found.find("x")) == 2
    assert len(found.find(None)) == 3
    assert not found.find("")


def test_no_private_member_and_no_certificate_is_kept() -> None:
    row = public(RSA, kid="k", x5c=["!!"], x5u="http://127.0.0.1:9/", extra={"a": 1})
    (key,) = parse(row).keys
    assert not key.is_private
    assert set(key.as_dict()) <= {"kty", "n", "e", "kid", "use", "alg", "key_ops"}


MALFORMED: list[object] = [
    None, 1, "x", [], {}, {"kty": None}, {"kty": []}, {"kty": {}},
    {"kty": "RSA"}, {"kty": "RSA", "n": "!!", "e": "AQAB"}, {"kty": "RSA", "n": 5, "e": []},
    {"kty": "RSA", "n": "", "e": ""}, GOOD | {"n": GOOD["n"] + "="}, GOOD | {"e": None},
    GOOD | {"e": "Ag"}, GOOD | {"e": "AA"},
    {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}, {"kty": "EC", "crv": "P-256"},
    public(EC) | {"y": public(EC)["x"]}, public(OKP) | {"x": "AA"}, public(OKP) | {"x": 7},
    GOOD | {"kid": 5}, GOOD | {"kid": None}, GOOD | {"kid": "x" * 129},
    GOOD | {"use": [1]}, GOOD | {"key_ops": 5}, GOOD | {"key_ops": ["dance"]}, GOOD | {"alg": 1},
]  # fmt: skip


@pytest.mark.parametrize("bad", MALFORMED, ids=range(len(MALFORMED)))
def test_a_malformed_key_is_skipped_and_the_good_ones_beside_it_stay(bad: object) -> None:
    found = parse(bad, GOOD, bad)
    assert kids(found) == ["good"]
    assert len(found.skipped) == 2
    assert found.published == 3


def test_r6_a_short_rsa_key_is_not_kept() -> None:
    found = parse(public(short_rsa(), kid="weak"), GOOD)
    assert kids(found) == ["good"]
    assert found.skipped == [Skipped.WEAK]
    padded = public(short_rsa())
    padded["n"] = b64(bytes(256) + b"\1")  # leading zeros do not make a key long
    assert parse(padded, GOOD).skipped == [Skipped.WEAK]


@pytest.mark.parametrize("members", [{"n": b64(b"\xff" * 1025)}, {"e": b64(b"\xff" * 5)}])
def test_an_rsa_key_that_would_be_slow_is_not_kept(members: dict[str, str]) -> None:
    assert parse(GOOD | members, GOOD).skipped == [Skipped.WEAK]


def test_r4_what_no_algorithm_takes_is_not_kept() -> None:
    secret = OctKey.generate_key(256).as_dict()
    kinds: list[Key] = [
        ECKey.generate_key("P-384"), OKPKey.generate_key("X25519"), OKPKey.generate_key("Ed448"),
    ]  # fmt: skip
    found = parse(secret, *map(public, kinds), {"kty": "new"}, GOOD)
    assert kids(found) == ["good"]
    assert set(found.skipped) == {Skipped.OTHER_KIND}


def test_a_published_private_key_is_not_kept() -> None:
    for key in (RSA, EC, OKP):
        assert parse(key.as_dict(private=True), GOOD).skipped == [Skipped.PRIVATE]


def test_a_set_of_weak_keys_is_a_set_and_one_of_malformed_keys_is_none() -> None:
    assert parse(public(short_rsa())).published == 1
    assert parse().published == 0
    with pytest.raises(ValueError, match="no usable key"):
        parse({"kty": "RSA"}, public(short_rsa()))


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"[]", b"null", b"{}", b'{"keys": {}}', b'{"keys": null}', b'{"keys": "x"}', b"<html>",
        b"\xff", b'{"keys": [], "keys": []}', b'{"keys": [NaN]}', b'{"keys":' + b"[" * 100_000,
        b'{"keys": [' + b"9" * 5000 + b"]}",
    ],
    ids=lambda raw: raw[:20],
)  # fmt: skip
def test_what_is_not_a_key_set_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_key_set(raw)


def test_at_most_fifty_keys() -> None:
    assert len(parse(*[GOOD] * 50).keys) == 50
    with pytest.raises(ValueError, match="too many keys"):
        parse(*[GOOD] * 51)


def test_at_most_256_kib() -> None:
    raw = json.dumps({"keys": [GOOD]}).encode()
    assert kids(parse_key_set(raw.ljust(MAX_KEY_SET_BYTES))) == ["good"]
    with pytest.raises(ValueError, match="too large"):
        parse_key_set(raw.ljust(MAX_KEY_SET_BYTES + 1))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children),
    max_leaves=4,
)
MEMBERS = ["kty", "n", "e", "crv", "x", "y", "kid", "use", "alg", "key_ops", "d", "oth"]


@settings(suppress_health_check=[HealthCheck.too_slow])  # deep JSON, on a busy machine
@given(st.sampled_from([RSA, EC, OKP]), st.dictionaries(st.sampled_from(MEMBERS), JSON))
def test_any_row_is_a_usable_key_or_skipped(key: Any, changes: dict[str, object]) -> None:
    found = parse(public(key) | changes, GOOD)
    assert len(found.keys) + len(found.skipped) == 2
    for kept in found.keys:
        for algorithm in ALGORITHMS:
            key_fits(kept, algorithm)  # answers, whatever the row says


@given(st.binary())
def test_any_bytes_are_a_key_set_or_a_value_error(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_key_set(raw)
