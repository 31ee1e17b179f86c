"""Tools that ran at the provider: each status once, the end with all that is known of it."""

from typing import Any

import pytest

from tellstream.core import parts as pt
from tellstream.core.events import ArtifactData
from tellstream.providers.openai_responses_hosted import HostedTools

KINDS = [
    "web_search_call",
    "file_search_call",
    "code_interpreter_call",
    "image_generation_call",
    "mcp_call",
    "x_search_call",
    "code_execution_call",
    "kind_yet_to_come_call",
]
AT = {"item_id": "i", "output_index": 0, "sequence_number": 1, "type": "x", "obfuscation": "y"}


def item(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "id": "i", "status": "completed", **more}


@pytest.mark.parametrize("kind", KINDS)
def test_a_status_is_told_as_it_comes_and_the_end_with_its_item(kind: str) -> None:
    tools = HostedTools()
    assert tools.event(f"response.{kind}.in_progress", AT) == [
        pt.ProviderTool(kind, "in_progress", "i", {})
    ]
    assert tools.event(f"response.{kind}.completed", AT) == []
    done = item(kind, action={"query": "q"})
    assert tools.done(AT, done) == [pt.ProviderTool(kind, "completed", "i", done)]
    assert tools.settle() == []


def test_an_end_without_an_item_is_told_at_last() -> None:
    tools = HostedTools()
    tools.event("response.mcp_call.failed", {**AT, "error": "e"})
    assert tools.settle() == [pt.ProviderTool("mcp_call", "failed", "i", {"error": "e"})]
    assert tools.settle() == []


@pytest.mark.parametrize(
    "kind",
    [
        "response.code_interpreter_call_code.delta",
        "response.mcp_call_arguments.done",
        "response.mcp_list_tools.completed",
        "response.shell_call_command.added",
        "response.output_audio.delta",
        "response.reasoning.started",
        "_call.x",
        "",
    ],
)
def test_other_events_mean_nothing(kind: str) -> None:
    assert HostedTools().event(kind, AT) == []


@pytest.mark.parametrize(
    ("status", "error", "ending"),
    [
        ("completed", None, "completed"),
        ("generating", None, "completed"),
        (None, None, "completed"),
        (None, "e", "failed"),
        ("failed", None, "failed"),
        ("incomplete", None, "incomplete"),
    ],
)
def test_how_an_item_ended(status: str | None, error: str | None, ending: str) -> None:
    (tool,) = HostedTools().done(AT, {**item("mcp_call"), "status": status, "error": error})
    assert isinstance(tool, pt.ProviderTool)
    assert tool.status == ending


def test_the_status_event_decides_how_it_ended() -> None:
    tools = HostedTools()
    tools.event("response.mcp_call.failed", AT)
    (tool,) = tools.done(AT, item("mcp_call"))
    assert isinstance(tool, pt.ProviderTool)
    assert tool.status == "failed"


def test_calls_are_announced_other_items_are_not() -> None:
    tools = HostedTools()
    assert tools.added(AT, item("shell_call")) == [
        pt.ProviderTool("shell_call", "in_progress", "i", {})
    ]
    assert tools.added(AT, item("shell_call_output")) == []
    assert tools.added(AT, {}) == []


def test_a_custom_tool_is_known_by_its_name() -> None:
    made = HostedTools().added(AT, item("custom_tool_call", name="x_keyword_search"))
    assert made == [pt.ProviderTool("x_keyword_search", "in_progress", "i", {})]


@pytest.mark.parametrize(
    ("event", "item_id"),
    [({"item_id": "e"}, "e"), ({"output_index": 3}, "item_3"), ({}, "item_0")],
)
def test_an_item_without_an_id_is_known_by_its_place(event: dict[str, Any], item_id: str) -> None:
    (tool,) = HostedTools().added(event, {"type": "shell_call"})
    assert isinstance(tool, pt.ProviderTool)
    assert tool.item_id == item_id


def test_a_partial_image_is_a_status_without_its_bytes() -> None:
    event = {**AT, "partial_image_index": 0, "partial_image_b64": "AAAA"}
    assert HostedTools().event("response.image_generation_call.partial_image", event) == [
        pt.ProviderTool("image_generation_call", "partial_image", "i", {"partial_image_index": 0})
    ]


def test_a_generated_image_is_an_artifact() -> None:
    made = item("image_generation_call", result="AAAA", output_format="webp", size="1x1")
    tool, file = HostedTools().done(AT, made)
    assert isinstance(tool, pt.ProviderTool)
    assert "result" not in tool.data
    assert file == pt.Attached(ArtifactData("i", "AAAA", "image/webp", {"size": "1x1"}))


def test_an_image_is_a_png_unless_it_says_otherwise() -> None:
    _, file = HostedTools().done(AT, item("image_generation_call", result="AAAA"))
    assert file == pt.Attached(ArtifactData("i", "AAAA", "image/png", {}))


def test_the_result_of_another_tool_is_no_image() -> None:
    made = item("mcp_call", result="AAAA")
    assert HostedTools().done(AT, made) == [pt.ProviderTool("mcp_call", "completed", "i", made)]


def test_images_of_a_code_interpreter_are_artifacts() -> None:
    logs = {"type": "logs", "logs": "ok"}
    plot = {"type": "image", "url": "data:image/png;base64,AAAA"}
    linked = {"type": "image", "url": "https://x/y.png"}
    made = item("code_interpreter_call", outputs=[logs, plot, linked, None])
    tool, *files = HostedTools().done(AT, made)
    assert isinstance(tool, pt.ProviderTool)
    assert tool.data["outputs"] == [logs, {"type": "image"}, linked, None]
    assert files == [pt.Attached(ArtifactData("i", "AAAA", "image/png", {}))]


def test_research_is_told_step_by_step() -> None:
    tools = HostedTools()
    first = tools.event("response.reasoning.search_queries", {"queries": ["q"], "thought": "t"})
    second = tools.event("response.reasoning.search_queries", {"queries": ["r"]})
    assert first + second == [
        pt.ProviderTool("reasoning", "search_queries", "reasoning_1", {"queries": ["q"]}),
        pt.ProviderTool("reasoning", "search_queries", "reasoning_2", {"queries": ["r"]}),
    ]
