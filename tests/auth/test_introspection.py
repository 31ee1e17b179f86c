"""Opaque tokens: asked about at a real endpoint, remembered briefly, refused when in doubt."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from support.issuers import (
    INTROSPECTION_PATH,
    NOW,
    SECRET,
    Answer,
    LocalIssuer,
    inactive,
    local_issuer,
)
from tellstream.auth import introspection
from tellstream.auth.external import ExternalIssuers
from tellstream.auth.http_fetch import HttpFetch
from tellstream.auth.introspection import Introspector
from tellstream.core.errors import RequestError, ServerError
from tellstream.core.principals import Principal

TOKEN = "opaque-planted-token"


@pytest.fixture
async def issuer() -> AsyncIterator[LocalIssuer]:
    async with local_issuer() as issuer:
        yield issuer


@pytest.fixture
async def fetch() -> AsyncIterator[HttpFetch]:
    fetch = HttpFetch()
    yield fetch
    await fetch.close()


def make(issuer: LocalIssuer, fetch: HttpFetch, **changes: Any) -> Introspector:
    (made,) = ExternalIssuers([issuer.introspection(**changes)], fetch, lambda: 0.0).introspectors
    return made


@pytest.fixture
async def introspector(issuer: LocalIssuer, fetch: HttpFetch) -> AsyncIterator[Introspector]:
    introspector = make(issuer, fetch)
    yield introspector
    await introspector.close()


def active(issuer: LocalIssuer, **changes: Any) -> dict[str, Any]:
    answer = {"active": True, "token_type": "Bearer", **issuer.claims(**changes)}
    return {name: value for name, value in answer.items() if value is not ...}


async def refusal(introspector: Introspector, now: float = NOW) -> str:
    with pytest.raises(RequestError) as caught:
        await introspector.principal(TOKEN, now)
    assert caught.value.code == "invalid_token"
    return caught.value.reason or ""


async def unavailable(introspector: Introspector, now: float = NOW) -> str:
    with pytest.raises(ServerError) as caught:
        await introspector.principal(TOKEN, now)
    assert (caught.value.code, caught.value.status) == ("service_unavailable", 503)
    assert caught.value.retry_after == 5
    return caught.value.reason or ""


async def test_an_active_token_gives_its_principal(
    issuer: LocalIssuer, introspector: Introspector
) -> None:
    issuer.tokens[TOKEN] = active(issuer)
    assert await introspector.principal(TOKEN, NOW) == Principal(
        frozenset({1}), issuer.subject, "app-1", frozenset({"chat"}), NOW + 600, "id-1"
    )
    assert issuer.asked == [{"token": TOKEN, "token_type_hint": "access_token"}]


async def test_an_inactive_token_is_refused(
    issuer: LocalIssuer, introspector: Introspector
) -> None:
    assert await refusal(introspector) == "token is inactive"
    issuer.tokens[TOKEN] = active(issuer)
    assert await refusal(introspector, NOW + 9.9) == "token is inactive"
    assert len(issuer.asked) == 1  # repeating a bad token costs no question
    await introspector.principal(TOKEN, NOW + 10)


async def test_an_answer_is_remembered_for_a_minute(
    issuer: LocalIssuer, introspector: Introspector
) -> None:
    issuer.tokens[TOKEN] = active(issuer)
    for now in (NOW, NOW + 1, NOW + 59.9):
        await introspector.principal(TOKEN, now)
    assert len(issuer.asked) == 1
    issuer.tokens[TOKEN] = inactive()  # revoked
    assert await refusal(introspector, NOW + 60) == "token is inactive"
    assert len(issuer.asked) == 2


async def test_an_answer_from_the_future_does_not_count(
    issuer: LocalIssuer, introspector: Introspector
) -> None:
    issuer.tokens[TOKEN] = active(issuer)
    await introspector.principal(TOKEN, NOW + 1)
    await introspector.principal(TOKEN, NOW)
    assert len(issuer.asked) == 2


async def test_an_answer_is_not_remembered_beyond_the_expiry(
    issuer: LocalIssuer, introspector: Introspector
) -> None:
    issuer.tokens[TOKEN] = active(issuer, exp=NOW + 5)
    await introspector.principal(TOKEN, NOW)
    await introspector.principal(TOKEN, NOW + 4.9)
    assert len(issuer.asked) == 1
    issuer.tokens[TOKEN] = inactive()
    assert await refusal(introspector, NOW + 5) == "token is inactive"


async def test_an_expired_token_is_refused_even_if_called_active(
    issuer: LocalIssuer, introspector: Introspector
) -> None:
    issuer.tokens[TOKEN] = active(issuer, iat=NOW - 100, exp=NOW - 30)
    assert await refusal(introspector) == "R10: token has expired"


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"iss": "https://evil.example"}, "R9: iss"), ({"iss": None}, "R9: iss"),
        ({"iss": ["x"]}, "R9: iss"),
        ({"aud": ...}, "R9: aud"), ({"aud": "other"}, "R9: aud"), ({"sub": ...}, "R9: sub"),
        ({"client_id": ...}, "R9: azp"), ({"jti": 5}, "R9: jti"), ({"exp": ...}, "R10"),
        ({"iat": ...}, "R10"), ({"exp": NOW + 3601}, "R10"), ({"exp": True}, "R10"),
        ({"iat": NOW + 31}, "R10"), ({"nbf": NOW + 31}, "R10"), ({"scope": ["chat"]}, "R12"),
        ({"cnf": {"jkt": "x"}}, "R13"), ({"tenants": ["1"]}, "tenant claim"),
        ({"token_type": ...}, "R8"), ({"token_type": "DPoP"}, "R8"), ({"token_type": None}, "R8"),
        ({"token_use": "refresh_token"}, "R8"), ({"typ": "Refresh"}, "R8"), ({"typ": "ID"}, "R8"),
        ({"typ": ["Bearer"]}, "R8"),
    ],
)  # fmt: skip
async def test_every_claim_of_the_answer_is_checked(
    changes: dict[str, Any], rule: str, issuer: LocalIssuer, introspector: Introspector
) -> None:
    issuer.tokens[TOKEN] = active(issuer, **changes)
    assert (await refusal(introspector)).startswith(rule)


async def test_what_an_answer_may_leave_out(
    issuer: LocalIssuer, introspector: Introspector, fetch: HttpFetch
) -> None:
    issuer.tokens[TOKEN] = active(issuer, iss=..., jti=...)
    principal = await introspector.principal(TOKEN, NOW)
    assert principal.token_id.startswith("sha256:")
    assert TOKEN not in principal.token_id
    loose = make(issuer, fetch, typ_required=False)
    issuer.tokens[TOKEN] = active(issuer, token_type=...)
    await loose.principal(TOKEN, NOW)
    for name in ("nonce", "at_hash", "events"):
        issuer.tokens[TOKEN] = active(issuer, **{name: "x"})
        with pytest.raises(RequestError) as caught:
            await loose.principal(TOKEN, NOW + 100)
        assert (caught.value.reason or "").startswith("R8")


async def test_an_issuer_bound_to_one_tenant_cannot_act_for_another(
    issuer: LocalIssuer, introspector: Introspector
) -> None:
    issuer.tokens[TOKEN] = active(issuer, tenants=[1, 2])
    principal = await introspector.principal(TOKEN, NOW)
    assert principal.tenants == {1}
    with pytest.raises(RequestError, match="forbidden"):
        principal.act_for(2)


DOWN = {
    "error": Answer(b"{}", 500),
    "unauthorized": Answer(b"{}", 401),
    "redirect": Answer(b"{}", 302, {"Location": "/elsewhere"}),
    "html": Answer(b"<html>"),
    "empty": Answer(b""),
    "no verdict": Answer(b"{}"),
    "vague": Answer(b'{"active": "true"}'),
    "number": Answer(b'{"active": 1}'),
    "twice": Answer(b'{"active": false, "active": true}'),
    "huge": Answer(b'{"active": true, "x": "' + b"x" * 70_000 + b'"}'),
}


@pytest.mark.parametrize("answer", DOWN.values(), ids=DOWN)
async def test_without_a_clear_answer_it_is_503_and_asked_again(
    answer: Answer, issuer: LocalIssuer, introspector: Introspector
) -> None:
    issuer.scripted[INTROSPECTION_PATH] = answer
    with capture_logs() as logged:
        assert await unavailable(introspector) == "introspection: no answer"
    assert [line["event"] for line in logged] == ["issuer.introspection_failed"]
    assert not any(word in repr(logged) for word in (TOKEN, SECRET, "planted"))
    del issuer.scripted[INTROSPECTION_PATH]
    issuer.tokens[TOKEN] = active(issuer)
    await introspector.principal(TOKEN, NOW)


async def test_a_remembered_answer_survives_an_outage_for_its_minute(
    issuer: LocalIssuer, introspector: Introspector
) -> None:
    issuer.tokens[TOKEN] = active(issuer)
    await introspector.principal(TOKEN, NOW)
    issuer.scripted[INTROSPECTION_PATH] = Answer(b"{}", 500)
    await introspector.principal(TOKEN, NOW + 59)
    await unavailable(introspector, NOW + 60)


async def test_a_slow_endpoint_is_503(
    issuer: LocalIssuer, introspector: Introspector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(introspection, "WAIT_SECONDS", 0.1)
    issuer.scripted[INTROSPECTION_PATH] = Answer(b"{}", seconds=60)
    async with asyncio.timeout(5):
        assert (await unavailable(introspector)).startswith("introspection: no answer")
    async with asyncio.timeout(2):  # less than a fetch may take: the question has ended, too
        while introspector._questions:  # noqa: ASYNC110 - it is not the test's to signal
            await asyncio.sleep(0.005)


async def test_a_burst_with_one_token_asks_once(
    issuer: LocalIssuer, introspector: Introspector
) -> None:
    issuer.scripted[INTROSPECTION_PATH] = Answer(json.dumps(active(issuer)).encode(), seconds=0.1)
    first, *others = [asyncio.create_task(introspector.principal(TOKEN, NOW)) for _ in range(100)]
    await asyncio.sleep(0.01)
    first.cancel()  # leaves without taking the answer from the others
    found = await asyncio.gather(*others)
    assert {principal.subject for principal in found} == {issuer.subject}
    assert issuer.count(INTROSPECTION_PATH) == 1


async def test_questions_are_bounded(
    issuer: LocalIssuer, introspector: Introspector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(introspection, "MAX_WAITING", 3)
    issuer.scripted[INTROSPECTION_PATH] = Answer(b'{"active": false}', seconds=0.1)
    asking = [asyncio.create_task(introspector.principal(f"t{n}", NOW)) for n in range(3)]
    await asyncio.sleep(0)
    assert await unavailable(introspector) == "introspection: too many questions"
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert all(isinstance(answer, RequestError) for answer in answers)
    assert introspector._questions == {}


async def test_answers_are_bounded(
    issuer: LocalIssuer, introspector: Introspector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(introspection, "MAX_ENTRIES", 2)
    for name in ("a", "b", "c", "c", "a"):
        issuer.tokens[name] = active(issuer)
        await introspector.principal(name, NOW)
    assert [form["token"] for form in issuer.asked] == ["a", "b", "c", "a"]
    assert len(introspector._verdicts) == 2


async def test_no_token_is_kept(issuer: LocalIssuer, introspector: Introspector) -> None:
    issuer.tokens[TOKEN] = active(issuer)
    await introspector.principal(TOKEN, NOW)
    assert TOKEN not in repr(introspector._verdicts)
    assert TOKEN.encode() not in b"".join(introspector._verdicts)


async def test_closing_ends_the_questions(issuer: LocalIssuer, introspector: Introspector) -> None:
    issuer.scripted[INTROSPECTION_PATH] = Answer(b"{}", seconds=60)
    asking = asyncio.create_task(introspector.principal(TOKEN, NOW))
    await asyncio.sleep(0.01)
    await introspector.close()
    with pytest.raises(ServerError):
        await asking
