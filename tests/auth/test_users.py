import pytest

from tellstream.auth.users import check_new_password, new_user, normalised_email


@pytest.mark.parametrize(
    "text", ["Ann@Acme.Example", " ann@acme.example\n", "\uff41nn@acme.example"]
)
def test_an_email_has_one_spelling(text: str) -> None:
    assert normalised_email(text) == "ann@acme.example"


@pytest.mark.parametrize(
    "text",
    ["", "ann", "@", "ann@", "@acme", "a@b@c", "a b@c", "a\0@b", "a@b\x85c", "a@" + "b" * 254],
)
def test_what_is_no_email_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="email"):
        normalised_email(text)


def test_a_long_password_of_any_letters_is_good() -> None:
    for password in (
        "correct horse battery",
        "пароль-для-меня",
        "a b c d e f g",
        "日本語の長い合言葉です、はい",
    ):
        check_new_password(password, "ann@acme.example")


@pytest.mark.parametrize(
    "password",
    [
        "",
        "short",
        "elevenchars",
        "a" * 300,
        "aaaaaaaaaaaa",
        "abababababab",
        "nul\0" * 5,
        "my-ann-secret-1",
    ],
)
def test_a18_a_password_that_can_be_guessed_is_refused(password: str) -> None:
    with pytest.raises(ValueError, match=r"^Use|^Do not"):
        check_new_password(password, "ann@acme.example")


@pytest.mark.parametrize(
    ("scopes", "tenants"),
    [
        ([], [1]),
        (["root"], [1]),
        (["chat"], []),
        (["chat"], [0]),
        (["chat"], [2**63]),
        (["chat"], list(range(1, 102))),
    ],
)
def test_a_user_has_known_scopes_and_tenants(scopes: list[str], tenants: list[int]) -> None:
    with pytest.raises(ValueError, match="user"):
        new_user("a@b", "hash", scopes, tenants, must_change=False, now=0)
