"""Usage, sources and endings of a Responses stream."""

from typing import Any

import pytest

from tellstream.core.events import Citation
from tellstream.core.usage import FinishReason, Usage
from tellstream.providers.openai_responses_items import (
    citation_of,
    custom_tools,
    error_of,
    finish_of,
    sources_in,
    usage_from,
)


def counts(taken: int, given: int, *, cached: Any = None, thought: Any = None, **more: Any) -> Any:
    return {
        "input_tokens": taken,
        "input_tokens_details": {"cached_tokens": cached},
        "output_tokens": given,
        "output_tokens_details": {"reasoning_tokens": thought},
        **more,
    }


@pytest.mark.parametrize(
    ("raw", "usage"),
    [
        (counts(10, 5, cached=4, thought=3, total_tokens=15), Usage(10, 5, None, 4, 3)),
        (counts(10, 5), Usage(10, 5)),
        (counts(10, 5, thought=9), Usage(10, 5, None, None, 5)),
        (counts(10, 5, cached=20), Usage(30, 5, None, 20)),
        (counts(10, 5, thought=7, total_tokens=22), Usage(10, 12, None, None, 7)),
        (counts(0, 0, cached=0, thought=0), Usage(0, 0, None, 0, 0)),
        ({"input_tokens": 1}, Usage(1, 0)),
        ({"input_tokens": 2, "input_tokens_details": {"cache_write_tokens": 1}}, Usage(2, 0, 1)),
        ({"input_tokens": -1, "output_tokens": "x"}, None),
        ({}, None),
    ],
)
def test_usage_is_inclusive(raw: dict[str, Any], usage: Usage | None) -> None:
    assert usage_from(raw) == usage


def test_a_cited_page_has_a_title_and_a_place() -> None:
    raw = {"type": "url_citation", "url": "u", "title": "t", "start_index": 0, "end_index": 9}
    assert citation_of(raw) == Citation(
        "url",
        "u",
        source_title="t",
        source_position_type="character",
        source_start_index=0,
        source_end_index=9,
    )


def test_a_place_from_0_to_0_says_nothing() -> None:
    assert citation_of({"url": "u", "start_index": 0, "end_index": 0}) == Citation("url", "u")


def test_a_cited_file_is_a_document() -> None:
    raw = {"type": "file_citation", "file_id": "f", "filename": "a.pdf", "index": 154}
    assert citation_of(raw) == Citation(
        "document",
        "a.pdf",
        source_title="a.pdf",
        additional_content={"file_id": "f", "index": 154},
    )


def test_a_file_without_a_name_is_known_by_its_id() -> None:
    made = citation_of({"type": "file_path", "file_id": "f"})
    assert made == Citation("document", "f", additional_content={"file_id": "f"})


@pytest.mark.parametrize("raw", [None, 1, [], {}, {"url": ""}, {"url": 1, "filename": None}])
def test_what_names_no_source_is_no_citation(raw: Any) -> None:
    assert citation_of(raw) is None


def test_lists_of_sources() -> None:
    found = {"results": [{"url": "a", "title": "A", "snippet": "s"}, 1, {}], "citations": ["b", ""]}
    assert sources_in(found) == [
        Citation("url", "a", source_text="s", source_title="A"),
        Citation("url", "b"),
    ]
    assert sources_in(None) == []


def test_custom_tools_are_those_declared() -> None:
    tools = [{"type": "custom", "name": "sql"}, {"type": "x_search", "name": "x"}, None]
    assert custom_tools({"tools": tools}) == frozenset({"sql"})
    assert custom_tools({"tools": []}) == frozenset()
    assert custom_tools({}) is None
    assert custom_tools(None) is None


@pytest.mark.parametrize(
    ("event", "error"),
    [
        ({"type": "response.failed", "response": {"error": {"code": "c"}}}, {"code": "c"}),
        ({"type": "response.failed", "error": {"code": "c"}}, {"code": "c"}),
        ({"type": "response.failed"}, "the response failed"),
        ({"type": "response.cancelled"}, "the response failed"),
        ({"type": "response.completed", "response": {"status": "failed"}}, "the response failed"),
    ],
)
def test_where_an_error_stands(event: dict[str, Any], error: Any) -> None:
    assert error_of(event) == {"error": error}


def test_an_ending_that_is_no_failure() -> None:
    assert error_of({"type": "response.completed", "response": {"error": None}}) is None


@pytest.mark.parametrize(
    ("kind", "response", "called", "finish"),
    [
        ("completed", {"status": "completed"}, False, "Stop"),
        ("completed", {"status": "completed"}, True, "ToolCalls"),
        ("completed", None, False, "Stop"),
        ("done", {"status": "completed"}, False, "Stop"),
        ("incomplete", {"incomplete_details": {"reason": "max_output_tokens"}}, True, "Length"),
        (
            "incomplete",
            {"incomplete_details": {"reason": "content_filter"}},
            False,
            "ContentFilter",
        ),
        ("incomplete", {"incomplete_details": {"reason": "max_tool_calls"}}, False, "Other"),
        ("incomplete", {}, False, "Other"),
        ("completed", {"status": "incomplete"}, False, "Other"),
        ("completed", {"incomplete_details": {"reason": "max_tokens"}}, False, "Length"),
    ],
)
def test_why_a_response_ended(kind: str, response: Any, called: bool, finish: str) -> None:
    event = {"type": f"response.{kind}", "response": response}
    assert finish_of(event, called=called) == FinishReason(finish)
