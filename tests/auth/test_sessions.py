import pytest

from tellstream.auth.opaque import new_secret
from tellstream.auth.sessions import Cookie, csrf_is_right, csrf_token

PLAIN, SECURE = Cookie(False), Cookie(True)


def test_a12_the_cookie_is_for_this_host_and_no_script() -> None:
    value = SECURE.write("id")
    assert value == "__Host-tellstream=id; Path=/; HttpOnly; SameSite=Lax; Secure"
    assert PLAIN.write("id") == "tellstream=id; Path=/; HttpOnly; SameSite=Lax"


def test_the_cookie_is_found_among_others() -> None:
    session = new_secret()
    line = f'a=1; b="x y"; tellstream={session};c'.encode()
    assert PLAIN.read([(b"cookie", line)]) == session
    assert PLAIN.read([(b"cookie", b"a=1"), (b"cookie", f"tellstream={session}".encode())])
    assert SECURE.read([(b"cookie", line)]) is None


@pytest.mark.parametrize("value", ["", "x", "a" * 42, "a" * 44, "a" * 42 + "é", "a" * 42 + "+"])
def test_a_cookie_of_another_form_is_none(value: str) -> None:
    assert PLAIN.read([(b"cookie", f"tellstream={value}".encode("latin-1"))]) is None


def test_a12_of_two_cookies_none_counts() -> None:
    # One of them may come from a neighbour that wants its session to be used.
    line = f"tellstream={new_secret()}; tellstream={new_secret()}".encode()
    assert PLAIN.read([(b"cookie", line)]) is None


def test_a12_the_csrf_token_belongs_to_one_session() -> None:
    session = new_secret()
    assert csrf_is_right(session, csrf_token(session))
    for wrong in ("", csrf_token(new_secret()), session, csrf_token(session) + "x", "é"):
        assert not csrf_is_right(session, wrong)
    assert not csrf_is_right(None, csrf_token(session))
