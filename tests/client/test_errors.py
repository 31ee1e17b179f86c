import json

import pytest

from tellstream import client
from tellstream.client import errors
from tellstream.client.errors import AnswerError, StreamProtocolError, from_answer, retry_after
from tellstream.core.errors import CODES, ApiError


@pytest.mark.parametrize(
    ("status", "error_class"),
    [
        (400, errors.InvalidRequestError),
        (401, errors.AuthenticationError),
        (403, errors.PermissionDeniedError),
        (404, errors.NotFoundError),
        (409, errors.ConflictError),
        (410, errors.GoneError),
        (413, errors.InvalidRequestError),
        (422, errors.InvalidRequestError),
        (429, errors.RateLimitError),
        (500, errors.ServerError),
        (502, errors.ServerError),
        (503, errors.ServiceUnavailableError),
        (504, errors.ServerError),
        (302, StreamProtocolError),
        (204, StreamProtocolError),
    ],
)
def test_each_status_has_its_class(status: int, error_class: type[ApiError]) -> None:
    error = from_answer(status, {}, b'{"error":"some_code","message":"Some words."}')
    assert type(error) is error_class
    assert error.status == status


def test_every_code_of_the_server_gets_a_class_of_its_status() -> None:
    for code, row in CODES.items():
        error = from_answer(row.status, {}, json.dumps({"error": code, "message": "x"}).encode())
        assert isinstance(error, AnswerError)
        assert error.code == code


def test_the_servers_words_are_kept() -> None:
    body = {
        "error": "validation_error",
        "message": "Some fields are not valid.",
        "details": [{"field": "prompt", "message": "is empty"}],
    }
    headers = {"retry-after": "7", "x-request-id": "req_1"}
    error = from_answer(422, headers, json.dumps(body).encode())
    assert isinstance(error, errors.InvalidRequestError)
    assert error.details == (("prompt", "is empty"),)
    assert (error.retry_after, error.request_id) == (7.0, "req_1")
    assert str(error) == "validation_error: Some fields are not valid. prompt: is empty."


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"null", b'{"error":1}', b"\xff\xfe", b'{"error":"x"}']
)
def test_a_body_that_is_not_ours_leaves_the_status(body: bytes) -> None:
    error = from_answer(502, {}, body)
    assert type(error) is errors.ServerError
    assert (error.code, error.message) == ("unexpected_answer", "HTTP 502")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("0", 0.0), (" 12 ", 12.0), ("9" * 40, 999_999_999.0), ("-1", None), ("1.5", None),
     ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("", None), ("\u0661", None)],
)  # fmt: skip
def test_retry_after_is_seconds_or_nothing(value: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": value}) == seconds


def test_all_errors_are_api_errors_and_exported() -> None:
    ours = [value for value in vars(errors).values()
            if isinstance(value, type) and issubclass(value, Exception)]  # fmt: skip
    assert len(ours) > 15
    for error_class in ours:
        assert issubclass(error_class, ApiError)
        assert error_class.__name__ in client.__all__
