"""Access tokens of issuers that are somebody else's: real HTTP, real keys, real signatures."""

import asyncio
import hmac
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from joserfc.jwk import Key, RSAKey

from support.issuers import (
    EC,
    INTROSPECTION_PATH,
    JWKS_PATH,
    METADATA_PATH,
    NOW,
    OKP,
    OTHER_RSA,
    RFC_8414_PATH,
    RSA,
    Answer,
    Clock,
    LocalIssuer,
    b64,
    key_set,
    local_issuer,
    public,
    signed,
)
from tellstream.auth.authenticator import Authenticator
from tellstream.auth.external import ExternalIssuers, IssuerOptions
from tellstream.auth.http_fetch import HttpFetch
from tellstream.auth.introspection import Introspector
from tellstream.auth.issuers import Issuer, NoKeysError, embedded_issuer
from tellstream.auth.keys import SigningKeys
from tellstream.auth.signatures import UnknownKeyError
from tellstream.auth.tokens import TokenVerifier, sign_token
from tellstream.core.errors import RequestError
from tellstream.core.principals import Principal

HERE = "http://127.0.0.1:8000"
OWN_KEYS = SigningKeys([EC])


@dataclass
class Gate:
    """The resource server's gate, with a clock for the key sets and one for the tokens."""

    authenticator: Authenticator
    external: ExternalIssuers
    clock: Clock

    async def principal(self, token: str, tenant: int = 1, now: float = NOW) -> Principal:
        headers = [(b"x-tenant", str(tenant).encode())]
        return await self.authenticator.principal(token, headers, now)

    async def refusal(self, token: str, tenant: int = 1, now: float = NOW) -> str:
        with pytest.raises(RequestError) as caught:
            await self.principal(token, tenant, now)
        assert (caught.value.code, caught.value.status) == ("invalid_token", 401)
        return caught.value.reason or ""

    async def background(self, seconds: float = 600) -> None:
        """Let the time go on, and the background have its turn."""
        self.clock.now += seconds
        for cache in self.external._caches:
            await cache.refresh_if_due()


@asynccontextmanager
async def gate(*options: IssuerOptions) -> AsyncIterator[Gate]:
    clock, fetch = Clock(), HttpFetch()
    external = ExternalIssuers(options, fetch, clock)
    verifier = TokenVerifier([embedded_issuer(HERE, OWN_KEYS), *external.issuers])
    try:
        yield Gate(Authenticator(verifier, external.introspectors), external, clock)
    finally:
        await external.close()
        await fetch.close()


@pytest.fixture
async def issuer() -> AsyncIterator[LocalIssuer]:
    async with local_issuer() as issuer:
        yield issuer


async def test_a_cold_cache_is_filled_by_the_first_token(issuer: LocalIssuer) -> None:
    async with gate(issuer.options()) as server:
        assert await server.principal(issuer.token()) == Principal(
            frozenset({1}), issuer.subject, "app-1", frozenset({"chat"}), NOW + 600, "id-1"
        )
        for n in range(20):
            await server.principal(issuer.token(jti=f"id-{n}"))
    assert issuer.requests == [METADATA_PATH, JWKS_PATH]


async def test_the_same_name_at_two_issuers_is_two_subjects(issuer: LocalIssuer) -> None:
    async with local_issuer() as other, gate(issuer.options(), other.options()) as server:
        subjects = {(await server.principal(one.token())).subject for one in (issuer, other)}
    assert len(subjects) == 2


async def test_a_warm_cache_answers_without_suspending(issuer: LocalIssuer) -> None:
    async with gate(issuer.options()) as server:
        await server.background(0)
        call = server.principal(issuer.token())
        with pytest.raises(StopIteration) as done:
            call.send(None)
        assert done.value.value.subject == issuer.subject


async def test_the_background_fetches_before_anybody_asks(issuer: LocalIssuer) -> None:
    async with gate(issuer.options()) as server:
        running = asyncio.create_task(server.external.run())
        async with asyncio.timeout(5):
            while not issuer.count():  # noqa: ASYNC110 - it is not the test's to signal
                await asyncio.sleep(0.005)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [("RS256", RSA), ("PS256", RSA), ("ES256", EC), ("EdDSA", OKP), ("Ed25519", OKP)],
)
@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # where this test signs
async def test_every_algorithm(algorithm: str, key: Key, issuer: LocalIssuer) -> None:
    issuer.keys = {"one": key}
    token = issuer.token(key=key, alg=algorithm)
    async with gate(issuer.options(algorithms=[algorithm])) as server:
        assert (await server.principal(token)).subject == issuer.subject
    other = "ES256" if algorithm != "ES256" else "RS256"
    async with gate(issuer.options(algorithms=[other])) as server:
        assert (await server.refusal(token)).startswith("R4")


async def test_r4_a_fetched_key_is_no_hmac_secret(
    issuer: LocalIssuer,
) -> None:
    issuer.keys = {"rsa": RSA, "ec": EC}
    async with gate(issuer.options(algorithms=["RS256", "ES256"])) as server:
        assert (await server.refusal(issuer.token("rsa", EC, "ES256"))).startswith("R7")
        assert (await server.refusal(issuer.token("ec", RSA, "RS256"))).startswith("R7")
        published = public(RSA, kid="rsa")
        for secret in (RSA.as_pem(private=False), json.dumps(published).encode(), b""):
            header = {"alg": "HS256", "typ": "at+jwt", "kid": "rsa"}
            unsigned = f"{b64_json(header)}.{b64_json(issuer.claims())}"
            signature = b64(hmac.digest(secret, unsigned.encode(), "sha256"))
            assert (await server.refusal(f"{unsigned}.{signature}")).startswith("R4")
        await server.principal(issuer.token("rsa"))
        await server.principal(issuer.token("ec", EC, "ES256"))


def b64_json(value: object) -> str:
    return b64(json.dumps(value).encode())


async def test_a_rotated_key_is_found_without_a_restart(issuer: LocalIssuer) -> None:
    async with gate(issuer.options()) as server:
        await server.principal(issuer.token())
        server.clock.now += 30
        issuer.keys["two"] = OTHER_RSA
        await server.principal(issuer.token("two", OTHER_RSA))
        await server.principal(issuer.token())
    assert issuer.count() == 2


async def test_a_removed_key_dies(issuer: LocalIssuer) -> None:
    async with gate(issuer.options()) as server:
        token = issuer.token()
        await server.principal(token)
        issuer.keys = {"two": OTHER_RSA}
        await server.background()
        await server.principal(token, now=NOW + 29)  # still remembered
        assert (await server.refusal(token, now=NOW + 30)).startswith("R7")


async def test_an_endpoint_that_is_down_does_not_matter_for_a_day(issuer: LocalIssuer) -> None:
    async with gate(issuer.options()) as server:
        await server.principal(issuer.token())
        issuer.scripted = {path: Answer(b"{}", 500) for path in (JWKS_PATH, METADATA_PATH)}
        for hour in range(1, 24):
            await server.background(3600)
            await server.principal(issuer.token(jti=f"id-{hour}"))
        await server.background(3600)
        with pytest.raises(NoKeysError) as caught:
            await server.principal(issuer.token(jti="late"))
        assert (caught.value.status, caught.value.retry_after) == (503, 30)
        issuer.scripted = {}
        await server.background(30)
        await server.principal(issuer.token(jti="late"))


async def test_no_keys_at_all_is_503_and_not_the_tokens_fault(issuer: LocalIssuer) -> None:
    issuer.scripted[METADATA_PATH] = Answer(b"{}", 500)
    async with gate(issuer.options()) as server:
        for _ in range(50):
            with pytest.raises(NoKeysError):
                await server.principal(issuer.token())
    assert issuer.requests == [METADATA_PATH, RFC_8414_PATH]  # and one try for all of them


async def test_500_unknown_keys_cost_two_fetches_at_most(issuer: LocalIssuer) -> None:
    async with gate(issuer.options()) as server:
        await server.background(0)
        for n in range(250):
            assert (await server.refusal(issuer.token(f"x{n}"))).startswith("R7")
        refusals = [server.refusal(issuer.token(f"y{n}")) for n in range(250)]
        assert all(reason.startswith("R7") for reason in await asyncio.gather(*refusals))
        await server.principal(issuer.token())
    assert issuer.count() == 2


def poisoned(**extra: Any) -> bytes:
    rows = json.loads(key_set({"one": RSA}))["keys"]
    return json.dumps({"keys": [extra, *rows, extra]}).encode()


def weak() -> RSAKey:
    with pytest.warns(match="2048"):
        return RSAKey.generate_key(1024)


@pytest.mark.parametrize(
    "body",
    [
        poisoned(kty="RSA", n="!!", e="AQAB", kid="bad"), poisoned(), poisoned(kty=["RSA"]),
        poisoned(kty="EC", crv="P-256", x="AA", y="AA"), poisoned(kty="oct", k="c2VjcmV0"),
    ],
)  # fmt: skip
async def test_a_bad_key_among_good_ones_is_survived(body: bytes, issuer: LocalIssuer) -> None:
    issuer.scripted[JWKS_PATH] = Answer(body)
    async with gate(issuer.options()) as server:
        await server.principal(issuer.token())


POISON = {
    "malformed keys only": Answer(b'{"keys": [{"kty": "RSA"}]}'),
    "60 keys": Answer(json.dumps({"keys": [public(OTHER_RSA, kid="one")] * 60}).encode()),
    "300 KiB": Answer(key_set({"one": OTHER_RSA}).ljust(300 * 1024)),
    "redirect": Answer(b"x", 302, {"Location": "/elsewhere"}),
    "slow body": Answer(key_set({"one": OTHER_RSA}), seconds=60),
    "html": Answer(b"<html>", headers={"Content-Type": "text/html"}),
    "compressed": Answer(b"\x1f\x8b", headers={"Content-Encoding": "gzip"}),
    "names twice": Answer(b'{"keys": [], "keys": []}'),
    "nested": Answer(b'{"keys": ' + b"[" * 100_000),
    "500": Answer(b"{}", 500),
}


@pytest.mark.parametrize("answer", POISON.values(), ids=POISON)
async def test_a_poisoned_set_does_not_replace_a_good_one(
    answer: Answer, issuer: LocalIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with gate(issuer.options()) as server:
        await server.principal(issuer.token())
        monkeypatch.setattr("tellstream.auth.http_fetch.TOTAL_SECONDS", 0.2)
        issuer.scripted[JWKS_PATH] = answer
        issuer.scripted["/elsewhere"] = Answer(key_set({"one": OTHER_RSA}))
        await server.background()
        await server.principal(issuer.token(jti="id-2"))
        assert (await server.refusal(issuer.token(key=OTHER_RSA))).startswith("R4")
    assert issuer.count() == 2
    assert "/elsewhere" not in issuer.requests


async def test_r6_a_set_with_a_short_key_only_is_401(issuer: LocalIssuer) -> None:
    key = weak()
    issuer.keys = {"one": key}
    async with gate(issuer.options()) as server:
        assert (await server.refusal(issuer.token(key=key))).startswith("R7")


async def test_r3_nothing_that_a_token_names_is_fetched(issuer: LocalIssuer) -> None:
    async with local_issuer() as evil, gate(issuer.options()) as server:
        await server.principal(issuer.token())
        claims, url = issuer.claims(), evil.url + JWKS_PATH
        header = {"alg": "RS256", "typ": "at+jwt", "kid": "one"}
        tokens = [evil.token(), evil.token(iss=[issuer.url, evil.url])]
        for name in ("jku", "x5u"):
            tokens.append(signed({**header, name: url}, claims, OTHER_RSA))
            tokens.append(signed({**header, name: url, "kid": "new"}, evil.claims(), OTHER_RSA))
        tokens.append(signed({**header, "jwk": public(OTHER_RSA)}, claims, OTHER_RSA))
        tokens.append(signed({**header, "kid": url}, evil.claims(), OTHER_RSA))
        for token in tokens:
            assert (await server.refusal(token)).startswith(("R3", "R5"))
        assert (await server.refusal(signed({**header, "kid": url}, claims, RSA))).startswith("R7")
        assert evil.requests == []


async def test_an_issuer_bound_to_one_tenant_cannot_act_for_another(issuer: LocalIssuer) -> None:
    async with local_issuer() as other:
        rows = issuer.options(tenants=[1]), other.options(tenants=[2, 3])
        async with gate(*rows) as server:
            first = await server.principal(issuer.token(tenants=[1, 2, 3]))
            second = await server.principal(other.token(tenants=[1, 2, 3]))
            assert first.tenants == {1}
            assert second.tenants == {2, 3}
            with pytest.raises(RequestError, match="forbidden"):
                first.act_for(2)
            # Nor by the name of the other, with its own key.
            forged = signed({"alg": "RS256", "typ": "at+jwt", "kid": "x"}, other.claims(), RSA)
            other.keys = {"one": OTHER_RSA}
            assert (await server.refusal(forged)).startswith("R7")


async def test_our_own_tokens_need_no_issuer_to_be_up(issuer: LocalIssuer) -> None:
    own = sign_token(
        OWN_KEYS, embedded_issuer(HERE, OWN_KEYS), tenants=[1], subject="s", client="c",
        scopes=["chat"], ttl=60, now=NOW,
    )  # fmt: skip
    async with gate(issuer.options()) as server:
        assert (await server.principal(own)).subject == "s"
        parts = own.split(".")
        parts[0] = b64_json({"alg": "ES256", "typ": "at+jwt", "kid": "unknown"})
        with pytest.raises(UnknownKeyError):  # our own set is not fetched from anywhere
            await server.principal(".".join(parts))
    assert issuer.requests == []


@pytest.mark.parametrize("leeway", [0, 30, 60])
async def test_r10_the_leeway_is_the_issuers(leeway: int, issuer: LocalIssuer) -> None:
    async with gate(issuer.options(leeway_seconds=leeway)) as server:
        token = issuer.token(exp=NOW + 100)
        await server.principal(token)
        await server.principal(token, now=NOW + 99 + leeway)
        assert await server.refusal(token, now=NOW + 100 + leeway) == "R10: token has expired"
        await server.principal(issuer.token(iat=NOW + leeway, jti="x"))
        late = issuer.token(iat=NOW + leeway + 1)
        assert await server.refusal(late) == "R10: token is not valid yet"


@pytest.mark.parametrize("leeway", [-1, 61])
def test_r10_a_leeway_has_bounds(leeway: int) -> None:
    with pytest.raises(ValueError, match="leeway"):
        Issuer(
            issuer=HERE, audience="a", key_source=OWN_KEYS, algorithms=frozenset({"ES256"}),
            leeway=leeway,
        )  # fmt: skip


async def test_the_options_of_a_row_arrive(issuer: LocalIssuer) -> None:
    row = issuer.options(
        jwks_uri=issuer.url + JWKS_PATH, typ_required=False, scope_claim="scp", max_lifetime=100,
        tenant_claim="org", algorithms=["PS256", "RS256"],
    )  # fmt: skip
    claims = issuer.claims(scp=["usage"], exp=NOW + 100, org=[1])
    header = {"alg": "PS256", "kid": "one"}
    async with gate(row) as server:
        assert (await server.principal(signed(header, claims, RSA))).scopes == {"usage"}
        long = signed(header, claims | {"exp": NOW + 101}, RSA)
        assert await server.refusal(long) == "R10: token lives too long"
    assert issuer.requests == [JWKS_PATH]
    async with gate(issuer.options(algorithms=["PS256"])) as server:
        assert (await server.refusal(signed(header, claims, RSA))).startswith("R8")


# Opaque tokens


async def test_an_opaque_token_is_shown_to_the_selected_tenants_issuer_only() -> None:
    async with local_issuer() as first, local_issuer() as second:
        rows = first.introspection(tenants=[1]), second.introspection(tenants=[2])
        async with gate(*rows) as server:
            await server.background()
            assert first.requests == []  # it may have no keys at all
            first.tokens["opaque"] = {"active": True, "token_type": "Bearer", **first.claims()}
            assert (await server.principal("opaque")).tenants == {1}
            assert second.asked == []
            assert await server.refusal("opaque", tenant=2) == "token is inactive"
            assert (await server.refusal("opaque", tenant=3)).startswith("gate")
            assert len(first.asked) == len(second.asked) == 1
            await server.principal(first.token())  # signed ones are verified as ever
            assert len(first.asked) == 1


async def test_an_opaque_token_needs_exactly_one_tenant(issuer: LocalIssuer) -> None:
    async with gate(issuer.introspection()) as server:
        for headers in ([], [(b"x-tenant", b"1"), (b"x-tenant", b"2")], [(b"x-tenant", b"x")]):
            with pytest.raises(RequestError, match="invalid_request"):
                await server.authenticator.principal("opaque", headers, NOW)
    assert issuer.asked == []


@pytest.mark.parametrize("token", ["x" * 8193, "a b", "a\nb", "a\x00", "\x7f"])
async def test_what_cannot_be_a_token_is_not_asked_about(token: str, issuer: LocalIssuer) -> None:
    async with gate(issuer.introspection()) as server:
        assert await server.refusal(token) == "gate: not a bearer token"
    assert issuer.requests == []


async def test_without_introspection_opaque_tokens_are_refused(issuer: LocalIssuer) -> None:
    async with gate(issuer.options()) as server:
        assert (await server.refusal("opaque")).startswith("gate")
    assert issuer.requests == []


async def test_introspection_that_is_down_fails_closed(issuer: LocalIssuer) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}{INTROSPECTION_PATH}"
        row = issuer.introspection().model_copy(update={"introspection_url": url})
        async with gate(row) as server:
            with pytest.raises(Exception, match="service_unavailable"):
                await server.principal("opaque")


async def test_a_tenant_has_one_introspecting_issuer(issuer: LocalIssuer) -> None:
    fetch = HttpFetch()
    rows = [issuer.introspection(tenants=[1, 2]), issuer.introspection(tenants=[2, 3])]
    made: list[Introspector] = ExternalIssuers(rows, fetch, Clock()).introspectors
    with pytest.raises(ValueError, match="two issuers of tenant 2"):
        Authenticator(TokenVerifier([]), made)
    await fetch.close()


# R14: what the hook of the verifier says counts at once, also for a token verified a moment ago


@pytest.mark.parametrize("name", ["jti", "sid"])
def test_r14_a_revoked_token_is_refused_although_it_was_verified_before(name: str) -> None:
    revoked: set[str | None] = set()
    row = embedded_issuer(HERE, OWN_KEYS)
    verifier = TokenVerifier([row], lambda jti, sid: bool({jti, sid} & revoked))
    header = {"alg": "ES256", "typ": "at+jwt", "kid": EC.thumbprint()}
    claims = {**LocalIssuer().claims(), "iss": HERE, "aud": HERE, "sid": "session-1"}
    token, variant = (signed(header, claims | {"x": n}, EC) for n in range(2))
    other = signed(header, claims | {"jti": "id-2", "sid": "session-2"}, EC)
    for text in (token, variant, other):
        verifier.verify(text, NOW)
    revoked.add(str(claims[name]))
    for text in (token, variant):  # by what it says, not by its text
        with pytest.raises(RequestError) as caught:
            verifier.verify(text, NOW)
        assert (caught.value.reason or "").startswith("R14")
    verifier.verify(other, NOW)
