"""OpenAI's clients: the token is the key, the tenant may be left out, errors have their shape."""

from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest

from support.replay import Answer, ReplayProvider
from support.server import Running

HELLO = [{"role": "user", "content": "Hello?"}]
ANSWER = (
    b'data: {"model":"recorded","choices":[{"index":0,"delta":{"content":"{}"},'
    b'"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
)
NONE: Mapping[str, str] = {}
SDK = {"User-Agent": "OpenAI/Python 3.54.0"}


async def call(
    server: Running,
    method: str,
    path: str,
    body: Any = None,
    *,
    tenants: tuple[int, ...] = (1,),
    headers: Mapping[str, str] = NONE,
) -> tuple[int, Any]:
    sent = {"Authorization": f"Bearer {server.token(*tenants)}", **headers}
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, server.url + path, headers=sent, json=body) as response,
    ):
        return response.status, await response.json()


async def test_a_tenant_may_be_left_out_if_the_token_has_one(server: Running) -> None:
    body = {"model": "plain", "messages": HELLO}
    status, answer = await call(server, "POST", "/v1/chat/completions", body)
    assert status == 200
    assert answer["object"] == "chat.completion"
    assert len(answer["choices"][0]["message"]["content"].split()) == 5
    assert answer["usage"]["total_tokens"] > 0
    status, answer = await call(server, "POST", "/v1/chat/completions", body, tenants=(1, 2))
    assert (status, answer["error"]["code"]) == (400, "invalid_request")
    selected = {"X-Tenant": "2"}
    path = "/openai/v1/chat/completions"
    status, answer = await call(server, "POST", path, body, tenants=(1, 2), headers=selected)
    assert status == 200


async def test_the_native_routes_still_want_the_tenant(server: Running) -> None:
    for method, path, body in (
        ("POST", "/v1/chat/stream", {"prompt": "x"}),
        ("POST", "/v1/chat", {"prompt": "x"}),
        ("GET", "/v1/models", None),
        ("POST", "/v1/ui/chat", {}),
        ("POST", "/v1/ag-ui", {}),
    ):
        status, answer = await call(server, method, path, body)
        assert (status, answer["error"]) == (400, "invalid_request")


@pytest.mark.parametrize("headers", [SDK, {"X-Stainless-Lang": "js"}, {**SDK, "X-Tenant": "2"}])
async def test_the_list_of_models_has_the_shape_that_the_client_wants(
    server: Running, headers: dict[str, str]
) -> None:
    tenants = (2,) if "X-Tenant" in headers else (1,)
    status, answer = await call(server, "GET", "/v1/models", tenants=tenants, headers=headers)
    assert (status, answer["object"]) == (200, "list")
    assert answer["data"][0]["id"] == "plain"
    assert {row["object"] for row in answer["data"]} == {"model"}
    status, native = await call(
        server, "GET", "/v1/models", tenants=tenants, headers={"X-Tenant": str(*tenants)}
    )
    assert (status, set(native)) == (200, {"data"})
    assert [row["id"] for row in native["data"]] == [row["id"] for row in answer["data"]]
    path = "/openai/v1/models"
    assert await call(server, "GET", path, tenants=tenants) == (200, answer)


async def test_a_refusal_before_the_handler_has_the_shape_too(server: Running) -> None:
    body = {"model": "plain", "messages": HELLO}
    for headers, status, code in (
        ({"Authorization": "Bearer x"}, 401, "invalid_token"),
        ({"X-Tenant": "2"}, 403, "forbidden"),
        ({"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
    ):
        answered, answer = await call(server, "POST", "/v1/chat/completions", body, headers=headers)
        assert (answered, answer["error"]["code"]) == (status, code)
    answered, answer = await call(
        server, "GET", "/v1/models", headers={**SDK, "Authorization": "Bearer x"}
    )
    assert (answered, answer["error"]["type"]) == (401, "authentication_error")


async def test_a_model_of_nobody_is_a_404(server: Running) -> None:
    body = {"model": "unknown", "messages": HELLO}
    status, answer = await call(server, "POST", "/v1/chat/completions", body)
    assert (status, answer["error"]["code"]) == (404, "model_not_found")


async def test_the_provider_gets_the_whole_conversation(
    server: Running, replay: ReplayProvider
) -> None:
    replay.answers["recorded"] = Answer(ANSWER)
    arguments = '{"city":"Rome"}'
    call_ = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": arguments}}
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    schema = {"name": "s", "schema": {"type": "object"}, "strict": True}
    status, answer = await call(
        server,
        "POST",
        "/v1/chat/completions",
        {
            "model": "replay",
            "messages": [
                {"role": "system", "content": "Be kind."},
                *HELLO,
                {"role": "assistant", "content": None, "tool_calls": [call_]},
                {"role": "tool", "tool_call_id": "c1", "content": "21"},
            ],
            "tools": [tool],
            "tool_choice": "auto",
            "response_format": {"type": "json_schema", "json_schema": schema},
            "max_tokens": 9,
            "seed": 1,
        },
    )
    assert (status, answer["choices"][0]["message"]["content"]) == (200, "{}")
    sent: Any = replay.requests[0]["body"]
    assert sent["messages"] == [
        {"role": "system", "content": "Be brief.\n\nBe kind."},
        *HELLO,
        {"role": "assistant", "content": "", "tool_calls": [call_]},
        {"role": "tool", "tool_call_id": "c1", "content": "21"},
    ]
    assert sent["response_format"] == {"type": "json_schema", "json_schema": schema}
    assert sent["tools"] == [tool]
    assert "seed" not in sent
