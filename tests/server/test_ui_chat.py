"""Chats by their id: what runs is found again, by its own subject only, and can be stopped."""

from typing import Any

import aiohttp

from protocols.checkers import check_ui
from support.server import Running


def body(model: str, chat: str = "chat-1", name: str = "m1") -> dict[str, Any]:
    said = {"id": name, "role": "user", "parts": [{"type": "text", "text": "Hello?"}]}
    return {"id": chat, "messages": [said], "trigger": "submit-message", "model": model}


async def start(
    session: aiohttp.ClientSession, server: Running, model: str, chat: str = "chat-1"
) -> tuple[aiohttp.ClientResponse, str]:
    response = await session.post(f"{server.url}/v1/ui/chat", json=body(model, chat))
    assert response.status == 200
    assert response.headers["x-vercel-ai-ui-message-stream"] == "v1"
    return response, response.headers["X-Stream-Id"]


async def test_what_runs_is_replayed_from_its_start_and_can_be_stopped(server: Running) -> None:
    async with aiohttp.ClientSession(headers=server.headers()) as session:
        left, stream = await start(session, server, "endless")
        await left.content.readuntil(b"text-delta")
        left.close()
        again = await session.get(f"{server.url}/v1/ui/chat/chat-1/stream")
        assert (again.status, again.headers["X-Stream-Id"]) == (200, stream)
        for _ in range(2):  # the second finds nothing that runs
            stopped = await session.post(f"{server.url}/v1/ui/chat/chat-1/stop")
            assert stopped.status in {202, 204}
        chunks = check_ui(await again.read())
        assert chunks[0]["messageMetadata"]["streamId"] == stream
        assert chunks[-1]["type"] == "abort"
        assert (await session.get(f"{server.url}/v1/ui/chat/chat-1/stream")).status == 204


async def test_nothing_to_resume_is_204(server: Running) -> None:
    async with aiohttp.ClientSession(headers=server.headers()) as session:
        response, _ = await start(session, server, "plain")
        check_ui(await response.read())
        for chat in ("chat-1", "never-seen"):
            for method, what in (("GET", "stream"), ("POST", "stop")):
                path = f"{server.url}/v1/ui/chat/{chat}/{what}"
                answer = await session.request(method, path)
                assert (answer.status, await answer.read()) == (204, b"")


async def test_a_chat_belongs_to_its_subject(server: Running) -> None:
    async with aiohttp.ClientSession(headers=server.headers()) as session:
        running, stream = await start(session, server, "endless")
        path = f"{server.url}/v1/ui/chat/chat-1"
        for headers in (server.headers(subject="other"), server.headers(2)):
            assert (await session.get(f"{path}/stream", headers=headers)).status == 204
            assert (await session.post(f"{path}/stop", headers=headers)).status == 204
        state = await (await session.get(f"{server.url}/v1/streams/{stream}")).json()
        assert state["data"]["state"] == "running"
        running.close()


async def test_the_newest_stream_of_a_chat_counts(server: Running) -> None:
    async with aiohttp.ClientSession(headers=server.headers()) as session:
        first, _ = await start(session, server, "endless")
        second, newest = await start(session, server, "endless")
        again = await session.get(f"{server.url}/v1/ui/chat/chat-1/stream")
        assert again.headers["X-Stream-Id"] == newest
        for response in (first, second, again):
            response.close()


async def test_an_answer_that_goes_on_keeps_its_message_also_when_resumed(server: Running) -> None:
    asked = body("endless")
    called = {
        "type": "tool-f", "toolCallId": "c", "state": "output-available", "input": {}, "output": 1,
    }  # fmt: skip
    asked["messages"].append({"id": "answer-1", "role": "assistant", "parts": [called]})
    async with aiohttp.ClientSession(headers=server.headers()) as session:
        response = await session.post(f"{server.url}/v1/ui/chat", json=asked)
        again = await session.get(f"{server.url}/v1/ui/chat/chat-1/stream")
        for one in (response, again):
            assert b'"messageId":"answer-1"' in await one.content.readuntil(b"\n\n")
            one.close()


async def test_without_the_store_a_chat_is_answered_all_the_same(server: Running) -> None:
    await server.services.bookmarks._store.close()
    async with aiohttp.ClientSession(headers=server.headers()) as session:
        response, _ = await start(session, server, "plain")
        assert check_ui(await response.read())[-1]["type"] == "finish"
