"""Another implementation of the client, Authlib's, against the running endpoints."""

import re
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from authlib.integrations.httpx_client import (  # type: ignore[import-untyped] # it ships none
    AsyncOAuth2Client,
    OAuthError,
)

from support.authorization import CALLBACK, AuthServer, browser, listening
from support.ports import free_ports
from support.processes import servers
from support.remote import admin, remote


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[AuthServer]:
    async with listening(tmp_path) as server:
        yield server


@pytest.mark.parametrize("public", [False, True], ids=["confidential", "public"])
async def test_authlib_completes_code_with_pkce_refresh_and_revoke(
    server: AuthServer, public: bool
) -> None:
    application, user = await server.client(public=public), await server.user()
    verifier = secrets.token_urlsafe(48)
    async with AsyncOAuth2Client(
        application.client.client_id,
        application.secret,
        scope="chat usage",
        redirect_uri=CALLBACK,
        code_challenge_method="S256",
        token_endpoint_auth_method="none" if public else "client_secret_basic",
        verify=False,
        trust_env=False,
    ) as client:
        response = await client.request(
            "GET", f"{server.url}/.well-known/oauth-authorization-server", withhold_token=True
        )
        found = response.json()
        assert found["issuer"] == server.url
        url, state = client.create_authorization_url(
            found["authorization_endpoint"], code_verifier=verifier
        )
        async with browser(server) as person:
            await person.open(url.partition("?")[2])
            await person.log_in()
            page = await person.send("approve")
        tokens: dict[str, Any] = await client.fetch_token(
            found["token_endpoint"],
            authorization_response=page.headers["location"],
            state=state,
            code_verifier=verifier,
        )
        assert server.verify(tokens["access_token"]).subject == user.id
        again = await client.refresh_token(found["token_endpoint"])
        assert again["refresh_token"] != tokens["refresh_token"]
        assert server.is_good(again["access_token"])
        response = await client.revoke_token(
            found["revocation_endpoint"], again["refresh_token"], "refresh_token"
        )
        assert response.status_code == 200
        assert not server.is_good(again["access_token"])
        with pytest.raises(OAuthError, match="invalid_grant"):
            await client.refresh_token(found["token_endpoint"], again["refresh_token"])


async def test_authlib_gets_client_credentials(server: AuthServer) -> None:
    application = await server.client()
    for method in ("client_secret_basic", "client_secret_post"):
        async with AsyncOAuth2Client(
            application.client.client_id,
            application.secret,
            scope="chat",
            token_endpoint_auth_method=method,
            verify=False,
            trust_env=False,
        ) as client:
            tokens = await client.fetch_token(
                f"{server.url}/oauth/token", grant_type="client_credentials"
            )
        assert server.verify(tokens["access_token"]).subject == application.client.client_id
        assert "refresh_token" not in tokens


async def test_authlib_and_the_first_administrator_at_a_whole_server(tmp_path: Path) -> None:
    """``tellstream serve``: the password of its banner, a code, a stream, refresh and revoke."""
    port, verifier = free_ports(1)[0], secrets.token_urlsafe(48)
    async with servers(tmp_path, public_url=f"http://127.0.0.1:{port}") as pool:
        server = await pool.start(port=port)
        found = re.search(r"First administrator: (\S+), .* password (\S+)", server.banner)
        assert found
        made = await admin(
            pool, "client", "create", "--name", "Authlib", "--redirect-uri", CALLBACK,
            "--scope", "chat usage", "--tenant", "1",
        )  # fmt: skip
        async with (
            remote(server.url) as there,
            AsyncOAuth2Client(
                made["client_id"],
                made["client_secret"],
                scope="chat usage",
                redirect_uri=CALLBACK,
                code_challenge_method="S256",
                token_endpoint_auth_method="client_secret_basic",
                verify=False,
                trust_env=False,
            ) as client,
        ):
            document = f"{server.url}/.well-known/oauth-authorization-server"
            metadata = (await client.request("GET", document, withhold_token=True)).json()
            assert metadata["issuer"] == server.url
            url, state = client.create_authorization_url(
                metadata["authorization_endpoint"], code_verifier=verifier
            )
            person = there.browser()
            try:
                await person.open(url.partition("?")[2])
                page = await person.log_in(found[1], found[2])
                assert "Choose a password" in page.text
                changed = "four unrelated words here"
                await person.send("password", password=changed, repeat=changed)
                page = await person.send("approve")
            finally:
                await person.http.aclose()
            tokens = await client.fetch_token(
                metadata["token_endpoint"],
                authorization_response=page.headers["location"],
                state=state,
                code_verifier=verifier,
            )
            assert (tokens["scope"], tokens["expires_in"]) == ("chat usage", 3600)

            async def ask() -> int:
                response = await client.post(
                    f"{server.url}/v1/chat", json={"prompt": "x"}, headers={"X-Tenant": "1"}
                )
                status: int = response.status_code
                return status

            assert await ask() == 200
            again = await client.refresh_token(metadata["token_endpoint"])
            assert again["refresh_token"] != tokens["refresh_token"]
            assert await ask() == 200
            endpoint = metadata["revocation_endpoint"]
            await client.revoke_token(endpoint, again["refresh_token"], "refresh_token")
            client.token = {**again, "expires_at": 2**40}  # so that Authlib does not refresh it
            assert await ask() == 401
            with pytest.raises(OAuthError, match="invalid_grant"):
                await client.refresh_token(metadata["token_endpoint"], again["refresh_token"])
