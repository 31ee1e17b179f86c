"""What may stand in a log line; each rule is shown to be needed."""

import json
import re
import time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tellstream.core.errors import CODES
from tellstream.telemetry.redaction import (
    MAX_EXCEPTION_BYTES,
    MAX_FIELD_BYTES,
    MAX_HIDDEN,
    NAME_RULES,
    SECRET,
    TEXT_RULES,
    Redactor,
    TextRule,
)

CANARY = "c4n4ry-c4n4ry-c4n4ry"

NAMES = {
    "authorization": ("authorization", "Proxy-Authorization"),
    "cookie": ("cookie", "Set-Cookie", "cookie2"),
    "API key": ("x-api-key", "X-Goog-Api-Key", "api_key", "apikey", "private_key"),
    "code": ("code", "code_verifier", "user_code"),
    "token": ("token", "access_token", "refresh_token_hash", "id_token_hint"),
    "secret": ("secret", "client_secret", "secrets"),
    "password": ("password", "new_password", "passphrase"),
    "credential": ("credential", "provider_credentials", "client_assertion"),
    "asked": ("prompt", "history", "messages", "system", "tools"),
    "answered": ("text", "content", "delta", "arguments", "completion", "body"),
}

TEXTS = {
    "credentials after a scheme": f"sent Bearer {CANARY} to it",
    "JSON Web Token": f"eyJhbGciOiJF.{CANARY}.{CANARY} is not valid",
    "password in an address": f"cannot reach redis://user:{CANARY}@host:6379/0",
    "named value": f'{{"refresh_token": "{CANARY}"}}',
    "value in a query": f"GET /callback?code={CANARY}&state=1",
    "provider key": f"Incorrect API key provided: sk-{CANARY}",
}


def test_every_rule_has_an_example() -> None:
    assert [rule.label for rule in NAME_RULES] == list(NAMES)
    assert [rule.label for rule in TEXT_RULES] == list(TEXTS)


@pytest.mark.parametrize("label", NAMES)
def test_a_name_rule_withholds_and_without_it_the_value_is_shown(label: str) -> None:
    others = [rule for rule in NAME_RULES if rule.label != label]
    for name in NAMES[label]:
        assert CANARY not in str(Redactor().fields({name: CANARY})), name
        assert CANARY in str(Redactor(names=others).fields({name: CANARY})), name


@pytest.mark.parametrize("label", TEXTS)
def test_a_text_rule_withholds_and_without_it_the_value_is_shown(label: str) -> None:
    others = [rule for rule in TEXT_RULES if rule.label != label]
    assert CANARY not in Redactor().text(TEXTS[label])
    assert CANARY in Redactor(texts=others).text(TEXTS[label])


@given(st.text(st.sampled_from("abceyJskxaiAIzaSg_-.019"), max_size=80))
@example("sk-" + "a" * 20)
@example("eyJhbGciOiJF.abc.def")
def test_words_are_judged_as_any_text_is(word: str) -> None:
    unused = TextRule("unused", re.compile("(?!)"), "")
    assert Redactor().text(word) == Redactor(texts=(*TEXT_RULES, unused)).text(word)


@pytest.mark.parametrize(
    "fields",
    [
        {"headers": {"Authorization": CANARY}},
        {"headers": [("authorization", CANARY)]},
        {"headers": [(b"X-Api-Key", CANARY.encode())]},
        {"request": {"a": [{"b": {"client_secret": CANARY}}]}},
        {"deep": {"a": {"b": {"c": {"d": {"e": {"token": CANARY}}}}}}},
        {"raw": f"authorization: {CANARY}".encode()},
        {f"sk-{CANARY}": 1},
        {"error": ValueError(f"password='{CANARY}'")},
    ],
    ids=str,
)
def test_secrets_are_found_inside_of_other_values(fields: dict[str, Any]) -> None:
    assert CANARY not in json.dumps(Redactor().fields(fields))


@pytest.mark.parametrize(
    "fields",
    [
        *({"code": code} for code in CODES),
        {"code": 137},
        {"code": None},
        {"prompt_tokens": 12},
        {"tokens": 12.5},
        {"has_token": True},
        {"stream": "str_01JABCDEFGHJKMNPQRSTVWXYZ0"},
        {"reason": "HTTP 503: overloaded"},
        {"milliseconds": 4},
        {"path": "/v1/streams/str_01JABC/events"},
    ],
    ids=str,
)
def test_what_operators_need_is_shown(fields: dict[str, Any]) -> None:
    assert Redactor().fields(fields) == fields


@pytest.mark.parametrize(
    "fields", [{"code": "123456"}, {"code": 123456}, {"token": 7}, {"prompt_tokens": "a b"}]
)
def test_a_count_must_be_one(fields: dict[str, Any]) -> None:
    assert Redactor().fields(fields) == {next(iter(fields)): SECRET}


def test_known_secrets_are_hidden_wherever_they_stand() -> None:
    redactor = Redactor()
    redactor.hide([CANARY, "short"])
    shown = redactor.fields({"reason": f"you sent {CANARY}!", "event": CANARY, "a": "short"})
    assert shown == {"reason": f"you sent {SECRET}!", "event": SECRET, "a": "short"}


def test_the_newest_known_secrets_are_hidden() -> None:
    redactor = Redactor()
    redactor.hide(f"secret-number-{n:05}" for n in range(MAX_HIDDEN + 1))
    assert SECRET in redactor.text(f"secret-number-{MAX_HIDDEN:05}")
    assert SECRET not in redactor.text("secret-number-00000")


@pytest.mark.parametrize(
    "character", "\r\n\t\0\x1b\x7f\x85\x9b\u2028\u2029\u202e\u2066\ufeff\ud800"
)
def test_control_characters_are_escaped(character: str) -> None:
    shown = Redactor().fields({"event": f"a{character}b", f"n{character}": 1})
    assert character not in "".join(map(str, [*shown, *shown.values()]))
    assert "\\" in str(shown["event"])


def test_a_field_is_cut_at_a_kilobyte() -> None:
    for text in ("a" * 10**6, "ü" * 1000, "\n" * 1000, "\U0001f600" * 400):
        shown = Redactor().text(text)
        assert len(shown.encode()) <= MAX_FIELD_BYTES
        assert shown.endswith("…")
    assert Redactor().text("a" * MAX_FIELD_BYTES) == "a" * MAX_FIELD_BYTES


def test_a_secret_is_not_saved_by_the_cut() -> None:
    for before in range(MAX_FIELD_BYTES - 40, MAX_FIELD_BYTES):
        text = "-" * before + f" sk-{CANARY}"
        assert CANARY[:4] not in Redactor().text(text)


def test_a_traceback_keeps_its_lines_and_its_end() -> None:
    shown = Redactor().exception("first\n" + "x" * 10**5 + f"\nValueError: token={CANARY} \x1b")
    assert len(shown.encode()) <= MAX_EXCEPTION_BYTES + 3
    assert shown.splitlines()[-1] == f"ValueError: token={SECRET} \\u001b"


class Broken:
    def __repr__(self) -> str:
        raise ValueError


def test_nothing_breaks_the_filter() -> None:
    shown = Redactor().fields(
        {"a": Broken(), "b": 2**80, "c": {1: {2}}, "d": list(range(10**4)), "e": b"\xff"}
    )
    assert json.loads(json.dumps(shown)) == shown
    assert shown["a"] == "<a Broken that cannot be shown>"
    assert isinstance(shown["d"], list)
    assert len(shown["d"]) == 50


@pytest.mark.parametrize(
    "unit", ["a", "://", "token", "a-", "eyJ-", "eyJaaaaa.", "bearer ", "token = ", "://@", "sk-"]
)
def test_hostile_text_costs_little(unit: str) -> None:
    text = unit * (10**5 // len(unit))
    started = time.process_time()
    Redactor().text(text)
    assert time.process_time() - started < 1
