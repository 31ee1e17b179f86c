"""Encryption at rest: bound to its place, with keys that can be replaced."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tellstream.storage.keyring import Keyring, Place, SealError, UnknownKeyError, new_key, prefix

OLD, NEW = new_key(), new_key()
KEYRING = Keyring([OLD])
PLACE = Place("provider_credentials", 1, "xai", "ciphertext")


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_text_is_decrypted_as_it_was_encrypted(secret: str) -> None:
    sealed = KEYRING.encrypt(secret, PLACE)
    assert KEYRING.decrypt(sealed, PLACE) == secret
    version, kid, nonce, text = sealed.split(":")
    assert (version, kid) == ("v1", KEYRING.kids[0])
    assert len(nonce) == 16
    assert sealed.startswith(prefix(kid))
    assert len(secret) < 8 or secret not in text


def test_two_texts_of_one_secret_are_different() -> None:
    assert len({KEYRING.encrypt("secret", PLACE) for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "place",
    [
        PLACE._replace(table="tenants"),
        PLACE._replace(tenant=2),
        PLACE._replace(tenant=None),
        PLACE._replace(row="openai"),
        PLACE._replace(column="label"),
    ],
)
def test_a_text_is_decrypted_only_where_it_belongs(place: Place) -> None:
    sealed = KEYRING.encrypt("secret", PLACE)
    with pytest.raises(SealError):
        KEYRING.decrypt(sealed, place)


def test_no_two_places_are_the_same_for_the_cipher() -> None:
    rows = ["", "a", "a|b", "|a", "1|a", "a|c", "a|c|c"]
    places = [Place(t, n, r, c) for t in "tu" for n in (None, 1, 11) for r in rows for c in "cd"]
    assert len({place.data() for place in places}) == len(places)


def test_every_changed_character_is_noticed() -> None:
    sealed = KEYRING.encrypt("secret", PLACE)
    for index, character in enumerate(sealed):
        other = "B" if character == "A" else "A"
        changed = sealed[:index] + other + sealed[index + 1 :]
        # The last characters of nonce and text may hold bits that mean nothing.
        try:
            assert KEYRING.decrypt(changed, PLACE) == "secret"
        except SealError:
            continue
        assert sealed[index + 1 :][:1] in {"", ":"}


@pytest.mark.parametrize(
    "text", ["", "v1", "v1:::", "v2:0:0:0", "plain", "v1:0123456789abcdef:é:AAAA", "\n"]
)
def test_what_is_no_encrypted_text_is_refused(text: str) -> None:
    with pytest.raises(SealError):
        KEYRING.decrypt(text, PLACE)


@pytest.mark.parametrize("nonce", ["A", "AA", "A" * 15, "A" * 2000])
def test_a_nonce_of_another_length_is_refused(nonce: str) -> None:
    _, kid, _, text = KEYRING.encrypt("secret", PLACE).split(":")
    with pytest.raises(SealError):
        KEYRING.decrypt(f"v1:{kid}:{nonce}:{text}", PLACE)


def test_the_first_key_encrypts_and_any_decrypts() -> None:
    both = Keyring([NEW, OLD])
    assert both.decrypt(KEYRING.encrypt("old", PLACE), PLACE) == "old"
    sealed = both.encrypt("new", PLACE)
    assert Keyring([NEW]).decrypt(sealed, PLACE) == "new"
    with pytest.raises(UnknownKeyError) as caught:
        KEYRING.decrypt(sealed, PLACE)
    assert caught.value.kid == both.kids[0]


@pytest.mark.parametrize(
    "keys", [[], [b"short"], [OLD, OLD], [new_key() for _ in range(17)], [OLD + b"0"]]
)
def test_keys_that_make_no_keyring_are_refused(keys: list[bytes]) -> None:
    with pytest.raises(ValueError, match="key"):
        Keyring(keys)


def test_a_keyring_shows_no_key() -> None:
    for kid in KEYRING.kids:
        assert kid not in OLD.hex()
    assert OLD.hex() not in repr(vars(KEYRING))
    assert str(OLD) not in repr(vars(KEYRING))
