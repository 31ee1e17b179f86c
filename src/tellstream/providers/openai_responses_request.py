"""Request bodies of the ``openai-responses`` dialect.

Nothing is kept at the provider: the whole history is sent each time, and where a host would store
the response by default it is told not to. Thinking that must come back with the results of calls is
asked for in encrypted form, from the models that have it, and is sent before the calls it led to.

Source: OpenAI API reference, create a model response; docs.x.ai; docs.perplexity.ai.
"""

from collections.abc import Iterator
from typing import Any, Final

from tellstream.core import lenient_json
from tellstream.core.chat import NAMED_TOOL, ChatRequest, ResponseFormat, Tool, Turn
from tellstream.providers.base import Endpoint
from tellstream.providers.hosts import Host

DIALECT: Final = "openai-responses"


def url_of(endpoint: Endpoint) -> str:
    """Return the address; a base URL may hold the host's version prefix or not."""
    path = endpoint.host.responses_path
    if endpoint.base_url.endswith("/v1"):
        path = path.removeprefix("/v1")
    return endpoint.base_url + path


def build_body(host: Host, model: str, chat: ChatRequest) -> dict[str, Any]:
    """Build the JSON body; parameters that this model of this host rejects are left out."""
    dropped = host.dropped_parameters(model)
    optional = {
        "instructions": chat.system or None,
        "store": False if host.stores_responses else None,
        "include": ["reasoning.encrypted_content"] if host.encrypts_thinking(model) else None,
        "max_output_tokens": chat.max_output_tokens,
        "temperature": chat.temperature,
        "tools": [_tool(tool) for tool in chat.tools] or None,
        "tool_choice": _tool_choice(chat.tool_choice) if chat.tools else None,
        "text": _text(chat.response_format) if "response_format" not in dropped else None,
    }
    body: dict[str, Any] = {"model": model, "input": list(_input(chat)), "stream": True}
    body |= {k: v for k, v in optional.items() if v is not None and k not in dropped}
    effort = chat.reasoning_effort
    if effort is not None and "reasoning_effort" not in dropped:
        summary = {} if effort == "none" else {"summary": "auto"}
        body["reasoning"] = {"effort": effort, **summary}
    return body


def _input(chat: ChatRequest) -> Iterator[dict[str, Any]]:
    for turn in chat.turns:
        if turn.role == "tool":
            yield {"type": "function_call_output", "call_id": turn.tool_id, "output": turn.content}
        else:
            yield from _items(turn)


def _items(turn: Turn) -> Iterator[dict[str, Any]]:
    """A turn is several items: its thinking, its text and each of its calls."""
    if turn.replay is not None and turn.replay.dialect == DIALECT:
        yield from turn.replay.items
    if turn.content or not turn.tool_calls:
        yield _message(turn.role, turn.content)
    for call in turn.tool_calls:
        yield {
            "type": "function_call",
            "call_id": call.tool_id,
            "name": call.tool_name,
            "arguments": lenient_json.dumps(call.arguments),
        }


def _message(role: str, text: str) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": text}


def _tool(tool: Tool) -> dict[str, Any]:
    """Flat, unlike chat; strict is the default here and would refuse optional parameters."""
    function = {"type": "function", "name": tool.name, "parameters": tool.parameters}
    if tool.description is not None:
        function["description"] = tool.description
    return {**function, "strict": False}


def _text(wanted: ResponseFormat | None) -> dict[str, Any] | None:
    if wanted is None:
        return None
    if wanted.schema is None:
        return {"format": {"type": "json_object"}}
    form: dict[str, Any] = {"type": "json_schema", "name": wanted.name, "schema": wanted.schema}
    if wanted.strict is not None:
        form["strict"] = wanted.strict
    return {"format": form}


def _tool_choice(choice: str | None) -> Any:
    if choice is not None and choice.startswith(NAMED_TOOL):
        return {"type": "function", "name": choice.removeprefix(NAMED_TOOL)}
    return choice
