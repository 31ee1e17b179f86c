"""The order of events: every pair of the table, ids, endings, and an independent oracle."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tellstream.core import events as ev
from tellstream.core.errors import GrammarError
from tellstream.core.grammar import FAILURE, TABLE, Grammar, State, check
from tellstream.core.usage import FinishReason, Usage

H = ("evt_0", 1)
CALL = ev.ToolCall(*H, "call", "f", {}, "m")
RESULT = ev.ToolResult(*H, "call", 1, None, "m", True)
FILE = ev.ArtifactData(None, "", "image/png", {})


def end(reason: FinishReason) -> ev.Event:
    return ev.StreamEnd(*H, reason, Usage())


SYMBOLS: dict[str, ev.Event] = {
    "stream_start": ev.StreamStart(*H, "m", "p"),
    "step_start": ev.StepStart(*H),
    "text_start": ev.TextStart(*H, "m"),
    "text_delta": ev.TextDelta(*H, "x", "m"),
    "text_complete": ev.TextComplete(*H, "m"),
    "thinking_start": ev.ThinkingStart(*H, "r"),
    "thinking_delta": ev.ThinkingDelta(*H, "x", "r"),
    "thinking_complete": ev.ThinkingComplete(*H, "r"),
    "tool_call_delta": ev.ToolCallDelta(*H, "call", "f", "{", "m"),
    "tool_call": CALL,
    "tool_result": RESULT,
    "artifact": ev.Artifact(*H, "call", "f", "m", FILE),
    "provider_tool_event": ev.ProviderToolEvent(*H, "t", "k", "w", "s", "i", {}),
    "citation": ev.CitationEvent(*H, ev.Citation("url", "u"), "m"),
    "error": ev.Error(*H, "e", "m", True),
    FAILURE: ev.Error(*H, "e", "m", False),
    "step_finish": ev.StepFinish(*H),
    "stream_end": end(FinishReason.STOP),
}

# One way into each state. A call is known wherever a result could follow.
STARTED = ["stream_start"]
STEP = [*STARTED, "step_start", "tool_call"]
WAYS: dict[State, list[str]] = {
    State.NEW: [],
    State.STARTED: STARTED,
    State.STEP: STEP,
    State.TEXT: [*STEP, "text_start"],
    State.THINKING: [*STEP, "thinking_start"],
    State.RESULTS: [*STEP, "tool_result"],
    State.BETWEEN: [*STEP, "step_finish"],
    State.FAILED_TEXT: [*STEP, "text_start", FAILURE],
    State.FAILED_THINKING: [*STEP, "thinking_start", FAILURE],
    State.FAILED_STEP: [*STEP, FAILURE],
    State.FAILED: [*STARTED, FAILURE],
    State.ENDED: [*STEP, "step_finish", "stream_end"],
}

# native-events.md section 4, written out again by hand. ``stream_end`` stands where some reason is
# legal; which one is tested below.
ALLOWED: dict[State, set[str]] = {
    State.NEW: {"stream_start"},
    State.STARTED: {"step_start", "error", FAILURE, "stream_end"},
    State.STEP: {
        *("text_start", "thinking_start", "tool_call_delta", "tool_call", "provider_tool_event"),
        *("citation", "artifact", "error", "tool_result", "step_finish", FAILURE),
    },
    State.TEXT: {"text_delta", "citation", "text_complete", FAILURE},
    State.THINKING: {"thinking_delta", "thinking_complete", FAILURE},
    State.RESULTS: {"tool_result", "artifact", "step_finish", FAILURE},
    State.BETWEEN: {"step_start", "error", FAILURE, "stream_end"},
    State.FAILED_TEXT: {"text_complete"},
    State.FAILED_THINKING: {"thinking_complete"},
    State.FAILED_STEP: {"step_finish"},
    State.FAILED: {"stream_end"},
    State.ENDED: set(),
}
LEGAL_END = {
    State.STARTED: FinishReason.CANCELLED,
    State.BETWEEN: FinishReason.STOP,
    State.FAILED: FinishReason.ERROR,
}


def walked(symbols: list[str]) -> Grammar:
    grammar = Grammar()
    for symbol in symbols:
        grammar.feed(SYMBOLS[symbol])
    return grammar


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("symbol", SYMBOLS)
def test_each_event_is_accepted_or_refused_in_each_state_as_the_table_says(
    state: State, symbol: str
) -> None:
    grammar = walked(WAYS[state])
    assert grammar.state is state
    event = SYMBOLS[symbol]
    if symbol == "stream_end":
        event = end(LEGAL_END.get(state, FinishReason.STOP))
    if symbol in ALLOWED[state]:
        grammar.feed(event)
        assert grammar.state is TABLE[state][symbol]
    else:
        with pytest.raises(GrammarError, match=f"{symbol} in state {state}"):
            grammar.feed(event)
        assert grammar.state is state


def test_the_table_speaks_of_every_state_and_every_event_type() -> None:
    assert set(TABLE) == set(State)
    assert {symbol for row in TABLE.values() for symbol in row} == {*ev.EVENT_TYPES, FAILURE}


def test_every_state_can_reach_the_end() -> None:
    reaching = {State.ENDED}
    for _ in State:
        reaching |= {state for state, row in TABLE.items() if reaching & set(row.values())}
    assert reaching == set(State)


# --- ids -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "event"),
    [
        (State.TEXT, ev.TextDelta(*H, "x", "other")),
        (State.TEXT, ev.TextComplete(*H, "other")),
        (State.TEXT, ev.CitationEvent(*H, ev.Citation("url", "u"), "other")),
        (State.THINKING, ev.ThinkingDelta(*H, "x", "other")),
        (State.THINKING, ev.ThinkingComplete(*H, "other")),
        (State.FAILED_TEXT, ev.TextComplete(*H, "other")),
        (State.FAILED_THINKING, ev.ThinkingComplete(*H, "other")),
        (State.STEP, ev.ToolResult(*H, "other", 1, None, "m", True)),
        (State.RESULTS, ev.ToolResult(*H, "other", 1, None, "m", True)),
        (State.STEP, ev.TextStart(*H, "")),
        (State.STEP, ev.ThinkingStart(*H, "")),
    ],
    ids=lambda value: value.type if isinstance(value, ev.Event) else str(value),
)
def test_an_id_that_does_not_fit_is_refused_and_changes_nothing(
    state: State, event: ev.Event
) -> None:
    grammar = walked(WAYS[state])
    with pytest.raises(GrammarError):
        grammar.feed(event)
    assert grammar.state is state


def test_a_refused_event_can_be_followed_by_the_right_one() -> None:
    grammar = walked(WAYS[State.TEXT])
    with pytest.raises(GrammarError):
        grammar.feed(ev.TextDelta(*H, "x", "other"))
    grammar.feed(SYMBOLS["text_delta"])
    grammar.feed(SYMBOLS["text_complete"])
    assert grammar.state is State.STEP


def test_the_id_of_a_closed_part_is_not_that_of_the_next() -> None:
    grammar = walked([*WAYS[State.TEXT], "text_complete"])
    grammar.feed(ev.TextStart(*H, "second"))
    with pytest.raises(GrammarError):
        grammar.feed(SYMBOLS["text_delta"])


def test_a_citation_outside_a_text_block_may_name_any_block() -> None:
    grammar = walked(WAYS[State.STEP])
    grammar.feed(ev.CitationEvent(*H, ev.Citation("url", "u"), "earlier"))


def test_a_result_of_a_call_of_an_earlier_step_is_known() -> None:
    check(
        [SYMBOLS[s] for s in [*STEP, "step_finish", "step_start", "tool_result", "step_finish"]]
        + [end(FinishReason.STOP)]
    )


# --- endings -------------------------------------------------------------------------------------

WELL = [reason for reason in FinishReason if reason is not FinishReason.ERROR]


@pytest.mark.parametrize("reason", WELL)
def test_a_stream_without_a_failure_ends_with_any_reason_but_error(reason: FinishReason) -> None:
    walked(WAYS[State.BETWEEN]).feed(end(reason))


def test_error_as_a_reason_needs_a_failure() -> None:
    with pytest.raises(GrammarError, match="does not fit"):
        walked(WAYS[State.BETWEEN]).feed(end(FinishReason.ERROR))


def test_an_advisory_error_is_not_a_failure() -> None:
    with pytest.raises(GrammarError, match="does not fit"):
        walked([*WAYS[State.STEP], "error", "step_finish"]).feed(end(FinishReason.ERROR))


@pytest.mark.parametrize("reason", WELL)
def test_after_a_failure_the_only_reason_is_error(reason: FinishReason) -> None:
    with pytest.raises(GrammarError, match="does not fit"):
        walked(WAYS[State.FAILED]).feed(end(reason))


@pytest.mark.parametrize("reason", [r for r in WELL if r is not FinishReason.CANCELLED])
def test_without_a_step_only_a_cancel_ends_well(reason: FinishReason) -> None:
    with pytest.raises(GrammarError, match="without a step"):
        walked(WAYS[State.STARTED]).feed(end(reason))


@pytest.mark.parametrize("state", [s for s in State if s is not State.ENDED])
def test_a_stream_that_stops_anywhere_before_its_end_is_incomplete(state: State) -> None:
    with pytest.raises(GrammarError, match="stops in state"):
        check([SYMBOLS[symbol] for symbol in WAYS[state]])


def test_the_plain_answer_is_grammatical() -> None:
    plain = "stream_start step_start text_start text_delta text_delta text_complete step_finish"
    check([*(SYMBOLS[symbol] for symbol in plain.split()), end(FinishReason.STOP)])


# --- an oracle that shares nothing with the table -------------------------------------------------

# One letter per event; the last three are stream_end with its reason.
LETTER_SYMBOLS = {
    "S": "stream_start",
    "(": "step_start",
    ")": "step_finish",
    "<": "text_start",
    "t": "text_delta",
    ">": "text_complete",
    "{": "thinking_start",
    "h": "thinking_delta",
    "}": "thinking_complete",
    "d": "tool_call_delta",
    "c": "tool_call",
    "r": "tool_result",
    "a": "artifact",
    "p": "provider_tool_event",
    "q": "citation",
    "e": "error",
    "F": FAILURE,
}
LETTERS: dict[str, ev.Event] = {
    **{letter: SYMBOLS[symbol] for letter, symbol in LETTER_SYMBOLS.items()},
    "E": end(FinishReason.ERROR),
    "K": end(FinishReason.CANCELLED),
    "X": end(FinishReason.LENGTH),
}
# The EBNF of native-events.md section 4, with artifacts as parts, advisory errors between steps,
# and a cancelled stream that may have no step.
PARTS = r"(?:<[tq]*>|\{h*\}|[dcpqea])*"
RESULTS = r"(?:r[ra]*)?"
HEAD = rf"Se*(?:\({PARTS}{RESULTS}\)e*)*"
WELL_ENDED = rf"Se*(?:\({PARTS}{RESULTS}\)e*)+[KX]"
UNBEGUN = r"Se*K"
ABORT = rf"{HEAD}(?:F|\({PARTS}(?:{RESULTS}F|<[tq]*F>|\{{h*F\}})\))E"
STREAM = rf"(?:{WELL_ENDED}|{UNBEGUN}|{ABORT})"


def oracle(word: str) -> bool:
    known = "r" not in word or "c" in word[: word.index("r")]
    return known and re.fullmatch(STREAM, word) is not None


def grammatical(word: str) -> bool:
    try:
        check([LETTERS[letter] for letter in word])
    except GrammarError:
        return False
    return True


ANY_LETTER = st.sampled_from(sorted(LETTERS))


TAILS = ["", "X", ")X", ">)X", "})X", "K", ")K", ">)K", "FE", "F)E", "F>)E", "F})E"]


@st.composite
def nearly_grammatical(draw: st.DrawFn) -> str:
    """A walk over the table that now and then takes a step it does not have, and an ending."""
    word, state = "S", State.STARTED
    for choice in draw(st.lists(st.integers(min_value=0, max_value=9999), max_size=14)):
        legal = [letter for letter, symbol in LETTER_SYMBOLS.items() if symbol in ALLOWED[state]]
        pool = list(LETTERS) if choice >= 9500 or not legal else legal
        letter = pool[choice % len(pool)]
        word += letter
        state = TABLE[state].get(LETTER_SYMBOLS.get(letter, "stream_end"), state)
    return word + draw(st.sampled_from(TAILS))


@settings(max_examples=300, deadline=None)
@given(nearly_grammatical())
def test_the_table_agrees_with_the_grammar_of_the_reference(word: str) -> None:
    assert grammatical(word) is oracle(word)


@settings(max_examples=300, deadline=None)
@given(st.lists(ANY_LETTER, max_size=12).map(lambda letters: "S(" + "".join(letters)))
def test_the_table_agrees_with_the_reference_on_noise(word: str) -> None:
    assert grammatical(word) is oracle(word)


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_the_table_agrees_with_the_reference_on_every_short_word(length: int) -> None:
    words = [""]
    for _ in range(length):
        words = [
            word + letter for word in words for letter in LETTERS if not word or word[0] == "S"
        ]
    assert [word for word in words if grammatical(word)] == [word for word in words if oracle(word)]


GOOD = (
    "S(<ttq>)X S({h}<t>)K SK SeK S(dcddc)X S(cra)X S(cr)(<t>)X SFE S(F)E S(<tF>)E S({F})E S(crF)E"
)
BAD = "S SX SE S()E S(<t)X S(<t{ S(r)X S(cr<>)X S(F)X SF)E S(<F)E S()FX (<t>)X S<t>X"


def test_the_oracle_knows_words_of_each_kind() -> None:
    assert [word for word in GOOD.split() if not oracle(word)] == []
    assert [word for word in BAD.split() if oracle(word)] == []
