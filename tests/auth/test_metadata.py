import pytest

from tellstream.auth import metadata
from tellstream.auth.token_grants import GRANTS

HERE = "http://127.0.0.1:8000"
METHODS = ["client_secret_basic", "client_secret_post", "none"]


@pytest.mark.parametrize("public_url", [HERE, HERE + "/"])
def test_authorization_server_metadata_names_what_exists(public_url: str) -> None:
    assert metadata.authorization_server_metadata(public_url) == {
        "issuer": HERE,
        "authorization_endpoint": HERE + "/oauth/authorize",
        "token_endpoint": HERE + "/oauth/token",
        "revocation_endpoint": HERE + "/oauth/revoke",
        "jwks_uri": HERE + "/oauth/jwks",
        "scopes_supported": ["chat", "streams:all", "usage", "admin"],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "client_credentials", "refresh_token"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": METHODS,
        "revocation_endpoint_auth_methods_supported": METHODS,
        "authorization_response_iss_parameter_supported": True,
    }


def test_the_grants_announced_are_those_of_the_table() -> None:
    document = metadata.authorization_server_metadata(HERE)
    assert document["grant_types_supported"] == list(GRANTS)


@pytest.mark.parametrize("public_url", [HERE, HERE + "/"])
def test_protected_resource_metadata(public_url: str) -> None:
    assert metadata.protected_resource_metadata(public_url) == {
        "resource": HERE,
        "authorization_servers": [HERE],
        "scopes_supported": ["chat", "streams:all", "usage", "admin"],
        "bearer_methods_supported": ["header"],
    }


@pytest.mark.parametrize(
    ("public_url", "url"),
    [
        ("https://chat.example", "https://chat.example/.well-known/{}"),
        ("https://chat.example:8443/", "https://chat.example:8443/.well-known/{}"),
        ("https://chat.example/base/v2/", "https://chat.example/.well-known/{}/base/v2"),
    ],
)
def test_well_known_urls_are_inserted_before_the_path(public_url: str, url: str) -> None:
    assert metadata.protected_resource_metadata_url(public_url) == url.format(
        "oauth-protected-resource"
    )
    assert metadata.authorization_server_metadata_url(public_url) == url.format(
        "oauth-authorization-server"
    )


@pytest.mark.parametrize(
    "public_url", [HERE, "http://localhost:1", "http://127.8.0.1", "http://[::1]:8000", "https://h"]
)
def test_a18_http_is_for_this_machine(public_url: str) -> None:
    assert metadata.issuer_identifier(public_url) == public_url


@pytest.mark.parametrize(
    "public_url",
    [
        "http://chat.example", "http://10.0.0.1:8000", "http://127.0.0.1.example",
        "http://0.0.0.0:8000", "http://localhost.example", "", "chat.example", "//h", "ftp://h",
        "https://", "https:///p",
        "https://u:p@h", "https://h?q", "https://h/#f", 'https://h/"x', "https://h/\n",
        "https://h /",
    ],
)  # fmt: skip
def test_other_addresses_are_refused(public_url: str) -> None:
    with pytest.raises(ValueError, match="public_url"):
        metadata.issuer_identifier(public_url)
