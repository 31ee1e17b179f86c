"""Refresh tokens: rules A9 and A10."""

import asyncio
from typing import Any

import httpx2
import pytest

from support.authorization import AuthServer, claims, grant
from support.homes import Home
from tellstream.auth.refresh_tokens import GRACE_SECONDS, IDLE_SECONDS
from tellstream.auth.sweep import sweep
from tellstream.auth.transactions import Transaction

DAY = 86_400


def check_invalid(response: httpx2.Response, code: str = "invalid_grant") -> None:
    assert (response.status_code, response.json()["error"]) == (400, code)


async def test_a9_each_use_gives_a_new_token_of_the_same_grant(stored: AuthServer) -> None:
    application, _ = await stored.client(), await stored.user()
    tokens = await grant(application, scope="chat usage")
    seen = {tokens["refresh_token"]}
    for _ in range(3):
        before = claims(tokens["access_token"])
        stored.offset += 3600
        response = await application.refresh(tokens["refresh_token"])
        assert response.headers["cache-control"] == "no-store"
        tokens = response.json()
        after = claims(tokens["access_token"])
        assert after["jti"] != before["jti"]
        assert {n: after[n] for n in ("sid", "sub", "client_id", "tenants", "scope")} == {
            n: before[n] for n in ("sid", "sub", "client_id", "tenants", "scope")
        }
        seen.add(tokens["refresh_token"])
    assert len(seen) == 4


async def test_a9_scopes_only_shrink(stored: AuthServer) -> None:
    application, _ = await stored.client(scope="chat usage admin"), await stored.user()
    tokens = await grant(application, scope="chat usage")
    for wider in ("admin", "chat usage admin", "chat  usage", "chat\tusage"):
        check_invalid(
            await application.refresh(tokens["refresh_token"], scope=wider), "invalid_scope"
        )
    less = (await application.refresh(tokens["refresh_token"], scope="chat")).json()
    assert less["scope"] == claims(less["access_token"])["scope"] == "chat"
    # RFC 6749 section 6: the new refresh token has the scope of the one before it.
    check_invalid(await application.refresh(less["refresh_token"], scope="admin"), "invalid_scope")
    again = (await application.refresh(less["refresh_token"])).json()
    assert again["scope"] == "chat usage"


async def test_a9_what_was_taken_from_the_user_is_gone_at_the_next_use(
    stored: AuthServer, home: Home
) -> None:
    application, _ = await stored.client(), await stored.user()
    tokens = await grant(application, scope="chat usage")
    home.ask("UPDATE users SET tenants = '2', scopes = 'chat'")
    tokens = (await application.refresh(tokens["refresh_token"])).json()
    assert claims(tokens["access_token"])["tenants"] == [2]
    assert tokens["scope"] == "chat"
    home.ask("UPDATE oauth_clients SET tenants = '1'")
    check_invalid(await application.refresh(tokens["refresh_token"]))


async def test_a9_a_token_belongs_to_its_client(stored: AuthServer) -> None:
    application, other = await stored.client(), await stored.client(public=True)
    await stored.user()
    tokens = await grant(application)
    check_invalid(await other.refresh(tokens["refresh_token"]))
    assert (await application.refresh(tokens["refresh_token"])).status_code == 200


async def test_a9_a_token_that_is_not_used_for_a_week_dies(stored: AuthServer) -> None:
    application, _ = await stored.client(), await stored.user()
    tokens = await grant(application)
    stored.offset += IDLE_SECONDS - 60
    tokens = (await application.refresh(tokens["refresh_token"])).json()
    stored.offset += IDLE_SECONDS + 1
    check_invalid(await application.refresh(tokens["refresh_token"]))


async def test_a9_a_grant_ends_after_thirty_days_whatever_its_tokens_say(
    stored: AuthServer, home: Home
) -> None:
    application, _ = await stored.client(), await stored.user()
    tokens = await grant(application)
    home.ask("UPDATE refresh_tokens SET expires_at = 9000000000")
    stored.offset += 30 * DAY + 1
    check_invalid(await application.refresh(tokens["refresh_token"]))


async def test_a9_a_grant_ends_after_thirty_days(stored: AuthServer) -> None:
    application, _ = await stored.client(), await stored.user()
    tokens = await grant(application)
    for _ in range(5):
        stored.offset += 6 * DAY - 10
        response = await application.refresh(tokens["refresh_token"])
        assert response.status_code == 200
        tokens = response.json()
    stored.offset += 100
    check_invalid(await application.refresh(tokens["refresh_token"]))


@pytest.mark.parametrize("token", ["x", "a" * 43, "\0" * 43, "a" * 5000])
async def test_what_is_no_token_is_refused(stored: AuthServer, token: str) -> None:
    check_invalid(await (await stored.client()).refresh(token))
    check_invalid(await (await stored.client()).refresh(""), "invalid_request")


async def test_a10_a_lost_answer_is_given_again(stored: AuthServer) -> None:
    application, _ = await stored.client(), await stored.user()
    first = (await grant(application))["refresh_token"]
    answered = (await application.refresh(first)).json()
    stored.offset += GRACE_SECONDS - 2
    assert (await application.refresh(first)).json() == answered
    later = await application.refresh(answered["refresh_token"])
    assert later.status_code == 200
    assert stored.is_good(answered["access_token"])


async def check_all_dead(stored: AuthServer, application: Any, *tokens: dict[str, Any]) -> None:
    for issued in tokens:
        assert not stored.is_good(issued["access_token"])
        check_invalid(await application.refresh(issued["refresh_token"]))


async def test_a10_a_token_whose_successor_was_used_ends_the_grant(
    stored: AuthServer, home: Home
) -> None:
    application, _ = await stored.client(), await stored.user()
    other = await grant(application)
    first = await grant(application)
    second = (await application.refresh(first["refresh_token"])).json()
    third = (await application.refresh(second["refresh_token"])).json()
    check_invalid(await application.refresh(first["refresh_token"]))  # within the ten seconds
    await check_all_dead(stored, application, first, second, third)
    assert stored.is_good(other["access_token"])
    acts = home.ask("SELECT act, outcome FROM audit_events WHERE act LIKE 'refresh_token%'")
    assert acts == [("refresh_token.replayed", "failed")]


async def test_a10_a_grandparent_within_the_grace_ends_the_grant(stored: AuthServer) -> None:
    application, _ = await stored.client(), await stored.user()
    tokens = [await grant(application)]
    for _ in range(3):
        tokens.append((await application.refresh(tokens[-1]["refresh_token"])).json())
    check_invalid(await application.refresh(tokens[1]["refresh_token"]))
    await check_all_dead(stored, application, *tokens)


async def test_a10_after_ten_seconds_a_used_token_ends_the_grant(stored: AuthServer) -> None:
    application, _ = await stored.client(), await stored.user()
    first = await grant(application)
    second = (await application.refresh(first["refresh_token"])).json()
    stored.offset += GRACE_SECONDS + 2
    check_invalid(await application.refresh(first["refresh_token"]))
    await check_all_dead(stored, application, first, second)


async def test_a10_the_grace_ends_with_the_use_of_the_successor(
    stored: AuthServer, home: Home
) -> None:
    application, _ = await stored.client(), await stored.user()
    first = await grant(application)
    second = (await application.refresh(first["refresh_token"])).json()
    # Used, but its predecessor's kept answer was not erased, for whatever reason.
    home.ask("UPDATE refresh_tokens SET consumed_at = 1 WHERE consumed_at IS NULL")
    check_invalid(await application.refresh(first["refresh_token"]))
    await check_all_dead(stored, application, first, second)


async def test_a10_the_grace_is_for_the_same_client(stored: AuthServer) -> None:
    application, other = await stored.client(), await stored.client()
    await stored.user()
    first = await grant(application)
    await application.refresh(first["refresh_token"])
    check_invalid(await other.refresh(first["refresh_token"]))


async def test_a10_of_twenty_at_once_all_get_the_one_successor(
    stored: AuthServer, home: Home
) -> None:
    application, _ = await stored.client(), await stored.user()
    first = (await grant(application))["refresh_token"]
    responses = await asyncio.gather(*(application.refresh(first) for _ in range(20)))
    assert {response.status_code for response in responses} == {200}
    answers = {response.text for response in responses}
    assert len(answers) == 1
    assert home.ask("SELECT count(*) FROM refresh_tokens") == [(2,)]
    successor = responses[0].json()["refresh_token"]
    assert (await application.refresh(successor)).status_code == 200


async def test_a10_twenty_replays_at_once_end_the_grant(stored: AuthServer) -> None:
    application, _ = await stored.client(), await stored.user()
    first = await grant(application)
    second = (await application.refresh(first["refresh_token"])).json()
    third = (await application.refresh(second["refresh_token"])).json()
    mixed = [first["refresh_token"]] * 10 + [third["refresh_token"]] * 10
    await asyncio.gather(*(application.refresh(token) for token in mixed))
    await check_all_dead(stored, application, first, second, third)


async def test_a10_the_kept_answer_is_encrypted_and_erased(stored: AuthServer, home: Home) -> None:
    application, _ = await stored.client(), await stored.user()
    first = (await grant(application))["refresh_token"]
    second = (await application.refresh(first)).json()
    kept = "SELECT answer FROM refresh_tokens WHERE answer IS NOT NULL"
    ((sealed,),) = home.ask(kept)
    assert second["refresh_token"].encode() not in bytes(sealed)
    assert b"access_token" not in bytes(sealed)
    await application.refresh(second["refresh_token"])
    ((newer,),) = home.ask(kept)  # the first is erased as soon as its successor is used
    assert bytes(newer) != bytes(sealed)
    stored.offset += GRACE_SECONDS + 2
    await stored.store.run(None, lambda c: sweep(Transaction(c, stored.clock())))
    assert home.ask(kept) == []


async def test_a10_an_answer_that_was_tampered_with_ends_the_grant(
    stored: AuthServer, home: Home
) -> None:
    application, _ = await stored.client(), await stored.user()
    first = await grant(application)
    await application.refresh(first["refresh_token"])
    flipped = "x'00'" if "sqlite" in str(type(home)).lower() else "'\\x00'::bytea"
    home.ask(f"UPDATE refresh_tokens SET answer = {flipped} WHERE answer IS NOT NULL")
    check_invalid(await application.refresh(first["refresh_token"]))
    assert not stored.is_good(first["access_token"])
