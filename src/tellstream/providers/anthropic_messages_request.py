"""Request bodies of the ``anthropic-messages`` dialect.

Source: Anthropic API reference, "Create a message", "Tool use" and "Extended thinking". The wire is
stricter than others: roles alternate, the results of calls come first in the user turn right after
them, text is never blank, ``max_tokens`` is required, and thinking excludes a temperature and a
forced tool. What cannot be had together is resolved here, so that the caller's request succeeds.
"""

import re
from fnmatch import fnmatchcase
from typing import Any, Final

from tellstream.core.chat import NAMED_TOOL, ChatRequest, Tool, Turn
from tellstream.providers.hosts import Host

DIALECT: Final = "anthropic-messages"
MAX_TOKENS: Final = 4096
"""Of an answer, unless the request says; thinking comes on top."""
_MIN_BUDGET: Final = 1024
"""The least that may be asked for, by the API reference."""
_BUDGETS: Final = {"minimal": _MIN_BUDGET, "low": 2048, "medium": 8192, "high": 16384}
_EFFORTS: Final = {"minimal": "low", "low": "low", "medium": "medium", "high": "high"}
# Claude decides itself how much to think, except for the models that still want a budget.
_ADAPTIVE: Final = "*claude*"
_BUDGETED: Final = (
    "*claude-3*",
    "*claude-opus-4[-.][015]*",
    "*claude-opus-4[-@]20*",
    "*claude-sonnet-4[-.][05]*",
    "*claude-sonnet-4[-@]20*",
    "*claude-haiku-4*",
)
# Of the former, those that cannot be told not to think.
_ALWAYS: Final = ("*claude-fable*", "*claude-mythos*", "*claude-opus-4[-.]7*")
_SILENT: Final = {"type": "disabled"}
_FORCED: Final = frozenset({"any", "tool"})
_CHOICES: Final = {"auto": "auto", "none": "none", "required": "any"}
_NOT_IN_AN_ID: Final = re.compile(r"[^a-zA-Z0-9_-]")


def build_body(host: Host, model: str, chat: ChatRequest) -> dict[str, Any]:
    """Build the JSON body; parameters that this model of this host rejects are left out."""
    dropped = host.dropped_parameters(model)
    choice = _tool_choice(chat.tool_choice) if chat.tools else None
    effort = None if "reasoning_effort" in dropped else chat.reasoning_effort
    if _is_budgeted(model):
        asked, room = _budget(effort if _may_think(chat, choice) else None, chat.max_output_tokens)
    else:
        forced = choice is not None and choice["type"] in _FORCED
        asked, room = _adaptive(model, "none" if effort and forced else effort)
    if chat.response_format is not None and "response_format" not in dropped:
        # A schema is required; requests without one are refused before they come here.
        form = {"type": "json_schema", "schema": chat.response_format.schema or {"type": "object"}}
        asked = {**asked, "output_config": {**asked.get("output_config", {}), "format": form}}
    thinks = asked.get("thinking", _SILENT) != _SILENT
    optional = {
        "system": chat.system or None,
        "temperature": None if thinks else chat.temperature,
        "tools": [_tool(tool) for tool in chat.tools] or None,
        "tool_choice": choice,
    }
    return {
        "model": model,
        "max_tokens": MAX_TOKENS + room
        if chat.max_output_tokens is None
        else chat.max_output_tokens,
        "messages": _messages(chat),
        "stream": True,
        **{k: v for k, v in optional.items() if v is not None and k not in dropped},
        **asked,
    }


def _is_budgeted(model: str) -> bool:
    """Whether the model must be told how much to think; hosts of other models copied that."""
    return not fnmatchcase(model, _ADAPTIVE) or any(fnmatchcase(model, one) for one in _BUDGETED)


def _budget(effort: str | None, limit: int | None) -> tuple[dict[str, Any], int]:
    """Ask for thinking by a budget; returns the parameters, and the tokens they are worth.

    These models do not think unless asked to, and the limit of the answer must exceed the budget.
    """
    if effort in {None, "none"} or (limit is not None and limit <= _MIN_BUDGET):
        return {}, 0
    budget = _BUDGETS[effort or ""]
    if limit is not None:  # leave half of it to the answer
        budget = min(budget, max(_MIN_BUDGET, limit // 2))
    return {"thinking": {"type": "enabled", "budget_tokens": budget}}, budget


def _adaptive(model: str, effort: str | None) -> tuple[dict[str, Any], int]:
    """The same for models that decide themselves how much to think, some of them unasked."""
    if effort is None:
        return {}, _BUDGETS["high"]
    if effort == "none":
        if any(fnmatchcase(model, name) for name in _ALWAYS):
            return {"output_config": {"effort": "low"}}, _BUDGETS["low"]
        return {"thinking": _SILENT}, 0
    thinking = {"type": "adaptive", "display": "summarized"}
    return {"thinking": thinking, "output_config": {"effort": _EFFORTS[effort]}}, _BUDGETS[effort]


def _may_think(chat: ChatRequest, choice: dict[str, Any] | None) -> bool:
    """Whether thinking by a budget is compatible with the rest of the request.

    A forced tool excludes it. While results are being returned, the turn that made the calls must
    begin with the thinking that led to them, so it must be there.
    """
    if choice is not None and choice["type"] in _FORCED:
        return False
    calling = next((turn for turn in reversed(chat.history) if turn.role == "assistant"), None)
    return calling is None or not calling.tool_calls or bool(_replay(calling))


def _messages(chat: ChatRequest) -> list[dict[str, Any]]:
    """Merge turns of one role into one message, results of calls first."""
    messages: list[dict[str, Any]] = []
    for turn in chat.turns:
        role = "assistant" if turn.role == "assistant" else "user"
        blocks = _blocks(turn)
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"] += blocks
        elif blocks:
            messages.append({"role": role, "content": blocks})
    for message in messages:
        if message["role"] == "user":
            message["content"].sort(key=lambda block: block["type"] != "tool_result")
    return messages


def _blocks(turn: Turn) -> list[dict[str, Any]]:
    if turn.role == "tool":
        result = {"type": "tool_result", "tool_use_id": _tool_id(turn.tool_id)}
        return [result | ({"content": turn.content} if turn.content.strip() else {})]
    text = [{"type": "text", "text": turn.content}] if turn.content.strip() else []
    calls = [
        {
            "type": "tool_use",
            "id": _tool_id(call.tool_id),
            "name": call.tool_name,
            "input": call.arguments,
        }
        for call in turn.tool_calls
    ]
    return [*_replay(turn), *text, *calls]


def _replay(turn: Turn) -> list[dict[str, Any]]:
    """The thinking that led to the calls of a turn, as it came; only if it came from this wire."""
    if turn.replay is None or turn.replay.dialect != DIALECT or not turn.tool_calls:
        return []
    return list(turn.replay.items)


def _tool_id(tool_id: str) -> str:
    """Write an id that another provider made with the characters that are allowed here."""
    return _NOT_IN_AN_ID.sub("_", tool_id)


def _tool(tool: Tool) -> dict[str, Any]:
    schema = {"type": "object", **tool.parameters}
    described = {} if tool.description is None else {"description": tool.description}
    return {"name": tool.name, **described, "input_schema": schema}


def _tool_choice(choice: str | None) -> dict[str, Any] | None:
    if choice is not None and choice.startswith(NAMED_TOOL):
        return {"type": "tool", "name": choice.removeprefix(NAMED_TOOL)}
    return {"type": _CHOICES[choice]} if choice in _CHOICES else None
