"""Request bodies of the ``openai-chat`` dialect."""

from collections.abc import Callable
from typing import Any, Final

from tellstream.core import lenient_json
from tellstream.core.chat import NAMED_TOOL, ChatRequest, ResponseFormat, Tool, Turn
from tellstream.providers.hosts import Host

# How a host wants the effort asked for (``Host.reasoning_style``).
_REASONING: Final[dict[str, Callable[[str], dict[str, Any]]]] = {
    "effort": lambda effort: {"reasoning_effort": effort},
    "object": lambda effort: {"reasoning": {"effort": effort}},
    "thinking": lambda effort: (
        {"thinking": {"type": "disabled"}}
        if effort == "none"
        else {"thinking": {"type": "enabled"}, "reasoning_effort": effort}
    ),
    "none": lambda _effort: {},
}


def build_body(host: Host, model: str, chat: ChatRequest) -> dict[str, Any]:
    """Build the JSON body; parameters that this model of this host rejects are left out."""
    body: dict[str, Any] = {"model": model, "messages": _messages(chat), "stream": True}
    if host.usage_flag:
        body["stream_options"] = {"include_usage": True}
    optional = {
        host.token_limit_field: chat.max_output_tokens,
        "temperature": chat.temperature,
        "tools": [_tool(tool) for tool in chat.tools] or None,
        "tool_choice": _tool_choice(chat.tool_choice) if chat.tools else None,
        "response_format": _response_format(chat.response_format),
    }
    dropped = host.dropped_parameters(model)
    body |= {k: v for k, v in optional.items() if v is not None and k not in dropped}
    if chat.reasoning_effort is not None and "reasoning_effort" not in dropped:
        body |= _REASONING[host.reasoning_style](chat.reasoning_effort)
    return body


def _messages(chat: ChatRequest) -> list[dict[str, Any]]:
    system = [{"role": "system", "content": chat.system}] if chat.system else []
    return [
        *system,
        *(_message(turn) for turn in chat.turns),
    ]


def _message(turn: Turn) -> dict[str, Any]:
    if turn.role == "tool":
        return {"role": "tool", "tool_call_id": turn.tool_id, "content": turn.content}
    message: dict[str, Any] = {"role": turn.role, "content": turn.content}
    if turn.tool_calls:
        message["tool_calls"] = [
            {
                "id": call.tool_id,
                "type": "function",
                "function": {
                    "name": call.tool_name,
                    "arguments": lenient_json.dumps(call.arguments),
                },
            }
            for call in turn.tool_calls
        ]
    return message


def _tool(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name, "parameters": tool.parameters}
    if tool.description is not None:
        function["description"] = tool.description
    return {"type": "function", "function": function}


def _response_format(wanted: ResponseFormat | None) -> dict[str, Any] | None:
    if wanted is None:
        return None
    if wanted.schema is None:
        return {"type": "json_object"}
    schema: dict[str, Any] = {"name": wanted.name, "schema": wanted.schema}
    if wanted.strict is not None:
        schema["strict"] = wanted.strict
    return {"type": "json_schema", "json_schema": schema}


def _tool_choice(choice: str | None) -> Any:
    if choice is not None and choice.startswith(NAMED_TOOL):
        return {"type": "function", "function": {"name": choice.removeprefix(NAMED_TOOL)}}
    return choice
