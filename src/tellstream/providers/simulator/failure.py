"""Failures a provider reports: codes, their usual status, their message; no wire's shape.

Invariant: every status from 400 to 599 has a failure. The wires put it into their own error body.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple


class Failure(NamedTuple):
    """One reported failure; ``retry_seconds`` is for wires that say it in the body."""

    status: int
    code: str
    message: str
    retry_seconds: int | None = None


DEFAULT_CODE: Final = "server_error"

# code: (status, message). The first code of a status is that status's default.
FAILURES: Final[dict[str, tuple[int, str]]] = {
    "invalid_request": (400, "The simulator refuses this request, as its script says."),
    "context_length_exceeded": (
        400,
        "This model's maximum context length is 128 tokens. Please shorten the messages.",
    ),
    "content_filter": (400, "The prompt was stopped by the content filter."),
    "invalid_api_key": (401, "Incorrect API key provided: sim-****."),
    "insufficient_balance": (402, "Insufficient balance."),
    "permission_denied": (403, "This key may not use this model."),
    "model_not_found": (404, "The model does not exist or you do not have access to it."),
    "request_timeout": (408, "The request took too long to arrive."),
    "conflict": (409, "Another request holds this resource."),
    "request_too_large": (413, "The request body is too large."),
    "unprocessable": (422, "The request is well-formed but makes no sense."),
    "rate_limit_exceeded": (
        429,
        "Rate limit reached on requests per min: Limit 3, Used 3, Requested 1.",
    ),
    "insufficient_quota": (429, "You exceeded your current quota, please check your plan."),
    "capacity_exceeded": (498, "Flex capacity is exhausted, please try again."),
    DEFAULT_CODE: (500, "The server had an error while processing your request."),
    "bad_gateway": (502, "The model server closed the connection."),
    "server_is_overloaded": (503, "The engine is currently overloaded, please try again later."),
    "gateway_timeout": (504, "The model server did not answer in time."),
    "overloaded": (529, "Overloaded."),
}

_DEFAULT_CODES: Final = {status: code for code, (status, _) in reversed(FAILURES.items())}


def failure(status: int = 0, code: str = "") -> Failure:
    """Complete a failure: the status decides the code, or the code the status."""
    code = code or _DEFAULT_CODES.get(status, DEFAULT_CODE)
    usual, message = FAILURES[code]
    return Failure(status or usual, code, message)


def worded(failure: Failure, words: Mapping[str, str]) -> str:
    """Return the message in a provider's own words (by code), unless it is a particular one."""
    _, usual = FAILURES.get(failure.code, (0, ""))
    return words.get(failure.code, failure.message) if failure.message == usual else failure.message
