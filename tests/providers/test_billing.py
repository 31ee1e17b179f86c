"""What is done with a cancelled call."""

import dataclasses

import pytest

from tellstream.providers.billing import SOURCES
from tellstream.providers.hosts import GENERIC, HOSTS


@pytest.mark.parametrize("name", ["gemini", "groq", "mistral", "perplexity"])
def test_a_host_that_bills_the_whole_answer_is_read_to_its_end(name: str) -> None:
    assert HOSTS[name].on_cancel == "drain"


@pytest.mark.parametrize("name", ["anthropic", "openai", "xai", "ollama", "vllm"])
def test_any_other_host_is_cancelled(name: str) -> None:
    assert HOSTS[name].on_cancel == "cancel"


def test_a_host_that_nothing_is_known_of_is_cancelled() -> None:
    assert GENERIC.cancel_stops_billing is None
    assert GENERIC.on_cancel == "cancel"


def test_the_decision_follows_the_row() -> None:
    row = dataclasses.replace(GENERIC, cancel_stops_billing=False)
    assert row.on_cancel == "drain"


def test_every_known_answer_has_its_source_and_no_other_has() -> None:
    known = {name for name, row in HOSTS.items() if row.cancel_stops_billing is not None}
    assert known == set(SOURCES)
