"""Calls with one JSON answer, and what every request shares: credentials, bodies, refusals."""

from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

import msgspec

from tellstream.client.backoff import Backoff
from tellstream.client.effects import (
    Broken,
    Close,
    Flow,
    Head,
    NewToken,
    Open,
    Read,
    Request,
    Sleep,
)
from tellstream.client.errors import ConnectionFailedError, StreamProtocolError, from_answer
from tellstream.client.policy import MAX_ANSWER_BYTES, ResumePolicy
from tellstream.client.tokens import Tokens
from tellstream.core.errors import ApiError

UNAUTHORIZED: Final = 401
Answer = TypeVar("Answer")


class Ground(NamedTuple):
    """What all decisions of one client stand on.

    Attributes:
        tokens: the credentials.
        policy: when to try again.
        now: a monotonic clock in seconds.
        chance: gives random numbers in [0, 1).
    """

    tokens: Tokens
    policy: ResumePolicy
    now: Callable[[], float]
    chance: Callable[[], float]

    def backoff(self, budget: float) -> Backoff:
        """Begin to count failures."""
        return Backoff(base=self.policy.base, cap=self.policy.cap, budget=budget)


def authorized(request: Request, tokens: Tokens) -> Flow[Head]:
    """Send a request; a refused token is replaced once.

    Raises:
        Broken: the network failed.
    """
    token = tokens.current
    if token is None:
        token = yield NewToken(None)
    head: Head = yield Open(request, token)
    if head.status == UNAUTHORIZED and tokens.renewable:
        token = yield NewToken(token)
        head = yield Open(request, token)
    return head


def read_body() -> Flow[bytes]:
    """Read a whole body.

    Raises:
        Broken: the network failed.
        StreamProtocolError: it is too large.
    """
    pieces: list[bytes] = []
    size = 0
    while (chunk := (yield Read())) is not None:
        pieces.append(chunk)
        size += len(chunk)
        if size > MAX_ANSWER_BYTES:
            raise StreamProtocolError("the answer exceeds the size cap")
    yield Close()
    return b"".join(pieces)


def refusal(head: Head) -> Flow[ApiError]:
    """Build the error of an answer; if its body breaks off, the status alone must do."""
    try:
        body = yield from read_body()
    except Broken:
        body = b""
    return from_answer(head.status, head.headers, body)


def call(
    request: Request,
    ground: Ground,
    answer: type[Answer],
    *,
    repeatable: bool,
    key: str | None = None,
) -> Flow[Answer]:
    """Make a call and decode the ``data`` of its answer.

    Args:
        request: what to send.
        ground: the client's.
        answer: the type of ``data``.
        repeatable: whether it may be sent again when the server may have seen it.
        key: the request's idempotency key, for the error.

    Raises:
        ConnectionFailedError: no answer within the budget.
        AnswerError: the server refused.
        StreamProtocolError: the answer is something else.
    """
    backoff = ground.backoff(ground.policy.start)
    while True:
        try:
            head = yield from authorized(request, ground.tokens)
            if head.status not in {200, 202}:
                raise (yield from refusal(head))
            body = yield from read_body()
            break
        except Broken as broken:
            wait = backoff.wait(ground.now(), ground.chance())
            if wait is None or (broken.sent and not repeatable):
                raise ConnectionFailedError(str(broken), key) from broken
        yield Sleep(wait)
    try:
        decoded: dict[str, Answer] = msgspec.json.decode(body, type=dict[str, answer])  # type: ignore[valid-type]  # a type made at run time
        return decoded["data"]
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError) as error:
        raise StreamProtocolError(f"the answer is not understood: {error}") from error
