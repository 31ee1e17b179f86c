"""The OpenAPI document describes the routes there are, and what they say."""

from typing import Any

import aiohttp
import pytest

from support.chat import ask
from support.server import Running
from tellstream.core.events import EVENT_TYPES
from tellstream.server import openapi_compatible
from tellstream.server.admin.routes import ADMIN_ROUTES, ENDPOINTS
from tellstream.server.openapi import openapi_document
from tellstream.server.openapi_admin import admin_operations
from tellstream.server.openapi_operations import OPERATIONS
from tellstream.server.routes import PUBLIC, ROUTES


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
    assert set(paths) == {path for route in ROUTES for path in (route.path, *route.aliases)}


def test_every_route_has_a_row_that_says_what_it_takes_and_gives() -> None:
    """Without one, the document could not be built; administration describes itself."""
    described = {*OPERATIONS, *openapi_compatible.OPERATIONS, *admin_operations()}
    missing = {(route.method, route.path) for route in ROUTES} - described
    assert not missing, f"add to OPERATIONS in server/openapi_operations.py: {sorted(missing)}"
    assert {(route.method, route.path) for route in ADMIN_ROUTES} == set(admin_operations())


def test_administration_is_described_from_its_own_table() -> None:
    loaded = openapi_document(ADMIN_ROUTES, frozenset(), "https://tellstream.example")
    assert references(loaded) >= {
        "#/components/schemas/ClientBody",
        "#/components/schemas/Tenant",
        "#/components/schemas/AuditEvent",
    }
    for endpoint in ENDPOINTS:
        operation = loaded["paths"][f"/v1/admin{endpoint.path}"][endpoint.method.lower()]
        assert operation["security"] == [{"oauth": ["admin"]}]
        assert str(endpoint.status) in operation["responses"]
        assert ("requestBody" in operation) == (endpoint.body is not None)
        query = [p["name"] for p in operation["parameters"] if p["in"] == "query"]
        assert query == list(endpoint.query)
    for place, _, name in (r[2:].rpartition("/") for r in references(loaded)):
        assert name in loaded["components"][place.rpartition("/")[2]]


async def test_public_routes_need_no_security_and_all_others_name_their_scope(
    server: Running,
) -> None:
    paths = (await document(server))["paths"]
    for route in ROUTES:
        security = paths[route.path][route.method.lower()]["security"]
        assert security == ([] if route.path in PUBLIC else [{"oauth": [route.scope]}])


async def test_every_reference_leads_somewhere(server: Running) -> None:
    loaded = await document(server)
    for reference in references(loaded):
        place, _, name = reference.removeprefix("#/components/").partition("/")
        assert name in loaded["components"][place]


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
