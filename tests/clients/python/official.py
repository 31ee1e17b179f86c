"""OpenAI's Python client, and AG-UI's Python types, over every kind of stream.

Run by tests/clients/test_official_clients.py in an environment of its own, so that they need not be
dependencies of anything here.
"""

import asyncio
import json
import os
import sys
import traceback
import urllib.request
from collections.abc import Callable
from importlib import import_module
from typing import Any

openai: Any = import_module("openai")
ag_ui: Any = import_module("ag_ui.core")
pydantic: Any = import_module("pydantic")

URL = os.environ["TELLSTREAM_URL"]
TOKEN = os.environ["TELLSTREAM_TOKEN"]
HEADERS = {"Authorization": f"Bearer {TOKEN}", "X-Tenant": "1", "Content-Type": "application/json"}
MESSAGES = [{"role": "user", "content": "Hello?"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
client = openai.OpenAI(api_key=TOKEN, base_url=f"{URL}/v1", max_retries=0)


def streamed(model: str, **more: Any) -> dict[str, Any]:
    said: dict[str, Any] = {
        "text": "", "thinking": "", "finish": None, "usage": None, "annotations": []
    }  # fmt: skip
    stream = client.chat.completions.create(model=model, messages=MESSAGES, stream=True, **more)
    for chunk in stream:
        said["usage"] = chunk.usage or said["usage"]
        for choice in chunk.choices:
            extra = choice.delta.model_extra or {}
            said["text"] += choice.delta.content or ""
            said["thinking"] += extra.get("reasoning_content") or ""
            said["annotations"] += extra.get("annotations") or []
            said["finish"] = choice.finish_reason or said["finish"]
    return said


def text_streamed_and_whole_is_the_same() -> None:
    said = streamed("text", stream_options={"include_usage": True})
    whole = client.chat.completions.create(model="text", messages=MESSAGES)
    assert said["finish"] == whole.choices[0].finish_reason == "stop"
    assert whole.choices[0].message.content == said["text"]
    assert whole.usage.to_dict() == said["usage"].to_dict()


def thinking_comes_as_reasoning_content() -> None:
    assert streamed("thinking")["thinking"]


def keep_alives_do_not_disturb() -> None:
    assert streamed("pausing")["finish"] == "stop"


def calls_are_accumulated_and_answered() -> None:
    with client.chat.completions.stream(model="tools", messages=MESSAGES, tools=[TOOL]) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion()
    message = final.choices[0].message
    assert [call.function.name for call in message.tool_calls] == ["get_weather"] * 2
    for call in message.tool_calls:
        json.loads(call.function.arguments)
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": '{"degrees":21}'}
        for call in message.tool_calls
    ]
    conversation = [*MESSAGES, message.to_dict(), *results]
    after = client.chat.completions.create(model="text", messages=conversation, tools=[TOOL])
    assert after.choices[0].finish_reason == "stop"


def a_schema_is_parsed_into_a_model() -> None:
    shape = pydantic.create_model("Shape", city=(str, ...), degrees=(int, ...))
    answer = client.chat.completions.parse(model="json", messages=MESSAGES, response_format=shape)
    assert answer.choices[0].message.parsed.city == "Rome"


def citations_are_annotations() -> None:
    [note] = streamed("cited")["annotations"]
    assert note["url_citation"]["url"] == "https://example.com/rome"


def a_refusal_and_a_limit_are_finish_reasons() -> None:
    assert streamed("refusal")["finish"] == "content_filter"
    assert streamed("length")["finish"] == "length"


def refused(kind: type[Exception], ask: Callable[[], object]) -> Any:
    """Expect an error of this kind; there is no pytest here."""
    try:
        ask()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


def an_error_in_the_middle_is_raised() -> None:
    error = refused(openai.APIError, lambda: streamed("error"))
    assert error.type == "server_error", error.type
    assert error.code, error


def errors_before_the_stream_have_their_class() -> None:
    assert refused(openai.InternalServerError, lambda: streamed("down")).code
    assert refused(openai.NotFoundError, lambda: streamed("nowhere")).code == "model_not_found"
    assert refused(openai.BadRequestError, lambda: streamed("text", n=2)).param == "n"
    stranger = openai.OpenAI(api_key="wrong", base_url=f"{URL}/v1", max_retries=0)
    assert refused(openai.AuthenticationError, stranger.models.list).code == "invalid_token"


def models_are_listed() -> None:
    assert "text" in [model.id for model in client.models.list()]
    other = openai.OpenAI(api_key=TOKEN, base_url=f"{URL}/openai/v1", max_retries=0)
    assert "text" in [model.id for model in other.models.list()]


def a_cancelled_stream_ends() -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="slow", messages=MESSAGES, stream=True
    )
    stream_id = raw.headers["x-stream-id"]
    last: Any = None
    for number, chunk in enumerate(raw.parse()):
        if number == 3:
            path = f"{URL}/v1/streams/{stream_id}/cancel"
            cancel = urllib.request.Request(path, headers=HEADERS, method="POST")
            with urllib.request.urlopen(cancel) as answer:
                assert answer.status == 202
        last = chunk.choices[0]
    assert last.finish_reason == "stop"
    assert last.model_extra["native_finish_reason"] == "Cancelled"


def the_asynchronous_client_reads_the_same() -> None:
    async def read() -> str:
        async with openai.AsyncOpenAI(api_key=TOKEN, base_url=f"{URL}/v1") as other:
            stream = await other.chat.completions.create(
                model="text", messages=MESSAGES, stream=True
            )
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert asyncio.run(read()) == streamed("text")["text"]


def ag_ui_events_have_the_types_they_should() -> None:
    adapter = pydantic.TypeAdapter(ag_ui.Event)
    for model in ("text", "thinking", "tools", "cited", "refusal", "length", "error"):
        body = ag_ui.RunAgentInput(
            thread_id="t", run_id="r", state={}, messages=[
                ag_ui.UserMessage(id="m", role="user", content="Hello?")
            ],
            tools=[ag_ui.Tool(name="f", description="f", parameters={"type": "object"})],
            context=[], forwarded_props={"model": model},
        ).model_dump_json(by_alias=True, exclude_none=True)  # fmt: skip
        request = urllib.request.Request(f"{URL}/v1/ag-ui", body.encode(), HEADERS)
        with urllib.request.urlopen(request) as answer:
            blocks = answer.read().decode().split("\n\n")[:-1]
        events = [adapter.validate_json(block.partition("data: ")[2]) for block in blocks]
        assert events[0].type == "RUN_STARTED"
        assert events[-1].type == ("RUN_ERROR" if model == "error" else "RUN_FINISHED")


CHECKS = [
    text_streamed_and_whole_is_the_same,
    thinking_comes_as_reasoning_content,
    keep_alives_do_not_disturb,
    calls_are_accumulated_and_answered,
    a_schema_is_parsed_into_a_model,
    citations_are_annotations,
    a_refusal_and_a_limit_are_finish_reasons,
    an_error_in_the_middle_is_raised,
    errors_before_the_stream_have_their_class,
    models_are_listed,
    a_cancelled_stream_ends,
    the_asynchronous_client_reads_the_same,
    ag_ui_events_have_the_types_they_should,
]


def main() -> int:
    failed = 0
    for check in CHECKS:
        try:
            check()
        except Exception:  # noqa: BLE001 - shown, and counted
            failed += 1
            print(f"not ok {check.__name__}")  # noqa: T201 - the result
            traceback.print_exc(file=sys.stdout)
        else:
            print(f"ok {check.__name__}")  # noqa: T201 - the result
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
