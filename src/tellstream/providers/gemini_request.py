"""Request bodies of the ``gemini`` dialect.

Source: Gemini API reference, "Generating content", "Function calling", "Thinking" and "Thought
signatures". Results are matched with calls by name and order, so ids are sent only where the
provider made them. What must go back with a call is put on the part of that very call.
"""

from fnmatch import fnmatchcase
from typing import Any, Final

from tellstream.core import lenient_json
from tellstream.core.chat import NAMED_TOOL, ChatRequest, Tool, ToolUse, Turn
from tellstream.providers.base import field
from tellstream.providers.hosts import Host

DIALECT: Final = "gemini"
# Models before the third generation take a budget, later ones a level, each within its own range.
_BUDGETED: Final = "*gemini-2*"
_NEVER_ZERO: Final = "*gemini-2*pro*"
_BUDGETS: Final = {"none": 0, "minimal": 512, "low": 1024, "medium": 8192, "high": 24576}
_LEAST: Final = 128
_LEVELS: Final = {"none": "low", "minimal": "low", "low": "low", "medium": "medium", "high": "high"}
"""The lowest level that every model knows; these models always think."""
_WITHOUT_MEDIUM: Final = "*gemini-3-pro*"
_UNSIGNED_CALLS: Final = ("*gemini-1*", "*gemini-2*")
"""Models that take calls back without a signature; of others, only Gemini models do not."""
_UNKNOWN_SIGNATURE: Final = "skip_thought_signature_validator"
"""Documented for calls that another model made."""
_CHOICES: Final = {"auto": "AUTO", "none": "NONE", "required": "ANY"}


def build_body(host: Host, model: str, chat: ChatRequest) -> dict[str, Any]:
    """Build the JSON body; parameters that this model of this host rejects are left out."""
    dropped = host.dropped_parameters(model)
    body: dict[str, Any] = {"contents": _contents(model, chat)}
    if chat.system:
        body["systemInstruction"] = {"parts": [{"text": chat.system}]}
    if chat.tools and "tools" not in dropped:
        body["tools"] = [{"functionDeclarations": [_declaration(tool) for tool in chat.tools]}]
        choice = _tool_choice(chat.tool_choice)
        if choice is not None and "tool_choice" not in dropped:
            body["toolConfig"] = {"functionCallingConfig": choice}
    effort = None if "reasoning_effort" in dropped else chat.reasoning_effort
    optional: dict[str, Any] = {
        "maxOutputTokens": chat.max_output_tokens,
        "temperature": None if "temperature" in dropped else chat.temperature,
        "thinkingConfig": None if effort is None else _thinking(model, effort),
    }
    if chat.response_format is not None and "response_format" not in dropped:
        optional["responseMimeType"] = "application/json"
        optional["responseJsonSchema"] = chat.response_format.schema
    config = {name: value for name, value in optional.items() if value is not None}
    return body | ({"generationConfig": config} if config else {})


def _thinking(model: str, effort: str) -> dict[str, Any]:
    shown = {"includeThoughts": effort != "none"}
    if fnmatchcase(model, _BUDGETED):
        least = _LEAST if fnmatchcase(model, _NEVER_ZERO) else 0
        return shown | {"thinkingBudget": max(_BUDGETS[effort], least)}
    level = _LEVELS[effort]
    if level == "medium" and fnmatchcase(model, _WITHOUT_MEDIUM):
        level = "high"
    return shown | {"thinkingLevel": level}


def _contents(model: str, chat: ChatRequest) -> list[dict[str, Any]]:
    """Write the turns; the results of one turn's calls stand together in one content."""
    contents: list[dict[str, Any]] = []
    names: dict[str, str] = {}  # of the calls so far, by our ids
    ids: dict[str, str] = {}  # the provider's own, by ours
    results: list[dict[str, Any]] = []  # of the content that is being collected
    for turn in chat.turns:
        if turn.role == "tool":
            if not results:
                contents.append({"role": "user", "parts": results})
            results.append({"functionResponse": _response(turn, names, ids)})
            continue
        results = []
        parts = [{"text": turn.content}] if turn.content else []
        parts += _calls(model, turn, names, ids)
        if parts:
            role = "model" if turn.role == "assistant" else "user"
            contents.append({"role": role, "parts": parts})
    return contents


def _calls(
    model: str, turn: Turn, names: dict[str, str], ids: dict[str, str]
) -> list[dict[str, Any]]:
    """Write the calls of a turn, each with what the provider wants back on it."""
    items = turn.replay.items if turn.replay and turn.replay.dialect == DIALECT else ()
    wanted = _matches(turn.tool_calls, items)
    parts: list[dict[str, Any]] = []
    for call, item in zip(turn.tool_calls, wanted, strict=True):
        written: dict[str, Any] = {"name": call.tool_name, "args": call.arguments}
        part: dict[str, Any] = {"functionCall": written}
        signature = field(item, "thoughtSignature", str)
        if signature:
            part["thoughtSignature"] = signature
        made_id = field(field(item, "functionCall", dict), "id", str)
        if made_id:
            written["id"] = ids[call.tool_id] = made_id
        names[call.tool_id] = call.tool_name
        parts.append(part)
    if parts and "thoughtSignature" not in parts[0] and _wants_signature(model):
        parts[0]["thoughtSignature"] = _UNKNOWN_SIGNATURE
    return parts


def _matches(
    calls: tuple[ToolUse, ...], items: tuple[dict[str, Any], ...]
) -> list[dict[str, Any] | None]:
    """Find the item of each call: first those that are equal, then by the name alone."""
    found: list[dict[str, Any] | None] = [None] * len(calls)
    left = list(items)
    for matches in (_is_equal, _is_named):
        for position, call in enumerate(calls):
            at = next((i for i, item in enumerate(left) if matches(item, call)), None)
            if found[position] is None and at is not None:
                found[position] = left.pop(at)
    return found


def _is_named(item: dict[str, Any], call: ToolUse) -> bool:
    return field(field(item, "functionCall", dict), "name", str) == call.tool_name


def _is_equal(item: dict[str, Any], call: ToolUse) -> bool:
    return _is_named(item, call) and item["functionCall"].get("args") == call.arguments


def _wants_signature(model: str) -> bool:
    return fnmatchcase(model, "*gemini*") and not any(
        fnmatchcase(model, pattern) for pattern in _UNSIGNED_CALLS
    )


def _response(turn: Turn, names: dict[str, str], ids: dict[str, str]) -> dict[str, Any]:
    try:
        result = lenient_json.loads(turn.content)
    except ValueError:
        result = turn.content
    response = result if isinstance(result, dict) else {"output": result}
    written = {"name": names.get(turn.tool_id, turn.tool_id), "response": response}
    return written | ({"id": ids[turn.tool_id]} if turn.tool_id in ids else {})


def _declaration(tool: Tool) -> dict[str, Any]:
    declaration: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        declaration["description"] = tool.description
    if tool.parameters:
        declaration["parametersJsonSchema"] = tool.parameters
    return declaration


def _tool_choice(choice: str | None) -> dict[str, Any] | None:
    if choice is not None and choice.startswith(NAMED_TOOL):
        return {"mode": "ANY", "allowedFunctionNames": [choice.removeprefix(NAMED_TOOL)]}
    return {"mode": _CHOICES[choice]} if choice in _CHOICES else None
