"""Opaque access tokens: their issuer is asked what they say (RFC 7662), every claim is checked.

The question goes to the configured endpoint of one issuer, with our credentials there. The answer
is kept for a minute at most, under the token's SHA-256, so that a burst asks once; no token is.
Fails closed: without a clear answer it is 503, never yes and never 401.
"""

import asyncio
import base64
import hashlib
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote_plus

import structlog

from tellstream.auth.claims import Claims
from tellstream.auth.fetching import Fetch, FetchError
from tellstream.auth.issuers import Issuer
from tellstream.auth.strict_json import parse_object
from tellstream.auth.tokens import OTHER_TOKENS_CLAIMS, principal_of
from tellstream.core.errors import RequestError, ServerError
from tellstream.core.principals import Principal

MAX_ANSWER_BYTES: Final = 64 * 1024
"""Of one answer; real ones have 1 to 4 KiB."""
ACTIVE_SECONDS: Final = 60.0
"""How long a good token is not asked about again: a revocation takes effect this late at most."""
INACTIVE_SECONDS: Final = 10.0
"""The same for a bad one; it may become good, and repeating it must not cost a question."""
MAX_ENTRIES: Final = 4096
"""Remembered answers of one issuer, about 2 MB; beyond it the oldest go first."""
MAX_AT_ONCE: Final = 16
"""Questions to one issuer at the same time; further ones wait within ``WAIT_SECONDS``."""
MAX_WAITING: Final = 512
"""Questions that are asked or wait; beyond it the answer is 503 at once."""
WAIT_SECONDS: Final = 6.0
"""For an answer: a turn and the 5 s of a fetch."""
RETRY_AFTER_SECONDS: Final = 5.0
"""What a caller is told when there was no answer."""

log = structlog.get_logger("tellstream.auth")


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What was found out about one token: a principal, or why there is none."""

    principal: Principal | None
    reason: str
    asked_at: float
    until: float


class Introspector:
    """Asks one issuer about opaque tokens. Close it at the end.

    Args:
        issuer: its row; ``strict_type`` requires ``token_type`` to be ``Bearer`` (R8).
        endpoint: where to ask.
        client_id: our client there.
        client_secret: its secret.
        fetch: the network.
    """

    def __init__(
        self, issuer: Issuer, endpoint: str, client_id: str, client_secret: str, fetch: Fetch
    ) -> None:
        self.issuer = issuer
        self._endpoint = endpoint
        # RFC 6749 section 2.3.1: both parts are form-encoded first.
        pair = f"{quote_plus(client_id)}:{quote_plus(client_secret)}"
        self._authorization = f"Basic {base64.b64encode(pair.encode()).decode()}"
        self._fetch = fetch
        self._turns = asyncio.Semaphore(MAX_AT_ONCE)
        self._verdicts: dict[bytes, _Verdict] = {}
        self._questions: dict[bytes, asyncio.Task[_Verdict | None]] = {}

    async def principal(self, token: str, now: float) -> Principal:
        """Find out whom ``token`` speaks for.

        Args:
            token: opaque, visible ASCII characters.
            now: Unix seconds.

        Raises:
            RequestError: 401 ``invalid_token``.
            ServerError: 503 ``service_unavailable``: the issuer did not tell.
        """
        # This object knows one issuer: no answer can ever stand for another's.
        fingerprint = hashlib.sha256(token.encode()).digest()
        verdict = self._remembered(fingerprint, now)
        if verdict is None:
            verdict = await self._answer(fingerprint, token, now)
        if verdict.principal is None:
            raise RequestError("invalid_token", reason=verdict.reason)
        return verdict.principal

    async def close(self) -> None:
        """Stop the questions that are under way."""
        questions = set(self._questions.values())
        for question in questions:
            question.cancel()
        if questions:
            await asyncio.wait(questions)

    def _remembered(self, fingerprint: bytes, now: float) -> _Verdict | None:
        verdict = self._verdicts.get(fingerprint)
        # One from the future (the clock stepped back) does not count either.
        return verdict if verdict and verdict.asked_at <= now < verdict.until else None

    async def _answer(self, fingerprint: bytes, token: str, now: float) -> _Verdict:
        """Ask, or wait for the answer to the same question."""
        question = self._questions.get(fingerprint)
        if question is None:
            if len(self._questions) >= MAX_WAITING:
                raise _unavailable("too many questions")
            question = asyncio.get_running_loop().create_task(self._ask(fingerprint, token, now))
            self._questions[fingerprint] = question
            question.add_done_callback(lambda _: self._questions.pop(fingerprint))
        # Not awaited itself: one caller that leaves must not take the answer from the others.
        await asyncio.wait({question}, timeout=WAIT_SECONDS)
        if not question.done() or question.cancelled():
            raise _unavailable("no answer in time")
        verdict = question.result()
        if verdict is None:
            raise _unavailable("no answer")
        return verdict

    async def _ask(self, fingerprint: bytes, token: str, now: float) -> _Verdict | None:
        """Ask and remember the answer; None: there was none."""
        form = {"token": token, "token_type_hint": "access_token"}
        try:
            async with asyncio.timeout(WAIT_SECONDS), self._turns:
                raw = await self._fetch.post(
                    self._endpoint, MAX_ANSWER_BYTES, form, self._authorization
                )
            answer = parse_object(raw)
            active = answer.get("active")
            if not isinstance(active, bool):
                raise ValueError("it does not say whether the token is active")  # noqa: TRY004, TRY301
        except (FetchError, TimeoutError, ValueError) as error:
            reason = str(error) or "no answer in time"
            log.warning("issuer.introspection_failed", issuer=self.issuer.issuer, reason=reason)
            return None
        verdict = self._judge(answer, token, now) if active else _refused("token is inactive", now)
        self._verdicts.pop(fingerprint, None)  # re-inserted at the end, as the newest
        if len(self._verdicts) >= MAX_ENTRIES:
            del self._verdicts[next(iter(self._verdicts))]
        self._verdicts[fingerprint] = verdict
        return verdict

    def _judge(self, answer: Claims, token: str, now: float) -> _Verdict:
        """Check every claim, as for a signed token."""
        try:
            _check_kind(answer, self.issuer)
            principal = principal_of(_completed(answer, token, self.issuer), self.issuer, now)
        except ValueError as error:
            return _refused(str(error), now)
        return _Verdict(principal, "", now, min(principal.expires_at, now + ACTIVE_SECONDS))


def _check_kind(answer: Claims, issuer: Issuer) -> None:
    """R8: no refresh token, ID token or bound token, which the endpoint may call active, too."""
    kind = answer.get("token_type", None if issuer.strict_type else "bearer")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise ValueError("R8: token_type is not Bearer")
    if answer.get("token_use", "access_token") != "access_token":
        raise ValueError("R8: token_use is not that of an access token")
    if answer.get("typ", "Bearer") not in ("Bearer", "at+jwt"):
        raise ValueError("R8: typ is not that of an access token")
    if not issuer.strict_type and answer.keys() & OTHER_TOKENS_CLAIMS:
        raise ValueError("R8: claims of another kind of token")


def _completed(answer: Claims, token: str, issuer: Issuer) -> Claims:
    """Add what RFC 7662 leaves out and the connection proves: who answers, and about which token.

    Raises:
        ValueError: the answer says that it is another issuer's.
    """
    if answer.get("iss", issuer.issuer) != issuer.issuer:
        raise ValueError("R9: iss is another issuer")
    digest = hashlib.sha256(token.encode()).hexdigest()
    return {"jti": f"sha256:{digest}", **answer}


def _refused(reason: str, now: float) -> _Verdict:
    return _Verdict(None, reason, now, now + INACTIVE_SECONDS)


def _unavailable(reason: str) -> ServerError:
    return ServerError(
        "service_unavailable", retry_after=RETRY_AFTER_SECONDS, reason=f"introspection: {reason}"
    )
