"""A script decides the response; heads are HTTP, bodies are the wire's."""

import pytest

from tellstream.providers.simulator.answer import Turn
from tellstream.providers.simulator.failure import Failure
from tellstream.providers.simulator.reply import Reply, failed, plain, reply
from tellstream.providers.simulator.script import parse_model
from tellstream.providers.simulator.wire_openai_chat import OpenAIChatWire

WIRE = OpenAIChatWire()
NOON = 1_767_268_800.0  # Thu, 01 Jan 2026 12:00:00 GMT


def decide(options: str, path: str = "/v1/chat/completions", *, stream: bool = True) -> Reply:
    turn = Turn(model=f"sim:{options}", digest="d", stream=stream, question="hello")
    return reply(WIRE, parse_model(turn.model), turn, path, NOON)


def written(decided: Reply) -> bytes:
    return b"".join(step.data for step in decided.steps)


@pytest.mark.parametrize(
    ("options", "line", "part"),
    [
        ("status=500", b"500 Internal Server Error", b"server_error"),
        ("status=529", b"529 Unknown", b"overloaded"),
        ("status=429,code=insufficient_quota", b"429 Too Many", b'"code":"insufficient_quota"'),
        ("status=429,retry_after=7", b"429", b"\r\nretry-after: 7\r\n"),
        (
            "status=503,retry_after=date:2",
            b"503",
            b"\r\nretry-after: Thu, 01 Jan 2026 12:00:02 GMT\r\n",
        ),
        ("status=502,body=html", b"502 Bad Gateway", b"<!DOCTYPE html>"),
        ("body=html", b"200 OK\r\ncontent-type: text/html", b"<!DOCTYPE html>"),
        ("body=json", b"200 OK\r\ncontent-type: application/json", b"detail"),
        (
            "redirect=1",
            b"307 Temporary Redirect",
            b"\r\nlocation: /v1/chat/completions?redirected=1\r\n",
        ),
    ],
)
def test_responses_instead_of_an_answer(options: str, line: bytes, part: bytes) -> None:
    decided = decide(options)
    data = written(decided)
    assert data.startswith(b"HTTP/1.1 " + line)
    assert part in data
    assert decided.breaks
    assert not decided.answers


def test_a_followed_redirect_is_answered() -> None:
    decided = decide("redirect=1,words=1", "/v1/chat/completions?redirected=1")
    assert written(decided).startswith(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream")


@pytest.mark.parametrize("fault", ["error", "errorafter"])
def test_an_error_without_a_stream_is_a_status(fault: str) -> None:
    assert written(decide(f"fault={fault}", stream=False)).startswith(b"HTTP/1.1 500")


@pytest.mark.parametrize("fault", ["endless", "garble", "hugeevent", "dupfinish", "afterfinish"])
def test_faults_of_a_stream_do_not_touch_a_whole_answer(fault: str) -> None:
    said = written(decide(f"fault={fault},echo=1", stream=False))
    assert b'"content":"hello"' in said
    assert said.endswith(b"\r\n0\r\n\r\n")


def test_a_whole_answer_takes_as_long_as_its_stream() -> None:
    head, body, last = decide("words=5,first_ms=10,delay_ms=2,pings=1", stream=False).steps
    assert head.at == 0
    assert body.at == last.at == pytest.approx(0.018)
    assert body.tokens == 5


def test_a_prompt_counts_only_if_a_head_is_sent() -> None:
    assert decide("words=1").answers
    assert decide("fault=eof,at=0").answers
    assert not decide("fault=eof,at=-1").answers


def test_pieces_are_not_joined_again() -> None:
    assert decide("chunk=3").batch == 1
    assert decide("drip=1").batch == 1
    assert decide("").batch > 1


def test_a_refusal_of_the_server_itself() -> None:
    data = written(failed(WIRE, Failure(400, "invalid_script", "words: no")))
    assert data.startswith(b"HTTP/1.1 400 Bad Request")
    assert b'"code":"invalid_script"' in data
    assert plain(204, b"", "text/plain") == (
        b"HTTP/1.1 204 No Content\r\ncontent-type: text/plain\r\ncontent-length: 0\r\n\r\n"
    )
