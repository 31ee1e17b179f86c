"""How-tos add-a-dialect, add-a-host, choose-an-event-log: excerpts of code and of settings."""

import ast
import inspect
from pathlib import Path
from typing import Final

from structlog.testing import capture_logs

from support.pages import ROOT, block
from support.redis import redis_server
from tellstream.eventlog import redis_setup
from tellstream.eventlog.redis_link import Address
from tellstream.providers import base
from tellstream.providers.hosts import GENERIC, Host

HOWTO: Final = ROOT / "docs/howto"


def members(node: ast.ClassDef) -> list[str]:
    """The members of a class as code, without what they say of themselves."""
    found = []
    for member in node.body:
        if isinstance(member, ast.FunctionDef):
            member.body = [ast.Expr(ast.Constant(...))]
        if not (isinstance(member, ast.Expr) and isinstance(member.value, ast.Constant)):
            found.append(ast.unparse(member))
    return found


def test_the_contract_of_a_dialect_is_the_one_of_the_code() -> None:
    """add-a-dialect"""
    shown = ast.parse(block(HOWTO / "add-a-dialect.md", "python")).body
    for node in shown:
        assert isinstance(node, ast.ClassDef)
        (real,) = ast.parse(inspect.getsource(getattr(base, node.name))).body
        assert isinstance(real, ast.ClassDef)
        assert members(node) == members(real)


def test_the_example_of_a_row_is_a_row() -> None:
    """add-a-host"""
    row = eval(block(HOWTO / "add-a-host.md", "python"), {"Host": Host})
    assert isinstance(row, Host)
    for field in ("token_limit_field", "usage_flag", "reasoning_style", "default_models"):
        assert getattr(row, field) != getattr(GENERIC, field), "it shows only what differs"
    assert row.is_announced({"EXAMPLE_API_KEY": "k"})


async def test_a_redis_with_these_lines_is_accepted(tmp_path: Path) -> None:
    """choose-an-event-log"""
    lines = block(HOWTO / "choose-an-event-log.md", "conf").splitlines()
    pairs = [line.split() for line in lines]
    options = [word for key, value in pairs for word in (f"--{key}", value)]
    with redis_server(tmp_path, *options) as server:
        for key, value in pairs:
            assert value in str(server.ask("CONFIG", "GET", key))
        with capture_logs() as logged:
            await redis_setup.check(Address(server.url))
    assert logged == [], "nothing to warn about"
