"""Rules A1, A3, A6 and A17 at the authorization endpoint, without a server."""

from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest

from tellstream.auth.authorization_request import (
    AuthorizationRequest,
    PageError,
    RedirectError,
    parse,
)
from tellstream.auth.clients import OAuthClient, new_client

HERE = "http://127.0.0.1:8000"
CALLBACK = "https://app.example/cb"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
ABSENT = None

APP, _ = new_client("App", [CALLBACK], ["chat", "usage"], [1], public=False)
PUBLIC, _ = new_client("Public", [CALLBACK], ["chat"], [1], public=True)
EXEMPT, _ = new_client("Old", [CALLBACK], ["chat"], [1], public=False, pkce_required=False)
MACHINE, _ = new_client(
    "Machine", [CALLBACK], ["chat"], [1], public=False, grant_types=["client_credentials"]
)


class Clients:
    def get(self, client_id: str) -> OAuthClient | None:
        known = {c.client_id: c for c in (APP, PUBLIC, EXEMPT, MACHINE)}
        return known.get(client_id)


def query(client: OAuthClient = APP, /, **changes: str | None) -> bytes:
    values = {
        "response_type": "code",
        "client_id": client.client_id,
        "redirect_uri": CALLBACK,
        "scope": "chat",
        "state": "s",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    } | changes
    return urlencode({name: value for name, value in values.items() if value is not None}).encode()


def accept(raw: bytes) -> AuthorizationRequest:
    return parse(raw, Clients(), HERE)


def refuse(raw: bytes) -> dict[str, str]:
    """What the client is told."""
    with pytest.raises(RedirectError) as caught:
        parse(raw, Clients(), HERE)
    location = caught.value.location
    assert location.startswith(CALLBACK + "?")
    told = parse_qs(urlsplit(location).query)
    assert told["iss"] == [HERE]  # A6
    return {name: values[0] for name, values in told.items()}


def show(raw: bytes) -> str:
    """What the person is told, and nobody else."""
    with pytest.raises(PageError) as caught:
        parse(raw, Clients(), HERE)
    assert caught.value.status == 400
    return caught.value.message


def test_a_good_request_is_understood() -> None:
    request = accept(query())
    assert (request.client, request.redirect_uri, request.state) == (APP, CALLBACK, "s")
    assert (set(request.scopes), request.challenge, request.resource) == ({"chat"}, CHALLENGE, HERE)
    assert accept(request.query.encode()) == request


def test_without_scope_all_of_the_clients_are_asked_for() -> None:
    assert accept(query(scope=ABSENT)).scopes == {"chat", "usage"}


@pytest.mark.parametrize(
    "changes",
    [
        {"code_challenge": ABSENT, "code_challenge_method": ABSENT},
        {"code_challenge": ABSENT},
        {"code_challenge_method": ABSENT},
        {"code_challenge_method": "plain"},
        {"code_challenge_method": "s256"},
        {"code_challenge_method": "S512"},
        {"code_challenge": "short"},
        {"code_challenge": CHALLENGE + "="},
        {"code_challenge": CHALLENGE + "\n"},
        {"code_challenge": "", "code_challenge_method": ""},
    ],
)
@pytest.mark.parametrize("client", [APP, PUBLIC], ids=["confidential", "public"])
def test_a1_pkce_with_s256_is_required(client: OAuthClient, changes: dict[str, str | None]) -> None:
    assert refuse(query(client, **changes))["error"] == "invalid_request"


def test_a1_a_client_can_be_exempted() -> None:
    none = {"code_challenge": ABSENT, "code_challenge_method": ABSENT}
    assert accept(query(EXEMPT, **none)).challenge is None
    assert accept(query(EXEMPT)).challenge == CHALLENGE


@pytest.mark.parametrize(
    "changes", [{"code_challenge_method": "plain"}, {"code_challenge_method": ABSENT}]
)
def test_a1_an_exempted_client_that_uses_pkce_uses_s256(changes: dict[str, str | None]) -> None:
    assert refuse(query(EXEMPT, **changes))["error"] == "invalid_request"


def test_a1_a_public_client_cannot_be_exempted() -> None:
    with pytest.raises(ValueError, match="public client must use PKCE"):
        new_client("P", [CALLBACK], ["chat"], [1], public=True, pkce_required=False)
    changed = OAuthClient(
        client_id="p",
        name="P",
        redirect_uris=(CALLBACK,),
        scopes=frozenset({"chat"}),
        tenants=frozenset({1}),
        secret_sha256=None,
        pkce_required=False,
    )

    class One:
        def get(self, client_id: str) -> OAuthClient | None:
            return changed

    with pytest.raises(RedirectError):  # even if the store says so
        parse(query(changed, code_challenge=None, code_challenge_method=None), One(), HERE)


EVIL = ["https://evil.example/cb", CALLBACK + "/", CALLBACK + "#f", "", "javascript:alert(1)"]
WRONG: list[dict[str, str | None]] = [
    {},
    {"response_type": "token"},
    {"response_type": ABSENT},
    {"scope": "root"},
    {"code_challenge": ABSENT},
    {"resource": "https://other.example"},
    {"response_mode": "form_post"},
    {"state": "x" * 7000},
]


@pytest.mark.parametrize("redirect_uri", EVIL)
@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_a3_a_foreign_redirect_is_never_followed(
    redirect_uri: str, wrong: dict[str, str | None]
) -> None:
    show(query(**wrong | {"redirect_uri": redirect_uri}))


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_a3_an_unknown_client_is_never_answered(wrong: dict[str, str | None]) -> None:
    show(query(**wrong | {"client_id": "unknown"}))
    show(query(**wrong | {"client_id": ABSENT}))


@pytest.mark.parametrize("name", ["client_id", "redirect_uri"])
def test_a3_who_asks_and_where_the_answer_goes_may_be_said_once(name: str) -> None:
    value = {"client_id": APP.client_id, "redirect_uri": CALLBACK}[name]
    show(query() + f"&{name}={quote(value)}".encode())
    show(query() + f"&{name}=".encode())


@pytest.mark.parametrize(
    "raw", [b"", b"x", b"%FF=1", b"\xff=1", b"a=%FF", b"a=1&" * 40, b"a=" + b"x" * 9000]
)
def test_a3_what_cannot_be_read_is_never_answered(raw: bytes) -> None:
    show(raw)
    show(query() + b"&" + (raw or b"&"))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": "code id_token"}, "unsupported_response_type"),
        ({"response_type": ABSENT}, "invalid_request"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"scope": "admin"}, "invalid_scope"),
        ({"scope": "chat  usage"}, "invalid_scope"),
        ({"scope": "chat\tusage"}, "invalid_scope"),
    ],
)
def test_a3_then_the_client_is_told(changes: dict[str, str | None], error: str) -> None:
    told = refuse(query(**changes))
    assert (told["error"], told["state"]) == (error, "s")
    assert set('"\\').isdisjoint(told["error_description"])


def test_a3_a_client_without_this_grant_is_told() -> None:
    assert refuse(query(MACHINE))["error"] == "unauthorized_client"


@pytest.mark.parametrize("name", ["scope", "response_type", "code_challenge", "unknown"])
def test_a_parameter_that_occurs_twice_is_refused(name: str) -> None:
    told = refuse(query() + f"&{name}=a&{name}=b".encode())
    assert (told["error"], told["state"]) == ("invalid_request", "s")


def test_a_state_that_occurs_twice_is_not_sent_back() -> None:
    assert "state" not in refuse(query() + b"&state=t")


@pytest.mark.parametrize(
    "state",
    [" padded ", '"<>&%+ ;=#', "x" * 512, "a%20b", "ü\N{SNOWMAN}\N{GRINNING FACE}", "'\\\t\x00"],
)
def test_a6_state_comes_back_byte_for_byte(state: str) -> None:
    assert refuse(query(state=state, scope="root"))["state"] == state
    location = accept(query(state=state)).answer(code="c")
    told = parse_qs(urlsplit(location).query)
    assert told == {"code": ["c"], "state": [state], "iss": [HERE]}
    assert accept(accept(query(state=state)).query.encode()).state == state


def test_a6_no_state_is_no_state() -> None:
    location = accept(query(state=ABSENT)).answer(code="c")
    assert parse_qs(urlsplit(location).query).keys() == {"code", "iss"}


def test_a17_the_resource_is_this_server() -> None:
    assert accept(query(resource=HERE)).resource == HERE
    for resource in (HERE + "/", "https://other.example", "x"):
        assert refuse(query(resource=resource))["error"] == "invalid_target"


def test_nothing_that_was_sent_is_shown() -> None:
    for raw in (query(client_id="CANARY"), query(redirect_uri="https://CANARY/")):
        assert "CANARY" not in show(raw)
