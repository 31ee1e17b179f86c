"""Every rule of security is listed with tests, and each of these tests exists."""

import ast
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from auth.rules import RULES

HERE: Final = Path(__file__).parent


@cache
def functions_of(file: str) -> frozenset[str]:
    tree = ast.parse((HERE / file).read_text("utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, functions))


@pytest.mark.parametrize("rule", RULES)
def test_every_named_test_exists(rule: str) -> None:
    assert RULES[rule]
    for name in RULES[rule]:
        file, _, function = name.partition("::")
        assert function.startswith("test_")
        assert function in functions_of(file), name


@pytest.mark.parametrize(("letter", "count"), [("R", 15), ("A", 18), ("T", 10)])
def test_every_rule_is_listed(letter: str, count: int) -> None:
    listed = {rule.split(" ")[0] for rule in RULES}
    assert {f"{letter}{number}" for number in range(1, count + 1)} <= listed
