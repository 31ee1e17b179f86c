"""Usage as CSV: the rows of the JSON, readable by any CSV reader, harmless in a spreadsheet."""

import csv
import io
import json
from datetime import date
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest

from server.conftest import tables
from support.chat import ask
from support.replay import ReplayProvider
from support.server import Running, tellstream
from tellstream.core.errors import RequestError
from tellstream.providers.simulator import Simulator
from tellstream.server import usage_csv
from tellstream.server.usage import parse
from tellstream.server.usage_rows import columns, flat
from tellstream.storage.base import By

PRICES = {"input": "2.5", "output": 10}


def read(body: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(body.decode(), newline="")))


# --- the table ------------------------------------------------------------------------------------


def test_lines_end_as_the_format_says_and_null_is_empty() -> None:
    body = usage_csv.table(["model", "n"], [{"model": "a", "n": None}, {"n": 3, "model": "b"}])
    assert body == b"model,n\r\na,\r\nb,3\r\n"


@pytest.mark.parametrize("name", ['a,"b"', "two\nlines", "Zoë 🙂", " spaced ", "a'b", ""])
def test_every_name_is_read_back(name: str) -> None:
    (row,) = read(usage_csv.table(["subject"], [{"subject": name}, {"subject": "x"}]))[:1]
    assert row == {"subject": name}


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_a_name_is_never_a_formula(name: str) -> None:
    (row,) = read(usage_csv.table(["subject"], [{"subject": name}]))
    assert row == {"subject": f"'{name}"}


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ([], False),
        (["*/*"], False),
        (["application/json"], False),
        (["text/csv"], True),
        (["TEXT/CSV; q=0.5"], True),
        (["text/csv, application/json"], False),
        (["text/csv, application/json;q=0.9"], True),
        (["text/csv;q=0.8, application/json;q=0.9"], False),
        (["application/json;q=0.1", "text/csv;q=0.2"], True),
        (["text/csv;q=0"], False),
        (["text/csv;q=nan"], False),
        (["text/csv;q=,"], False),
        (["text/*"], False),
    ],
)
def test_only_who_asks_for_it_gets_it(accept: list[str], wanted: bool) -> None:
    assert usage_csv.prefers([(b"accept", each.encode()) for each in accept]) is wanted


@pytest.mark.parametrize("form", ["xml", "", "CSV", "csv,json"])
def test_another_format_is_refused(form: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse(f"format={form}".encode(), date(2026, 4, 22))
    assert dict(caught.value.details) == {"format": "must be json or csv"}


# --- over HTTP ------------------------------------------------------------------------------------


async def fetch(
    server: Running, query: str, **headers: str
) -> tuple[bytes, "aiohttp.ClientResponse"]:
    async with (
        aiohttp.ClientSession(headers=server.headers(scope="usage")) as session,
        session.get(f"{server.url}/v1/usage?{query}", headers=headers) as response,
    ):
        return await response.read(), response


def as_text(row: dict[str, Any]) -> dict[str, str]:
    return {name: "" if value is None else str(value) for name, value in row.items()}


@pytest.mark.parametrize("by", ["day", "model", "client", "subject", "stream"])
async def test_it_has_the_rows_and_columns_of_the_json_page_by_page(
    tmp_path: Path, simulator: Simulator, replay: ReplayProvider, by: str
) -> None:
    models = {
        name: {"targets": ["sim/sim:words=5,cached=1"], "price": PRICES}
        for name in ("=one", "two", "three")
    } | {"free": {"targets": ["sim/sim:words=5,usage=none"]}}
    tenants = {"1": {"model": "two"}}
    changes = tables(simulator, replay, models=models, tenants=tenants)
    async with tellstream(tmp_path, **changes) as server:
        for model in models:
            assert (await ask(server, {"prompt": "hello you", "model": model})).status == 200
        body, whole = await fetch(server, f"by={by}", Accept="text/csv")
        assert whole.headers["Content-Type"] == "text/csv; charset=utf-8; header=present"
        assert whole.headers["Content-Disposition"] == 'attachment; filename="usage.csv"'
        assert whole.headers["Cache-Control"] == "no-store"
        assert whole.headers["Vary"] == "Accept"
        assert "X-RateLimit-Limit" in whole.headers
        assert "Link" not in whole.headers
        body, _ = await fetch(server, f"by={by}")
        expected = json.loads(body)["data"]
        assert expected
        for row in expected:
            if row[by].startswith("="):
                row[by] = "'" + row[by]
        paged: list[dict[str, str]] = []
        url: Any = None
        body, page = await fetch(server, f"by={by}&limit=2&format=csv", Accept="application/json")
        while True:
            rows = read(body)
            assert len(rows) <= 2
            assert list(rows[0]) == columns(cast(By, by))
            paged += rows
            if "next" not in page.links:
                break
            url = page.links["next"]["url"]
            assert url.path == "/v1/usage"
            body, page = await fetch(server, url.raw_query_string)
        assert paged == [as_text(flat(row)) for row in expected]
        assert {row["cost"] for row in paged} - {""}


async def test_a_refusal_is_json_whatever_was_asked_for(server: Running) -> None:
    body, response = await fetch(server, "by=nothing", Accept="text/csv")
    assert response.status == 422
    assert json.loads(body)["error"] == "validation_error"
