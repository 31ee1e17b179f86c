"""The OpenAPI document describes the routes there are, and what they say."""

from typing import Any

import aiohttp
import pytest

from support.chat import ask
from support.server import Running
from tellstream.core.events import EVENT_TYPES
from tellstream.server.routes import ROUTES


async def document(server: Running) -> dict[str, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{server.url}/openapi.json") as response,
    ):
        loaded: dict[str, Any] = await response.json()
        return loaded


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        found = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return found.union(*(references(item) for item in value.values()))
    if isinstance(value, list):
        return set().union(*(references(item) for item in value))
    return set()


async def test_every_route_and_alias_is_described(server: Running) -> None:
    paths = (await document(server))["paths"]
    for route in ROUTES:
        for path in (route.path, *route.aliases):
            assert route.method.lower() in paths[path]
    assert len(paths) == sum(1 + len(route.aliases) for route in ROUTES)


async def test_every_reference_leads_somewhere(server: Running) -> None:
    loaded = await document(server)
    for reference in references(loaded):
        assert reference.removeprefix("#/components/schemas/") in loaded["components"]["schemas"]


async def test_every_event_of_a_stream_has_its_schema(server: Running) -> None:
    loaded = await document(server)
    stream = loaded["paths"]["/v1/chat/stream"]["post"]["responses"]["200"]["content"]
    events = stream["text/event-stream"]["schema"]["x-event-schemas"]
    assert set(events) == set(EVENT_TYPES)
    schemas = loaded["components"]["schemas"]
    assert list(schemas["text_delta"]["properties"]) == ["id", "timestamp", "delta", "message_id"]


async def test_operation_ids_are_unique(server: Running) -> None:
    paths = (await document(server))["paths"]
    ids = [operation["operationId"] for path in paths.values() for operation in path.values()]
    assert len(ids) == len(set(ids))


async def test_a_cancel_is_described_as_it_answers(server: Running) -> None:
    paths = (await document(server))["paths"]
    cancel = paths["/v1/streams/{id}/cancel"]["post"]
    assert set(cancel["responses"]) >= {"202", "404"}
    assert "requestBody" not in cancel
    assert [p["name"] for p in cancel["parameters"]] == ["X-Tenant", "id"]


@pytest.mark.parametrize("path", ["/docs", "/docs/docs.js", "/docs/docs.css"])
async def test_the_reference_page_is_served_under_a_strict_policy(
    server: Running, path: str
) -> None:
    async with aiohttp.ClientSession() as session, session.get(server.url + path) as response:
        assert response.status == 200
        text = await response.text()
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert len(text) > 500
    assert "https://" not in text.replace("https://www.w3.org", "")


async def test_an_answer_has_the_members_the_document_names(server: Running) -> None:
    schemas = (await document(server))["components"]["schemas"]
    reply = await ask(server, {"prompt": "x"}, path="/v1/chat")
    assert list(schemas["Answer"]["properties"]["data"]["properties"]) == list(reply.json["data"])
