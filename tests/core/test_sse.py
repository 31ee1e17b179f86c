"""The decoder of server-sent events: the standard's examples, and the same events however split."""

import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tellstream.core.sse import ServerSentEvent, SseDecoder, SseError


def decode(
    *chunks: bytes, cap: int = 1000, bare: frozenset[bytes] = frozenset()
) -> list[tuple[str, bytes]]:
    """Decode to (event, data) pairs."""
    decoder = SseDecoder(cap, bare)
    return [(one.event, one.data) for chunk in chunks for one in decoder.feed(chunk)]


def datas(*chunks: bytes) -> list[bytes]:
    return [data for _, data in decode(*chunks)]


# --- the examples of the HTML standard, section 9.2.6 ---------------------------------------------


def test_the_example_of_a_stock_ticker() -> None:
    assert datas(b"data: YHOO\ndata: +2\ndata: 10\n\n") == [b"YHOO\n+2\n10"]


def test_the_example_with_comment_ids_and_an_unfinished_event() -> None:
    raw = (
        b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event"
    )
    decoder = SseDecoder()
    assert decoder.feed(raw + b"\n\n") == [
        ServerSentEvent("message", b"first event", "1"),
        ServerSentEvent("message", b"second event", ""),
        ServerSentEvent("message", b" third event", ""),
    ]
    assert datas(raw) == [b"first event", b"second event"]


def test_the_example_of_two_nearly_empty_events() -> None:
    # The third block is discarded: its blank line never comes.
    assert datas(b"data\n\ndata\ndata\n\ndata:") == [b"", b"\n"]


def test_the_example_of_an_optional_space() -> None:
    assert datas(b"data:test\n\ndata: test\n\n") == [b"test", b"test"]


def test_the_example_of_named_events() -> None:
    raw = b"event: add\ndata: 73857293\n\nevent: remove\ndata: 2153\n\nevent: add\ndata: 113411\n\n"
    assert decode(raw) == [("add", b"73857293"), ("remove", b"2153"), ("add", b"113411")]


# --- lines ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_all_three_line_ends_count(end: bytes) -> None:
    assert decode(end.join([b"event: a", b"data: 1", b"data: 2", b"", b""])) == [("a", b"1\n2")]


def test_line_ends_may_be_mixed() -> None:
    assert datas(b"data: 1\rdata: 2\r\ndata: 3\n\r\n") == [b"1\n2\n3"]


def test_a_carriage_return_dispatches_without_waiting_for_its_line_feed() -> None:
    decoder = SseDecoder()
    assert [one.data for one in decoder.feed(b"data: 1\r\r")] == [b"1"]
    assert decoder.feed(b"\n") == []
    assert [one.data for one in decoder.feed(b"data: 2\n\n")] == [b"2"]


def test_an_empty_chunk_between_the_two_halves_of_a_line_end_changes_nothing() -> None:
    assert datas(b"data: 1\r", b"", b"\ndata: 2\r\n\r\n") == [b"1\n2"]


@pytest.mark.parametrize("character", ["\u0085", "\u2028", "\u2029", "\x0b", "\x0c", "\x1e", "\0"])
def test_nothing_else_ends_a_line(character: str) -> None:
    assert datas(f"data: a{character}b\n\n".encode()) == [f"a{character}b".encode()]


def test_a_character_cut_between_two_reads_is_whole() -> None:
    raw = "data: 😀\n\n".encode()
    assert datas(raw[:8], raw[8:]) == ["😀".encode()]


def test_data_is_given_out_undecoded() -> None:
    assert datas(b"data: \xff\xc3\n\n") == [b"\xff\xc3"]


# --- byte order mark -----------------------------------------------------------------------------

BOM = b"\xef\xbb\xbf"


@pytest.mark.parametrize("cut", range(5))
def test_one_leading_byte_order_mark_is_dropped(cut: int) -> None:
    raw = BOM + b"data: 1\n\n"
    assert datas(raw[:cut], b"", raw[cut:]) == [b"1"]


def test_a_second_byte_order_mark_is_part_of_the_field_name() -> None:
    assert datas(BOM + BOM + b"data: 1\n\ndata: 2\n\n") == [b"2"]


def test_a_byte_order_mark_later_is_data() -> None:
    assert datas(b"data: " + BOM + b"\n\n", BOM + b"data: 1\n\ndata: 2\n\n") == [BOM, b"2"]


@pytest.mark.parametrize("start", [b"\xef", b"\xef\xbb", b"\xef\xbb\xbe"])
def test_the_beginning_of_a_byte_order_mark_is_no_byte_order_mark(start: bytes) -> None:
    assert datas(start, b"\n\ndata: 1\n\n") == [b"1"]


# --- fields --------------------------------------------------------------------------------------


def test_only_one_space_of_a_value_is_dropped() -> None:
    assert datas(b"data:  a \n\ndata:\tb\n\n") == [b" a ", b"\tb"]


def test_a_value_may_hold_colons() -> None:
    assert datas(b"data: a: b:c\n\n") == [b"a: b:c"]


def test_comments_and_unknown_fields_are_ignored() -> None:
    raw = b":\n: OPENROUTER PROCESSING\n:data: no\nfoo: 1\nfoo\ndata : no\nDATA: no\n data: no\n\n"
    assert decode(raw + b"data: 1\n\n") == [("message", b"1")]


def test_an_event_without_data_is_not_dispatched_and_forgets_its_type() -> None:
    assert decode(b"event: a\n\ndata: 1\n\n") == [("message", b"1")]


@pytest.mark.parametrize("line", [b"event", b"event:", b"event: "])
def test_an_empty_type_is_message(line: bytes) -> None:
    assert decode(b"event: a\n" + line + b"\ndata: 1\n\n") == [("message", b"1")]


def test_the_last_of_several_types_counts() -> None:
    assert decode(b"event: a\nevent: b\ndata: 1\n\n") == [("b", b"1")]


def test_a_type_is_decoded_leniently() -> None:
    assert decode(b"event: \xff\ndata: 1\n\n") == [("\ufffd", b"1")]


def ids(raw: bytes) -> list[str]:
    return [one.id for one in SseDecoder().feed(raw)]


def test_an_id_stays_until_another_one_comes() -> None:
    assert ids(b"data: 1\n\nid: 7\ndata: 2\n\ndata: 3\n\nid: 8\n\ndata: 4\n\n") == [
        "",
        "7",
        "7",
        "8",
    ]


def test_an_empty_id_resets() -> None:
    assert ids(b"id: 7\ndata: 1\n\nid:\ndata: 2\n\n") == ["7", ""]


def test_an_id_with_nul_is_ignored() -> None:
    assert ids(b"id: 7\ndata: 1\n\nid: 8\0\ndata: 2\n\n") == ["7", "7"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"3000", 3000),
        (b"0", 0),
        (b"007", 7),
        (b"", None),
        (b"1.5", None),
        (b"-1", None),
        (b"+1", None),
        (b" 1", None),
        (b"1s", None),
        ("\u0663".encode(), None),  # a digit, but not an ASCII one
    ],
)
def test_a_reconnection_time_is_ascii_digits(value: bytes, expected: int | None) -> None:
    decoder = SseDecoder()
    assert decoder.feed(b"retry: " + value + b"\n\n") == []
    assert decoder.retry_ms == expected


def test_an_absurd_reconnection_time_is_read_without_harm() -> None:
    decoder = SseDecoder()
    decoder.feed(b"retry: " + b"9" * 5000 + b"\n")
    assert decoder.retry_ms is not None
    assert decoder.retry_ms >= 10**9


# --- bare fields ---------------------------------------------------------------------------------

ERRORS = frozenset({b"error"})


def test_a_bare_field_is_an_event_at_once() -> None:
    assert decode(b"error: {}\n", bare=ERRORS) == [("error", b"{}")]


def test_a_bare_field_does_not_disturb_the_event_around_it() -> None:
    raw = b"event: a\ndata: 1\nerror: x\ndata: 2\n\n"
    assert decode(raw, bare=ERRORS) == [("error", b"x"), ("a", b"1\n2")]


def test_a_bare_field_that_nobody_asked_for_is_ignored() -> None:
    assert decode(b"error: x\n\ndata: 1\n\n") == [("message", b"1")]


# --- caps ----------------------------------------------------------------------------------------


def overflow(*chunks: bytes, cap: int) -> tuple[list[bytes], str | None]:
    """The data decoded, and the error if a cap was exceeded."""
    decoder = SseDecoder(cap)
    found: list[bytes] = []
    for chunk in chunks:
        try:
            found += [one.data for one in decoder.feed(chunk)]
        except SseError as error:
            found += [one.data for one in error.events]
            return found, str(error)
    return found, None


def test_an_event_may_be_as_large_as_the_cap() -> None:
    assert overflow(b"data:12345\n\n", cap=10) == ([b"12345"], None)
    assert overflow(b"data:12345\ndata:6789\n\n", cap=10) == ([b"12345\n6789"], None)


def test_an_event_of_several_lines_may_not_be_larger() -> None:
    _, error = overflow(b"data:12345\ndata:67890\n\n", cap=10)
    assert error == "one event exceeds the size cap"


@pytest.mark.parametrize("line", [b"data:1234567", b": 123456789", b"event: 1234", b"unknown1234"])
@pytest.mark.parametrize("end", [b"\n", b""])
def test_no_line_may_be_larger_than_the_cap(line: bytes, end: bytes) -> None:
    assert overflow(line + end, cap=10) == ([], "one line exceeds the size cap")


def test_a_line_that_arrives_byte_by_byte_is_refused_as_soon_as_it_is_too_long() -> None:
    decoder = SseDecoder(10)
    for _ in range(10):
        decoder.feed(b"x")
    with pytest.raises(SseError):
        decoder.feed(b"x")


@pytest.mark.parametrize("line", [b"data\n", b"data:\n", b"data: \n"])
def test_endless_empty_lines_of_data_are_refused_too(line: bytes) -> None:
    _, error = overflow(line * 12, cap=10)
    assert error == "one event exceeds the size cap"


def test_the_size_of_one_event_does_not_count_for_the_next() -> None:
    assert overflow(b"data:12345\n\n" * 50, cap=10) == ([b"12345"] * 50, None)


def test_an_overflow_gives_out_what_was_decoded_before_it() -> None:
    found, error = overflow(b"data: 1\n\n:" + b"x" * 20 + b"\n", cap=10)
    assert (found, error) == ([b"1"], "one line exceeds the size cap")


# --- any split -----------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [
        *(b"data", b"data:", b"data: ", b"event: a", b"event", b"id: 1", b"id", b"retry: 1"),
        *(b"error: x", b":", b"\n", b"\r", b"\r\n", b"\n\n", b"\0", b" ", b"x", BOM, b"\xff"),
        *(b"\xef", "é".encode()),
    ]
)
STREAMS = st.lists(PIECES | st.binary(max_size=4), max_size=25).map(b"".join)
CUTS = st.lists(st.integers(min_value=0, max_value=80), max_size=12)


def outcome(chunks: list[bytes], cap: int) -> tuple[list[ServerSentEvent], bool, int | None]:
    decoder = SseDecoder(cap, ERRORS)
    found: list[ServerSentEvent] = []
    for chunk in chunks:
        try:
            found += decoder.feed(chunk)
        except SseError as error:
            return found + error.events, True, decoder.retry_ms
    return found, False, decoder.retry_ms


@settings(max_examples=300, deadline=None)
@given(STREAMS, CUTS, st.sampled_from([8, 12, 1000]))
@example(b"data: 1\r\ndata: 2\r\n\r\n", [8, 8, 17], 1000)
def test_any_split_of_any_bytes_gives_the_same_events(
    raw: bytes, cuts: list[int], cap: int
) -> None:
    edges = [0, *sorted(cuts), len(raw)]
    chunks = [raw[start:stop] for start, stop in itertools.pairwise(edges)]
    whole = outcome([raw], cap)
    assert outcome(chunks, cap) == whole
    assert outcome([raw[i : i + 1] for i in range(len(raw))], cap) == whole


def reference(raw: bytes) -> list[tuple[str, bytes, str]]:
    """Interpret a whole stream in the words of the standard, on text (Latin-1 keeps every byte)."""
    text = raw.removeprefix(BOM).decode("latin-1").replace("\r\n", "\n").replace("\r", "\n")
    found, data, event, last_id = [], "", "", ""
    for line in text.split("\n")[:-1]:
        if line == "":
            if data:
                found.append((event or "message", data[:-1].encode("latin-1"), last_id))
            data = event = ""
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            data += value + "\n"
        elif name == "event":
            event = value
        elif name == "id" and "\0" not in value:
            last_id = value
    return [
        (
            e.encode("latin-1").decode("utf-8", "replace"),
            d,
            i.encode("latin-1").decode("utf-8", "replace"),
        )
        for e, d, i in found
    ]


@settings(max_examples=300, deadline=None)
@given(STREAMS)
def test_the_events_are_those_of_the_standards_algorithm(raw: bytes) -> None:
    found = [(one.event, one.data, one.id) for one in SseDecoder().feed(raw)]
    assert found == reference(raw)
