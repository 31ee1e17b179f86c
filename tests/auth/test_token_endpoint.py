import base64
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus, urlencode

import msgspec
import pytest

from tellstream.auth.clients import OAuthClient, new_client
from tellstream.auth.issuers import embedded_issuer
from tellstream.auth.keys import SigningKeys
from tellstream.auth.token_endpoint import TokenContext, TokenResponse, answer_token_request
from tellstream.auth.tokens import TokenVerifier

NOW = 1_800_000_000.25
HERE = "http://127.0.0.1:8000"
FORM = b"application/x-www-form-urlencoded"
GRANT = ("grant_type", "client_credentials")

Headers = list[tuple[bytes, bytes]]
Pairs = list[tuple[str, str]]


class Server:
    """A token endpoint with one confidential client (tenants 7 and 8; chat, usage) and others."""

    def __init__(self, data_dir: Path) -> None:
        keys = SigningKeys.load_or_create(data_dir)
        self.clients: dict[str, OAuthClient] = {}
        self.context = TokenContext(embedded_issuer(HERE, keys), keys, self)
        self.client, secret = self.create("Bot", ["chat", "usage"], [7, 8])
        self.other, other_secret = self.create("High", ["admin"], [9])
        self.public, _ = self.create("App", ["chat"], [7], public=True)
        assert secret
        assert other_secret
        self.secret, self.other_secret = secret, other_secret

    def create(self, name: str, scopes: list[str], tenants: list[int], public: bool = False) -> Any:
        client, secret = new_client(name, [], scopes, tenants, public=public)
        self.clients[client.client_id] = client
        return client, secret

    def get(self, client_id: str) -> OAuthClient | None:
        return self.clients.get(client_id)

    def basic(self, name: str | None = None, secret: str | None = None) -> tuple[bytes, bytes]:
        pair = f"{name or self.client.client_id}:{secret or self.secret}"
        return b"authorization", b"Basic " + base64.b64encode(pair.encode())

    def post(
        self, pairs: Pairs | bytes, *headers: tuple[bytes, bytes], query: bytes = b""
    ) -> TokenResponse:
        body = pairs if isinstance(pairs, bytes) else urlencode(pairs).encode()
        return answer_token_request(
            self.context, [(b"content-type", FORM), *headers], query, body, NOW
        )

    def credentials(self) -> Pairs:
        return [("client_id", self.client.client_id), ("client_secret", self.secret)]


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


def check_error(response: TokenResponse, status: int, code: str) -> None:
    assert (response.status, response.body["error"]) == (status, code)
    assert response.body.keys() == {"error", "error_description"}
    assert set('"\\').isdisjoint(str(response.body["error_description"]))
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Pragma"] == "no-cache"
    assert ("WWW-Authenticate" in response.headers) == (status == 401)


def test_a16_a_client_gets_a_token_for_itself(server: Server) -> None:
    response = server.post([GRANT], server.basic())
    assert response.status == 200
    assert response.headers == {"Cache-Control": "no-store", "Pragma": "no-cache"}
    token = response.body.pop("access_token")
    # A16: no refresh token
    assert response.body == {"token_type": "Bearer", "expires_in": 3600, "scope": "chat usage"}
    principal = TokenVerifier([server.context.issuer]).verify(str(token), NOW)
    assert principal.subject == principal.client == server.client.client_id
    assert principal.tenants == {7, 8}
    assert principal.scopes == {"chat", "usage"}
    assert principal.expires_at == int(NOW) + 3600


def test_a7_client_secret_post(server: Server) -> None:
    assert server.post([GRANT, *server.credentials()]).status == 200


def test_a7_basic_parts_are_form_decoded(server: Server) -> None:
    name = "".join(f"%{ord(character):02X}" for character in server.client.client_id)
    assert server.post([GRANT], server.basic(name, quote_plus(server.secret))).status == 200


def test_a7_the_same_client_id_in_the_body_is_no_second_method(server: Server) -> None:
    pairs = [GRANT, ("client_id", server.client.client_id)]
    assert server.post(pairs, server.basic()).status == 200


@pytest.mark.parametrize("parameter", ["client_secret", "client_assertion"])
def test_a7_two_methods(server: Server, parameter: str) -> None:
    pairs = [GRANT, (parameter, server.secret)]
    check_error(server.post(pairs, server.basic()), 400, "invalid_request")


def test_a7_secret_and_assertion(server: Server) -> None:
    pairs = [GRANT, *server.credentials(), ("client_assertion", "e30.e30.x")]
    check_error(server.post(pairs), 400, "invalid_request")
    check_error(server.post([GRANT, pairs[-1]]), 401, "invalid_client")


def test_a7_two_authorization_headers(server: Server) -> None:
    check_error(server.post([GRANT], server.basic(), server.basic()), 400, "invalid_request")


def test_a7_basic_as_one_client_and_body_as_another(server: Server) -> None:
    pairs = [GRANT, ("client_id", server.other.client_id)]
    check_error(server.post(pairs, server.basic()), 400, "invalid_request")


@pytest.mark.parametrize(
    "value",
    [
        b"", b"Basic", b"Basic ", b"Basic !", b"Basic " + base64.b64encode(b"no colon"),
        b"Bearer e30.e30.x",
        b"Basic " + base64.b64encode(b"a:b:c"), b"Basic " + base64.b64encode(b"%FF:x"),
        b"Basic " + base64.b64encode(b"\xff:x"), b"Basic " + base64.b64encode(b":"), b"\xff",
        b"Basic " + base64.b64encode(b"unknown:secret"),
    ],
)  # fmt: skip
def test_a7_bad_authorization_is_401_with_a_basic_challenge(server: Server, value: bytes) -> None:
    response = server.post([GRANT], (b"authorization", value))
    check_error(response, 401, "invalid_client")
    assert response.headers["WWW-Authenticate"] == 'Basic realm="tellstream"'


def test_a8_unknown_client_and_wrong_secret_look_alike(server: Server) -> None:
    wrong = [("client_id", server.client.client_id), ("client_secret", server.other_secret)]
    unknown = [("client_id", "x"), ("client_secret", server.secret)]
    check_error(server.post([GRANT, *wrong]), 401, "invalid_client")
    assert server.post([GRANT, *wrong]) == server.post([GRANT, *unknown])


@pytest.mark.parametrize("unknown", [True, False])
def test_a8_a_secret_is_always_compared(
    server: Server, monkeypatch: pytest.MonkeyPatch, unknown: bool
) -> None:
    compared = []

    def compare(offered: str, expected: str) -> bool:
        compared.append(expected)
        return offered == expected

    monkeypatch.setattr("tellstream.auth.clients.compare_digest", compare)
    client_id = "x" if unknown else server.client.client_id
    server.post([GRANT, ("client_id", client_id), ("client_secret", "wrong")])
    assert len(compared) == 1


def test_no_credentials_at_all(server: Server) -> None:
    check_error(server.post([GRANT]), 401, "invalid_client")
    check_error(server.post([GRANT, ("client_id", server.client.client_id)]), 401, "invalid_client")


def test_a16_public_clients_are_refused(server: Server) -> None:
    name = ("client_id", server.public.client_id)
    check_error(server.post([GRANT, name]), 400, "unauthorized_client")
    check_error(server.post([GRANT, name, ("client_secret", "x")]), 401, "invalid_client")
    # Even if the registration says otherwise.
    told = msgspec.structs.replace(server.public, grant_types=frozenset({"client_credentials"}))
    server.clients[told.client_id] = told
    check_error(server.post([GRANT, name]), 400, "unauthorized_client")


@pytest.mark.parametrize("scope", ["chat", "usage", "usage chat"])
def test_a16_scopes_can_shrink(server: Server, scope: str) -> None:
    response = server.post([GRANT, ("scope", scope)], server.basic())
    assert response.status == 200
    assert response.body["scope"] == " ".join(sorted(scope.split()))
    token = str(response.body["access_token"])
    scopes = TokenVerifier([server.context.issuer]).verify(token, NOW).scopes
    assert scopes == frozenset(scope.split())


@pytest.mark.parametrize(
    "scope",
    [
        "admin", "chat admin", "chatter", "cha", "CHAT", "chat\tusage", " chat", "chat ",
        "chat  usage", "chat\u00e9",
        'chat"', " ",
    ],
)  # fmt: skip
def test_a16_other_scopes_are_refused(server: Server, scope: str) -> None:
    check_error(server.post([GRANT, ("scope", scope)], server.basic()), 400, "invalid_scope")


def test_a16_tenants_come_from_the_registration(server: Server) -> None:
    pairs = [GRANT, ("tenants", "9"), ("tenant", "9"), ("sub", "root"), ("ttl", "9999999")]
    response = server.post(pairs, server.basic(), (b"x-tenant", b"9"))
    principal = TokenVerifier([server.context.issuer]).verify(
        str(response.body["access_token"]), NOW
    )
    assert (set(principal.tenants), principal.subject) == ({7, 8}, server.client.client_id)


def test_a17_resource(server: Server) -> None:
    assert server.post([GRANT, ("resource", HERE)], server.basic()).status == 200
    for resource in (HERE + "/", "https://other.example", "x"):
        response = server.post([GRANT, ("resource", resource)], server.basic())
        check_error(response, 400, "invalid_target")


@pytest.mark.parametrize(
    "grant",
    [
        "password", "implicit", "x", "CLIENT_CREDENTIALS", "Authorization_code",
        "urn:ietf:params:oauth:grant-type:device_code",
    ],
)  # fmt: skip
def test_unsupported_grants(server: Server, grant: str) -> None:
    response = server.post([("grant_type", grant)], server.basic())
    check_error(response, 400, "unsupported_grant_type")


@pytest.mark.parametrize("pairs", [[], [("grant_type", "")], [("scope", "chat")]])
def test_grant_type_is_required(server: Server, pairs: Pairs) -> None:
    check_error(server.post(pairs, server.basic()), 400, "invalid_request")


@pytest.mark.parametrize("name", ["grant_type", "scope", "client_id", "resource", "unknown"])
def test_a11_duplicates(server: Server, name: str) -> None:
    pairs = [GRANT, (name, "chat"), (name, "chat")]
    check_error(server.post(pairs, server.basic()), 400, "invalid_request")


def test_a11_a_duplicate_may_not_hide_behind_emptiness(server: Server) -> None:
    body = b"grant_type=client_credentials&scope=&scope=chat"
    check_error(server.post(body, server.basic()), 400, "invalid_request")


def test_a11_nothing_from_the_query(server: Server) -> None:
    response = server.post([], server.basic(), query=b"grant_type=client_credentials")
    check_error(response, 400, "invalid_request")
    check_error(server.post([GRANT], server.basic(), query=b"x"), 400, "invalid_request")


@pytest.mark.parametrize(
    "types",
    [[], [b""], [b"application/json"], [b"multipart/form-data"], [FORM + b"x"], [FORM, FORM]],
)
def test_a11_form_only(server: Server, types: list[bytes]) -> None:
    headers: Headers = [server.basic(), *((b"content-type", value) for value in types)]
    body = urlencode([GRANT]).encode()
    response = answer_token_request(server.context, headers, b"", body, NOW)
    check_error(response, 400, "invalid_request")


def test_a11_a_charset_parameter_is_harmless(server: Server) -> None:
    kind = b"Application/X-WWW-Form-Urlencoded; charset=UTF-8"
    headers: Headers = [server.basic(), (b"Content-Type", kind)]
    body = urlencode([GRANT]).encode()
    assert answer_token_request(server.context, headers, b"", body, NOW).status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{}", b"grant_type", b"grant_type=client_credentials&", b"grant_type=%FF",
        b"grant_type=\xff",
        b"grant_type=client_credentials&" + b"&".join(b"a%d=1" % n for n in range(32)),
        b"grant_type=client_credentials&a=" + b"x" * 16384,
    ],
)  # fmt: skip
def test_a11_malformed_bodies(server: Server, body: bytes) -> None:
    check_error(server.post(body, server.basic()), 400, "invalid_request")


def test_nothing_received_is_repeated(server: Server) -> None:
    for pairs in ([("grant_type", "CANARY")], [GRANT, ("scope", "CANARY")]):
        assert "CANARY" not in str(server.post(pairs, server.basic()))
