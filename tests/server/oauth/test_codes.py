"""Codes and what they are redeemed for: rules A1, A2, A4, A5, A7, A17."""

import asyncio
import secrets

import httpx2
import pytest

from support.authorization import (
    CALLBACK,
    Application,
    AuthServer,
    answer,
    browser,
    claims,
    grant,
)
from support.homes import Home
from tellstream.auth.codes import CODE_SECONDS


def check_invalid(response: httpx2.Response, code: str = "invalid_grant") -> None:
    assert (response.status_code, response.json()["error"]) == (400, code)
    assert response.headers["cache-control"] == "no-store"


async def new_code(application: Application, **changes: str | None) -> str:
    async with browser(application.server) as person:
        return await person.code(application, **changes)


async def test_a_code_becomes_tokens(stored: AuthServer) -> None:
    application, user = await stored.client(), await stored.user()
    tokens = await grant(application, scope="chat usage")
    assert tokens.keys() == {"access_token", "token_type", "expires_in", "scope", "refresh_token"}
    assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 3600)
    assert tokens["scope"] == "chat usage"
    principal = stored.verify(tokens["access_token"])
    assert (principal.subject, principal.client) == (user.id, application.client.client_id)
    assert (set(principal.tenants), set(principal.scopes)) == ({1, 2}, {"chat", "usage"})
    assert claims(tokens["access_token"])["sid"]


async def test_what_is_granted_is_what_both_have(stored: AuthServer) -> None:
    application = await stored.client(scope="chat usage admin", tenants=(2, 3))
    await stored.user(tenants=[1, 2], scopes=["chat", "usage"])
    tokens = await grant(application, scope="chat admin")
    principal = stored.verify(tokens["access_token"])
    assert (set(principal.tenants), set(principal.scopes)) == ({2}, {"chat"})
    assert tokens["scope"] == "chat"


async def test_a1_the_verifier_of_another_flow_is_refused(auth: AuthServer) -> None:
    application, _ = await auth.client(), await auth.user()
    code = await new_code(application)
    check_invalid(await application.redeem(code, code_verifier=secrets.token_urlsafe(48)))
    check_invalid(await application.redeem(code))  # a guess costs the code


@pytest.mark.parametrize("verifier", ["", "a" * 42, "a" * 129, "{}\n"])
async def test_a1_a_malformed_verifier_is_refused(auth: AuthServer, verifier: str) -> None:
    application, _ = await auth.client(), await auth.user()
    code = await new_code(application)
    wrong = verifier.replace("{}", application.verifier)
    check_invalid(await application.redeem(code, code_verifier=wrong))


async def test_a1_an_exempted_client_needs_no_verifier_and_may_not_send_one(
    auth: AuthServer,
) -> None:
    application, _ = await auth.client(pkce_required=False), await auth.user()
    none = {"code_challenge": None, "code_challenge_method": None}
    code = await new_code(application, **none)
    check_invalid(await application.redeem(code))  # a verifier without a challenge
    code = await new_code(application, **none)
    assert (await application.redeem(code, code_verifier="")).status_code == 200
    code = await new_code(application)
    check_invalid(await application.redeem(code, code_verifier=""))  # with one, it must be shown


async def test_a2_the_redirect_is_compared_again(auth: AuthServer) -> None:
    application = await auth.client(uris=(CALLBACK, "http://127.0.0.1/cb"))
    await auth.user()
    for wrong in (CALLBACK + "/", "http://127.0.0.1/cb", CALLBACK.upper()):
        check_invalid(await application.redeem(await new_code(application), redirect_uri=wrong))
    code = await new_code(application)
    check_invalid(await application.redeem(code, redirect_uri=""), "invalid_request")
    ported = {"redirect_uri": "http://127.0.0.1:5001/cb"}
    code = await new_code(application, **ported)
    check_invalid(await application.redeem(code, redirect_uri="http://127.0.0.1:5002/cb"))
    code = await new_code(application, **ported)
    assert (await application.redeem(code, **ported)).status_code == 200


async def test_a4_a_code_belongs_to_its_client(auth: AuthServer) -> None:
    application, other = await auth.client(), await auth.client(public=True)
    await auth.user()
    code = await new_code(application)
    other.verifier = application.verifier
    check_invalid(await other.redeem(code))


async def test_a4_a_code_lives_for_a_minute(stored: AuthServer) -> None:
    application, _ = await stored.client(), await stored.user()
    code = await new_code(application)
    stored.offset += CODE_SECONDS + 1
    check_invalid(await application.redeem(code))


async def test_a4_nothing_that_was_handed_out_is_in_the_database(
    stored: AuthServer, home: Home
) -> None:
    application, _ = await stored.client(), await stored.user()
    async with browser(stored) as person:
        code = await person.code(application)
        tokens = (await application.redeem(code)).json()
        later = (await application.refresh(tokens["refresh_token"])).json()
        handed_out = [
            code, person.cookie, str(application.secret), "correct horse battery",
            *(t["access_token"] for t in (tokens, later)),
            *(t["refresh_token"] for t in (tokens, later)),
        ]  # fmt: skip
    tables = ["users", "oauth_clients", "login_sessions", "consents", "authorization_requests",
              "authorization_codes", "oauth_grants", "refresh_tokens", "oauth_revoked",
              "login_attempts", "audit_events"]  # fmt: skip
    rows = [row for table in tables for row in home.ask(f"SELECT * FROM {table}")]
    everything = b"\n".join(
        bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()
        for row in rows
        for value in row
    )
    assert len(rows) >= 8
    for secret in handed_out:
        assert secret.encode() not in everything


async def test_a5_of_fifty_at_once_one_is_served_and_then_all_is_revoked(
    stored: AuthServer,
) -> None:
    application, _ = await stored.client(), await stored.user()
    code = await new_code(application)
    responses = await asyncio.gather(*(application.redeem(code) for _ in range(50)))
    served = [response for response in responses if response.status_code == 200]
    assert len(served) == 1
    for response in responses:
        if response is not served[0]:
            check_invalid(response)
    tokens = served[0].json()
    assert not stored.is_good(tokens["access_token"])
    check_invalid(await application.refresh(tokens["refresh_token"]))


async def test_a5_a_replay_kills_what_the_code_was_redeemed_for(stored: AuthServer) -> None:
    application, _ = await stored.client(), await stored.user()
    code = await new_code(application)
    tokens = (await application.redeem(code)).json()
    later = (await application.refresh(tokens["refresh_token"])).json()
    untouched = await grant(application)
    await stored.later(CODE_SECONDS + 1)  # also when the code would be too old
    check_invalid(await application.redeem(code))
    assert not stored.is_good(tokens["access_token"])
    assert not stored.is_good(later["access_token"])
    check_invalid(await application.refresh(later["refresh_token"]))
    assert stored.is_good(untouched["access_token"])


@pytest.mark.parametrize("code", ["", "x", "a" * 43, "a" * 5000, "\0" * 43])
async def test_what_is_no_code_is_refused(stored: AuthServer, code: str) -> None:
    application = await stored.client()
    response = await application.redeem(code)
    check_invalid(response, "invalid_grant" if code else "invalid_request")


async def test_a7_the_client_that_authenticates_is_the_one_that_counts(auth: AuthServer) -> None:
    low, high = await auth.client(), await auth.client()
    await auth.user()
    code = await new_code(high)
    form = {
        "grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK,
        "code_verifier": high.verifier, "client_id": high.client.client_id,
    }  # fmt: skip
    basic = (low.client.client_id, str(low.secret))
    response = await auth.http.post("/oauth/token", data=form, auth=basic)
    check_invalid(response, "invalid_request")


async def test_a_public_client_needs_no_secret_but_the_verifier(auth: AuthServer) -> None:
    application = await auth.client(public=True)
    await auth.user()
    assert (await application.redeem(await new_code(application))).status_code == 200
    response = await application.redeem(await new_code(application), code_verifier="")
    check_invalid(response)


async def test_a17_the_resource_is_that_of_the_code(auth: AuthServer) -> None:
    application, _ = await auth.client(), await auth.user()
    here = auth.issuer.audience
    code = await new_code(application, resource=here)
    tokens = (await application.redeem(code, resource=here)).json()
    assert claims(tokens["access_token"])["aud"] == here
    code = await new_code(application)
    response = await application.redeem(code, resource="https://other.example")
    check_invalid(response, "invalid_target")
    wrong = {"resource": here + "/"}
    check_invalid(await application.refresh(tokens["refresh_token"], **wrong), "invalid_target")


async def test_a_user_who_was_disabled_gets_nothing_more(stored: AuthServer, home: Home) -> None:
    application, _ = await stored.client(), await stored.user()
    tokens, code = await grant(application), await new_code(application)
    home.ask("UPDATE users SET disabled_at = 1")
    check_invalid(await application.redeem(code))
    check_invalid(await application.refresh(tokens["refresh_token"]))
    assert not stored.is_good(tokens["access_token"])  # noticed, and the grant revoked
    async with browser(stored) as person:
        await person.open(application.query())
        assert (await person.log_in()).status_code == 403


async def test_a_client_without_refresh_tokens_gets_none(auth: AuthServer) -> None:
    application = await auth.client(grant_types=["authorization_code"])
    await auth.user()
    assert "refresh_token" not in await grant(application)
    check_invalid(await application.refresh("a" * 43), "unauthorized_client")
    check_invalid(await application.token(grant_type="client_credentials"), "unauthorized_client")


async def test_a6_the_answer_names_its_issuer(auth: AuthServer) -> None:
    application, _ = await auth.client(), await auth.user()
    async with browser(auth) as person:
        await person.open(application.query(state='"<>&%+ ü' + "x" * 500))
        await person.log_in()
        told = answer(await person.send("approve"))
    assert told.keys() == {"code", "state", "iss"}
    assert (told["iss"], told["state"]) == (auth.issuer.issuer, '"<>&%+ ü' + "x" * 500)
