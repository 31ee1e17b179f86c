"""A model name is read in exactly one way, or refused with the key that is wrong."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tellstream.providers.simulator.failure import FAILURES, failure
from tellstream.providers.simulator.keys import BREAKING, CUTS, EXTRA_FRAMES, SCRIPT_KEYS, Fault
from tellstream.providers.simulator.script import (
    ALIASES,
    Script,
    ScriptError,
    UnknownModelError,
    parse_model,
)


@pytest.mark.parametrize("name", ALIASES)
def test_every_alias_is_a_valid_script(name: str) -> None:
    assert isinstance(parse_model(name), Script)


def test_sim_fast_has_no_delay_and_is_what_options_start_from() -> None:
    assert parse_model("sim-fast") == Script()
    assert parse_model("sim:words=3") == Script(words=3)


def test_the_keys_are_the_fields_of_a_script_in_their_order() -> None:
    assert tuple(SCRIPT_KEYS) == Script.__struct_fields__
    assert all(key.help and key.values for key in SCRIPT_KEYS.values())


def test_every_kind_of_value_is_read() -> None:
    script = parse_model(
        "sim:words=5,mark=a.b,seed=7,think=2,tools=3,refusal=1,finish=length,usage=finish,done=0,"
        "head_ms=1,first_ms=2.5,delay_ms=0.125,pings=1,ping_ms=5,chunk=7,drip=1,gzip=1,"
        "status=503,code=overloaded,retry_after=date:4,redirect=1,body=html,fault=eof,at=3,times=2"
    )
    assert (script.words, script.mark, script.finish, script.done) == (5, "a.b", "length", False)
    assert (script.first_ms, script.delay_ms, script.retry_after) == (2.5, 0.125, "date:4")
    assert (script.fault, script.at, script.byte) == (Fault.EOF, 3, None)


def test_literal_text_is_percent_decoded() -> None:
    assert parse_model("sim:text=a%2C%20b%0A%C3%A9=+").text == "a, b\né=+"


def test_faults_are_grouped_by_where_they_happen() -> None:
    assert not CUTS & EXTRA_FRAMES
    assert CUTS < BREAKING


@pytest.mark.parametrize("name", ["", "gpt-5", "si", "simx", "sim-unknown", "SIM", "sims:words=1"])
def test_an_unknown_name_is_not_a_script(name: str) -> None:
    with pytest.raises(UnknownModelError):
        parse_model(name)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("sim:words", "words"),
        ("sim:words=", "words"),
        ("sim:words=x", "words"),
        ("sim:words=-1", "words"),
        ("sim:words=100001", "words"),
        ("sim:words=1_0", "words"),
        ("sim:words=٣", "words"),
        ("sim:words=1,words=1", "words"),
        ("sim:words=1,", ""),
        ("sim:nope=1", "nope"),
        ("sim:echo=2", "echo"),
        ("sim:delay_ms=nan", "delay_ms"),
        ("sim:delay_ms=600001", "delay_ms"),
        ("sim:ping_ms=0", "ping_ms"),
        ("sim:text=%ff", "text"),
        ("sim:finish=done", "finish"),
        ("sim:status=200", "status"),
        ("sim:code=nope", "code"),
        ("sim:retry_after=soon", "retry_after"),
        ("sim:mark=<b>", "mark"),
        ("sim:fault=fire", "fault"),
        ("sim:at=1", "at"),
        ("sim:fault=dupfinish,at=1", "at"),
        ("sim:fault=garble,at=-1", "at"),
        ("sim:fault=end,at=-1", "at"),
        ("sim:fault=eof,at=-2", "at"),
        ("sim:fault=eof,at=1,byte=1", "at"),
        ("sim:fault=garble,byte=1", "byte"),
        ("sim:fault=endless,together=1", "together"),
        ("sim:text=a,words=1", "text"),
        ("sim:text=a,mark=b", "mark"),
        ("sim:echo=1,words=1", "echo"),
        ("sim:stamp=1,mark=a", "stamp"),
        ("sim:stamp=1,gzip=1", "stamp"),
        ("sim:flap=2,times=1", "flap"),
        ("sim:flap=-1", "flap"),
        ("sim-tools:words=1", "sim-tools"),
        ("sim:text=" + "a" * 8_192, "model"),
    ],
)
def test_a_wrong_option_is_refused_with_its_key(name: str, key: str) -> None:
    with pytest.raises(ScriptError) as refused:
        parse_model(name)
    assert refused.value.key == key
    assert str(refused.value).startswith(key)


_options = st.lists(
    st.tuples(
        st.sampled_from([*SCRIPT_KEYS, "", "nope"]), st.text(max_size=5) | st.integers().map(str)
    ).map("=".join)
)


@given(_options.map(lambda options: "sim:" + ",".join(options)) | st.text())
@example("sim:fault=eof,fault=eof")
def test_any_name_is_read_or_refused_and_nothing_else(name: str) -> None:
    try:
        script = parse_model(name)
    except (ScriptError, UnknownModelError):
        return
    assert parse_model(name) == script


@pytest.mark.parametrize(
    ("options", "breaks"),
    [
        ("words=1", False),
        ("fault=garble", False),
        ("fault=afterdone", False),
        ("fault=end", True),
        ("fault=errorafter", True),
        ("status=500", True),
        ("redirect=1", True),
        ("body=html", True),
    ],
)
def test_some_scripts_count_as_failed_and_can_be_healed(options: str, breaks: bool) -> None:
    script = parse_model(f"sim:{options}")
    assert script.breaks is breaks
    assert not script.healed().breaks


@pytest.mark.parametrize(
    ("options", "failing"),
    [
        ("words=1", []),
        ("status=500,times=2", [1, 2]),
        ("flap=1", [1, 2, 3, 4, 5, 6]),
        ("flap=2", [2, 4, 6]),
        ("flap=3,fault=eof", [3, 6]),
        ("flap=0", []),
    ],
)
def test_counted_requests_fail(options: str, failing: list[int]) -> None:
    script = parse_model(f"sim:{options}")
    assert [n for n in range(1, 7) if script.nth(n).breaks] == failing


def test_a_flap_is_503_unless_another_failure_is_given() -> None:
    assert parse_model("sim:flap=1").nth(1).status == 503
    assert parse_model("sim:flap=1,code=overloaded").nth(1).code == "overloaded"
    assert parse_model("sim:flap=1,status=429").nth(1).status == 429
    garbled = parse_model("sim:flap=1,fault=garble").nth(1)
    assert (garbled.status, garbled.fault) == (0, Fault.GARBLE)


def test_a_failure_is_completed_from_its_status_or_its_code() -> None:
    assert failure(429).code == "rate_limit_exceeded"
    assert failure(code="insufficient_quota").status == 429
    assert failure(400, "overloaded").status == 400
    assert failure().status == 500
    assert all(failure(status).message for status in range(400, 600))
    assert all(failure(code=code).code == code for code in FAILURES)
