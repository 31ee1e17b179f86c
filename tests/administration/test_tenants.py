"""Acts on tenants, on every database."""

import asyncio
from typing import Any

import pytest

from support.administration import OPERATOR, AdminServer, administrator
from support.homes import Home
from tellstream.core.errors import RequestError, ServerError


async def refused(work: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        await work
    return caught.value


def counter(home: Home) -> int:
    return int(home.ask("SELECT counter FROM changes")[0][0])


async def test_a_tenant_is_made_shown_changed_and_listed(admin: AdminServer, home: Home) -> None:
    tenants, before = admin.acts.tenants, counter(home)
    values = {"name": "Acme", "limits": {"concurrent_streams": 5, "budget_per_month": 12.5}}
    made = await tenants.create(OPERATOR, 2, values)
    assert (made.models, made.model, made.shadowed_by_file) == (["*"], None, False)
    assert made.limits == {"concurrent_streams": 5, "budget_per_month": "12.5"}
    changes = {"model": "fast", "models": ["fast*"], "limits": {"concurrent_streams": None}}
    changed = await tenants.update(OPERATOR, 2, changes)
    assert (changed.name, changed.model, changed.models) == ("Acme", "fast", ["fast*"])
    assert changed.limits == {"budget_per_month": "12.5"}
    assert await tenants.get(OPERATOR, 2) == changed
    await tenants.create(OPERATOR, 2**63 - 1, {})
    assert [t.id for t in (await tenants.list(OPERATOR, 0, 10))[0]] == [2, 2**63 - 1]
    page, more = await tenants.list(OPERATOR, 0, 1)
    assert ([t.id for t in page], more) == ([2], 2)
    assert (await tenants.list(OPERATOR, 2, 1))[1] is None
    assert counter(home) == before + 3


async def test_null_gives_the_default_back(admin: AdminServer) -> None:
    values = {"name": "A", "system": "Be brief.", "limits": {"prompt_chars": 9}}
    await admin.acts.tenants.create(OPERATOR, 2, values)
    changes = {"name": None, "system": None, "limits": None}
    changed = await admin.acts.tenants.update(OPERATOR, 2, changes)
    assert (changed.name, changed.system, changed.limits) == ("", None, {})


async def test_a_number_is_given_once(admin: AdminServer, home: Home) -> None:
    create = admin.acts.tenants.create
    made = await asyncio.gather(
        *(create(OPERATOR, 2, {"name": str(n)}) for n in range(5)), return_exceptions=True
    )
    errors = [one for one in made if isinstance(one, RequestError)]
    assert [error.code for error in errors] == ["conflict"] * 4
    assert home.ask("SELECT count(*) FROM tenants") == [(1,)]
    acts = home.ask("SELECT act FROM audit_events")
    assert acts == [("tenant.created",)]


async def test_changes_at_once_do_not_undo_each_other(admin: AdminServer) -> None:
    await admin.acts.tenants.create(OPERATOR, 2, {})
    changes: list[dict[str, Any]] = [
        {"system": "s"}, {"name": "n"}, {"limits": {"prompt_chars": 5}},
    ]  # fmt: skip
    await asyncio.gather(*(admin.acts.tenants.update(OPERATOR, 2, one) for one in changes))
    found = await admin.acts.tenants.get(OPERATOR, 2)
    assert (found.system, found.name, found.limits) == ("s", "n", {"prompt_chars": 5})


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"nope": 1}, "body"),
        ({"limits": {"nope": 1}}, "limits"),
        ({"limits": {"prompt_chars": 0}}, "limits.prompt_chars"),
        ({"limits": {"prompt_chars": "5"}}, "limits.prompt_chars"),
        ({"limits": {"budget_per_month": -1}}, "limits.budget_per_month"),
        ({"limits": []}, "limits"),
        ({"models": []}, "models"),
        ({"models": ["none-*"]}, "models"),
        ({"models": ["x"] * 101}, "models"),
        ({"models": ["x" * 257]}, "models"),
        ({"model": "plain", "models": ["fast"]}, "model"),
        ({"name": "x" * 101}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"system": 5}, "system"),
    ],
    ids=str,
)
async def test_a_tenant_is_checked_like_one_of_the_file(
    simple: AdminServer, values: dict[str, Any], field: str
) -> None:
    error = await refused(simple.acts.tenants.create(OPERATOR, 2, values))
    assert error.code == "validation_error"
    assert [name for name, _ in error.details] == [field]
    assert "fast" not in str(error.details)  # the models of others are nobody's business
    await simple.acts.tenants.create(OPERATOR, 2, {})
    error = await refused(simple.acts.tenants.update(OPERATOR, 2, values))
    assert [name for name, _ in error.details] == [field]


@pytest.mark.parametrize("number", [0, -1, 2**63])
async def test_a_number_is_in_range(simple: AdminServer, number: int) -> None:
    error = await refused(simple.acts.tenants.create(OPERATOR, number, {}))
    assert error.details[0][0] == "id"


async def test_the_file_wins_and_that_is_said(simple: AdminServer) -> None:
    assert (await simple.acts.tenants.create(OPERATOR, 9, {})).shadowed_by_file
    assert (await simple.acts.tenants.update(OPERATOR, 9, {"name": "x"})).shadowed_by_file


async def test_a_tenant_is_suspended_and_goes_on(admin: AdminServer, home: Home) -> None:
    await admin.acts.tenants.create(OPERATOR, 2, {})
    before = counter(home)
    suspended = await admin.acts.tenants.suspend(OPERATOR, 2)
    assert suspended.suspended_at is not None
    assert abs(suspended.suspended_at - admin.clock()) < 60
    assert await admin.acts.tenants.suspend(OPERATOR, 2) == suspended  # the first time counts
    assert (await admin.acts.tenants.resume(OPERATOR, 2)).suspended_at is None
    assert counter(home) == before + 2
    assert home.ask("SELECT act FROM audit_events ORDER BY id DESC LIMIT 2") == [
        ("tenant.resumed",), ("tenant.suspended",),
    ]  # fmt: skip
    assert (await refused(admin.acts.tenants.suspend(OPERATOR, 8))).code == "not_found"


async def test_an_administrator_has_one_tenant_and_not_its_limits(admin: AdminServer) -> None:
    tenants, boss = admin.acts.tenants, administrator(2)
    for number in (2, 3):
        await tenants.create(OPERATOR, number, {"name": f"T{number}"})
    assert [t.id for t in (await tenants.list(boss, 0, 10))[0]] == [2]
    assert (await tenants.update(boss, 2, {"name": "Mine", "models": ["plain"]})).name == "Mine"
    for work, code in (
        (tenants.get(boss, 3), "not_found"),
        (tenants.get(boss, 4), "not_found"),
        (tenants.update(boss, 3, {"name": "x"}), "not_found"),
        (tenants.update(boss, 2, {"limits": {}}), "forbidden"),
        (tenants.create(boss, 4, {}), "forbidden"),
        (tenants.create(boss, 2, {}), "forbidden"),
        (tenants.suspend(boss, 2), "forbidden"),
        (tenants.resume(boss, 2), "forbidden"),
    ):
        assert (await refused(work)).code == code
    assert (await tenants.get(OPERATOR, 3)).name == "T3"


async def test_what_cannot_be_recorded_does_not_happen(admin: AdminServer, home: Home) -> None:
    await admin.acts.tenants.create(OPERATOR, 2, {"name": "before"})
    renamed = "ALTER TABLE audit_events RENAME TO elsewhere"
    home.ask(renamed)
    try:
        with pytest.raises(ServerError):
            await admin.acts.tenants.update(OPERATOR, 2, {"name": "after"})
    finally:
        home.ask("ALTER TABLE elsewhere RENAME TO audit_events")
    assert (await admin.acts.tenants.get(OPERATOR, 2)).name == "before"
