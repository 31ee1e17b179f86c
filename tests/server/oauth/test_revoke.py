"""``/oauth/revoke``, and how soon everybody knows: rules A15 and R14."""

import asyncio
import time

import pytest

from support.authorization import AuthServer, grant
from tellstream.auth.revocations import BLIND_SECONDS, Revocations
from tellstream.auth.tokens import TokenVerifier, sign_token
from tellstream.core.errors import RequestError, ServerError


async def test_a15_an_access_token_is_revoked_by_itself(stored: AuthServer) -> None:
    application, _ = await stored.client(), await stored.user()
    first = await grant(application)
    second = (await application.refresh(first["refresh_token"])).json()
    response = await application.revoke(first["access_token"])
    assert (response.status_code, response.json()) == (200, {})
    assert response.headers["cache-control"] == "no-store"
    assert not stored.is_good(first["access_token"])
    assert stored.is_good(second["access_token"])
    assert (await application.refresh(second["refresh_token"])).status_code == 200


@pytest.mark.parametrize("used", [False, True])
async def test_a15_a_refresh_token_ends_its_whole_family(stored: AuthServer, used: bool) -> None:
    application, _ = await stored.client(), await stored.user()
    first, other = await grant(application), await grant(application)
    second = (await application.refresh(first["refresh_token"])).json()
    token = first if used else second
    assert (await application.revoke(token["refresh_token"])).status_code == 200
    for dead in (first, second):
        assert not stored.is_good(dead["access_token"])
        assert (await application.refresh(dead["refresh_token"])).status_code == 400
    assert stored.is_good(other["access_token"])
    assert (await application.revoke(token["refresh_token"])).status_code == 200  # again


@pytest.mark.parametrize("token", ["x", "a" * 43, "e30.e30.e30", "\0", "a" * 9000])
async def test_a15_an_unknown_token_is_as_good_as_revoked(stored: AuthServer, token: str) -> None:
    application = await stored.client()
    assert (await application.revoke(token)).status_code == 200


async def test_a15_another_clients_token_stays(stored: AuthServer) -> None:
    application, other = await stored.client(), await stored.client(public=True)
    await stored.user()
    tokens = await grant(application)
    for token in (tokens["access_token"], tokens["refresh_token"]):
        response = await other.revoke(token)
        assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")
    assert stored.is_good(tokens["access_token"])
    assert (await application.refresh(tokens["refresh_token"])).status_code == 200


async def test_a15_the_client_must_authenticate(auth: AuthServer) -> None:
    application, _ = await auth.client(), await auth.user()
    tokens = await grant(application)
    secret, application.secret = application.secret, None
    response = await application.revoke(tokens["access_token"])
    assert (response.status_code, response.json()["error"]) == (401, "invalid_client")
    assert "www-authenticate" in response.headers
    application.secret = secret
    response = await auth.http.post("/oauth/revoke", data=application.credentials)
    assert response.json()["error"] == "invalid_request"  # no token
    form = application.credentials | {"token": "x"}
    response = await auth.http.post("/oauth/revoke?token=x", data=form)
    assert response.json()["error"] == "invalid_request"
    assert auth.is_good(tokens["access_token"])


def refusal(verifier: TokenVerifier, token: str, now: float) -> str:
    try:
        verifier.verify(token, now)
    except RequestError as error:
        return error.reason or "no reason"
    return ""


async def test_r14_another_worker_knows_within_five_seconds(auth: AuthServer) -> None:
    application, _ = await auth.client(), await auth.user()
    tokens = [await grant(application) for _ in range(2)]
    elsewhere = Revocations(auth.store, auth.clock)
    await elsewhere.start()
    verifier = TokenVerifier([auth.issuer], elsewhere.is_revoked)
    try:
        for issued in tokens:
            verifier.verify(issued["access_token"], auth.clock())  # and now it is cached
        await application.revoke(tokens[0]["access_token"])
        await application.revoke(tokens[1]["refresh_token"])
        deadline = time.monotonic() + 5
        for issued in tokens:
            while True:
                reason = refusal(verifier, issued["access_token"], auth.clock())
                if reason.startswith("R14"):
                    break
                assert reason == ""
                assert time.monotonic() < deadline, "it took longer than promised"
                await asyncio.sleep(0.05)
    finally:
        await elsewhere.close()


async def test_r14_a_worker_that_starts_knows_at_once(stored: AuthServer) -> None:
    application, _ = await stored.client(), await stored.user()
    token = (await grant(application))["access_token"]
    await application.revoke(token)
    elsewhere = Revocations(stored.store, stored.clock)
    await elsewhere.refresh()
    with pytest.raises(RequestError):
        TokenVerifier([stored.issuer], elsewhere.is_revoked).verify(token, stored.clock())


async def test_r14_revocation_is_by_what_a_token_says(auth: AuthServer) -> None:
    application, _ = await auth.client(), await auth.user()
    token = (await grant(application))["access_token"]
    principal = auth.verify(token)
    await application.revoke(token)
    assert auth.server.revocations.is_revoked(principal.token_id, None)
    assert not auth.server.revocations.is_revoked("other", "other")


async def test_r14_a_list_that_is_too_old_lets_nobody_pass(auth: AuthServer) -> None:
    token = sign_token(
        auth.keys, auth.issuer, tenants=[1], subject="s", client="c", scopes=["chat"], ttl=600,
        now=auth.clock(),
    )  # fmt: skip
    fresh = Revocations(auth.store, auth.clock)
    verifier = TokenVerifier([auth.issuer], fresh.is_revoked)
    with pytest.raises(ServerError):  # nothing is known yet
        verifier.verify(token, auth.clock())
    await fresh.refresh()
    verifier.verify(token, auth.clock())
    auth.offset += BLIND_SECONDS - 5  # a short outage of the store
    verifier.verify(token, auth.clock())
    auth.offset += 10
    with pytest.raises(ServerError) as caught:
        verifier.verify(token, auth.clock())
    assert caught.value.code == "service_unavailable"


async def test_r14_what_has_expired_is_forgotten(auth: AuthServer) -> None:
    application, _ = await auth.client(), await auth.user()
    tokens = await grant(application)
    await application.revoke(tokens["access_token"])
    revocations = auth.server.revocations
    assert len(revocations._dead) == 1
    auth.offset += 4000
    await revocations.refresh()
    assert len(revocations._dead) == 0
