import hashlib
from pathlib import Path

import pytest

from tellstream.auth.clients import FILE_NAME, ClientRegistry, OAuthClient, secret_matches
from tellstream.auth.private_files import PrivateFileError


def create(registry: ClientRegistry, *, public: bool = False) -> tuple[OAuthClient, str | None]:
    return registry.create("Bot", ["https://app.example/cb"], ["chat"], [7], public=public)


def test_a_client_is_stored_and_found_again(tmp_path: Path) -> None:
    client, secret = create(ClientRegistry(tmp_path))
    assert (client.name, client.redirect_uris) == ("Bot", ("https://app.example/cb",))
    assert (set(client.scopes), set(client.tenants), client.public) == ({"chat"}, {7}, False)
    assert secret is not None
    again = ClientRegistry(tmp_path)
    assert again.get(client.client_id) == client
    assert again.list() == [client]
    assert again.get("other") is None
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_a8_the_secret_has_256_bits_and_is_stored_as_a_hash(tmp_path: Path) -> None:
    client, secret = create(ClientRegistry(tmp_path))
    assert secret is not None
    assert len(secret) == 43
    assert secret not in (tmp_path / FILE_NAME).read_text()
    assert client.secret_sha256 == hashlib.sha256(secret.encode()).hexdigest()
    assert secret_matches(client, secret)


def test_a8_other_secrets_do_not_match(tmp_path: Path) -> None:
    client, secret = create(ClientRegistry(tmp_path))
    public, none = create(ClientRegistry(tmp_path), public=True)
    assert secret is not None
    assert none is None
    for wrong in ("", secret[:-1], secret + "x", client.secret_sha256 or "", "é"):
        assert not secret_matches(client, wrong)
    assert not secret_matches(None, secret)
    assert not secret_matches(public, "")
    assert public.public


def test_a8_an_unknown_client_costs_a_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []

    def compare(offered: str, expected: str) -> bool:
        compared.append((offered, expected))
        return True

    monkeypatch.setattr("tellstream.auth.clients.compare_digest", compare)
    assert not secret_matches(None, "secret")
    assert [len(value) for value in compared[0]] == [64, 64]


def test_changes_of_another_process_are_seen(tmp_path: Path) -> None:
    reader, writer = ClientRegistry(tmp_path), ClientRegistry(tmp_path)
    assert reader.list() == []
    clients = [create(writer)[0], create(writer, public=True)[0]]
    assert reader.list() == clients
    clients.append(create(reader)[0])
    assert writer.list() == clients
    (tmp_path / FILE_NAME).unlink()
    assert reader.get(clients[0].client_id) is None


def test_the_file_is_read_only_when_it_changed(tmp_path: Path) -> None:
    registry = ClientRegistry(tmp_path)
    client, _ = create(registry)
    assert registry.get(client.client_id) is registry.get(client.client_id)


@pytest.mark.parametrize("content", [b"", b"{", b'{"clients":[{}]}', b'{"clients":1}', b"\xff"])
def test_a_damaged_file_is_reported_and_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / FILE_NAME
    path.touch(mode=0o600)
    path.write_bytes(content)
    registry = ClientRegistry(tmp_path)
    for use in (registry.list, lambda: create(registry)):
        with pytest.raises(PrivateFileError, match=r"oauth_clients.json: is damaged"):
            use()
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "uri",
    [
        "https://app.example/", "https://app.example:8443/cb?x=1", "http://127.0.0.1/cb",
        "http://127.0.0.1:49152/cb", "http://[::1]:1/cb",
    ],
)  # fmt: skip
def test_redirects_that_may_be_registered(tmp_path: Path, uri: str) -> None:
    client, _ = ClientRegistry(tmp_path).create("Bot", [uri], ["chat"], [1], public=True)
    assert client.redirect_uris == (uri,)


@pytest.mark.parametrize(
    "uri",
    [
        "", "/cb", "https://app.example", "http://app.example/cb", "http://localhost/cb", "https://u@app.example/",
        "https://app.example/#f", "https://*.example/cb", "https://app.example\\cb", "https://app.example/\\cb",
        "https://app.example/cb\n", "javascript:alert(1)", "app://cb", "http://127.0.0.1.example/cb",
    ],
)  # fmt: skip
def test_redirects_that_may_not(tmp_path: Path, uri: str) -> None:
    with pytest.raises(ValueError, match="redirect"):
        ClientRegistry(tmp_path).create("Bot", [uri], ["chat"], [1], public=True)
    assert not (tmp_path / FILE_NAME).exists()


@pytest.mark.parametrize(
    ("name", "scopes", "tenants"),
    [
        ("", ["chat"], [1]), ("a\n", ["chat"], [1]), ("a" * 101, ["chat"], [1]), ("a", [], [1]),
        ("a", ["root"], [1]), ("a", ["chat usage"], [1]), ("a", ["chat"], []), ("a", ["chat"], [0]),
        ("a", ["chat"], [2**63]), ("a", ["chat"], list(range(1, 102))),
    ],
)  # fmt: skip
def test_a_client_needs_a_name_scopes_and_tenants(
    tmp_path: Path, name: str, scopes: list[str], tenants: list[int]
) -> None:
    with pytest.raises(ValueError, match="client"):
        ClientRegistry(tmp_path).create(name, [], scopes, tenants, public=False)
