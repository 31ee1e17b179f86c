"""What administrators send and get over HTTP."""

from typing import Any

import httpx2
import pytest

from support.administration import AdminServer
from support.authorization import PASSWORD
from support.canaries import contents, leaks
from support.homes import SqliteHome
from tellstream.core.principals import SCOPES

KEY = "sk-canary-3f9a1c77e2b8d4"
SECRET = "canary of a good password"


def data(response: httpx2.Response, status: int = 200) -> Any:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"
    return response.json()["data"]


async def test_a_tenant_from_its_creation_to_its_suspension(admin: AdminServer) -> None:
    body = {"id": 2, "name": "Acme", "models": ["fast*"], "limits": {"budget_per_month": "9.99"}}
    made = data(await admin.ask(1, "POST", "/tenants", body), 201)
    assert made["limits"] == {"budget_per_month": "9.99"}
    assert (made["id"], made["shadowed_by_file"], made["suspended_at"]) == (2, False, None)
    again = await admin.ask(1, "POST", "/tenants", body)
    assert (again.status_code, again.json()["error"]) == (409, "conflict")
    changed = data(await admin.ask(2, "PATCH", "/tenants/2", {"system": "Be brief."}))
    assert changed == made | {"system": "Be brief."}
    limits = {"limits": {"prompt_chars": 9}}
    response = await admin.ask(2, "PATCH", "/tenants/2", limits)
    assert (response.status_code, response.json()["error"]) == (403, "forbidden")
    changed = data(await admin.ask(1, "PATCH", "/tenants/2", limits))
    assert changed["limits"] == {"budget_per_month": "9.99", "prompt_chars": 9}
    assert data(await admin.ask(1, "POST", "/tenants/2/suspend"))["suspended_at"]
    assert data(await admin.ask(1, "POST", "/tenants/2/resume"))["suspended_at"] is None
    assert data(await admin.ask(1, "POST", "/tenants", {"id": 9}), 201)["shadowed_by_file"]


async def test_a_client_that_was_created_can_be_used_and_deleted(admin: AdminServer) -> None:
    body = {"name": "Shop", "scope": "chat usage"}
    made = data(await admin.ask(2, "POST", "/clients", body), 201)
    secret = made.pop("client_secret")
    assert made["tenants"] == [2]
    form = {"grant_type": "client_credentials", "client_id": made["client_id"],
            "client_secret": secret}  # fmt: skip
    token = (await admin.http.post("/oauth/token", data=form)).json()["access_token"]
    assert set(admin.verify(token).tenants) == {2}
    assert data(await admin.ask(2, "GET", f"/clients/{made['client_id']}")) == made
    listed = await admin.ask(2, "GET", "/clients")
    assert listed.json() == {"data": [made], "meta": {"cursor": None, "has_more": False}}
    assert secret not in listed.text
    response = await admin.ask(2, "DELETE", f"/clients/{made['client_id']}")
    assert (response.status_code, response.content) == (204, b"")
    assert (await admin.http.post("/oauth/token", data=form)).status_code == 401


async def test_a_public_client_without_a_secret(admin: AdminServer) -> None:
    body = {"name": "App", "public": True, "redirect_uris": ["http://127.0.0.1/cb"]}
    made = data(await admin.ask(2, "POST", "/clients", body), 201)
    assert "client_secret" not in made
    body["pkce_required"] = False
    response = await admin.ask(2, "POST", "/clients", body)
    assert response.json()["details"][0]["field"] == "client"


@pytest.mark.parametrize("tenants", [[3], [2, 3], [77]], ids=str)
@pytest.mark.parametrize("kind", ["clients", "users"])
async def test_nobody_is_given_other_tenants(
    admin: AdminServer, kind: str, tenants: list[int]
) -> None:
    body: dict[str, Any] = {"tenants": tenants}
    body |= {"name": "x"} if kind == "clients" else {"email": "a@b", "password": PASSWORD}
    response = await admin.ask(2, "POST", f"/{kind}", body)
    assert (response.status_code, response.json()["error"]) == (403, "forbidden")
    made = data(await admin.ask(1, "POST", f"/{kind}", body), 201)
    assert made["tenants"] == tenants


async def test_a_user_is_given_a_password_that_works(admin: AdminServer) -> None:
    scope = " ".join(SCOPES)
    body = {"email": "Ann@Acme.example", "password": PASSWORD, "scope": scope}
    made = data(await admin.ask(2, "POST", "/users", body), 201)
    assert made["email"] == "ann@acme.example"
    assert set(made["scope"].split()) == set(SCOPES)
    response = await admin.ask(2, "POST", "/users", body)
    assert (response.status_code, response.json()["error"]) == (409, "conflict")
    assert "acme" not in response.text
    path = f"/users/{made['id']}"
    assert data(await admin.ask(2, "GET", path)) == made
    change = {"password": "another good one", "must_change": True}
    assert (await admin.ask(2, "PUT", f"{path}/password", change)).status_code == 204
    assert data(await admin.ask(2, "GET", path))["must_change"]
    assert (await admin.ask(2, "DELETE", path)).status_code == 204
    assert (await admin.ask(2, "GET", path)).status_code == 404


async def test_lists_are_followed_by_their_cursors(admin: AdminServer) -> None:
    for number in range(5):
        await admin.client(tenants=(2,))
        await admin.user(f"u{number}@b", tenants=[2])
        await admin.ask(1, "POST", "/tenants", {"id": 100 + number})
    for kind, key in (("clients", "client_id"), ("users", "id"), ("tenants", "id")):
        everything = data(await admin.ask(1, "GET", f"/{kind}"))
        found: list[Any] = []
        query = "?limit=2"
        while query:
            answer = (await admin.ask(1, "GET", f"/{kind}{query}")).json()
            found += answer["data"]
            meta = answer["meta"]
            assert meta["has_more"] == (meta["cursor"] is not None)
            query = f"?limit=2&cursor={meta['cursor']}" if meta["has_more"] else ""
        assert found == everything
        assert len({row[key] for row in found}) == 5
    seen = []
    query = "?limit=4&tenant=none"
    while query:
        answer = (await admin.ask(1, "GET", f"/audit{query}")).json()
        seen += [event["act"] for event in answer["data"]]
        cursor = answer["meta"]["cursor"]
        query = f"?limit=4&tenant=none&cursor={cursor}" if cursor else ""
    everything = data(await admin.ask(1, "GET", "/audit?tenant=none&limit=500"))
    assert seen == [event["act"] for event in everything]


BAD_QUERIES = (
    "limit=0", "limit=501", "limit=x", "limit=1_0", "limit=", "limit=%D9%A1", "cursor=",
    "cursor=x", "cursor=W10", "cursor=WzEsMl0", "cursor=" + "A" * 500, "cursor=%00",
    "cursor=WyJcdTAwMDAiLCJcdTAwMDAiXQ", "cursor=WzEsIlx1MDAwMCJd", "cursor=Wy0xLCJhIl0",
    "cursor=W251bGxd", "cursor=WzEuNV0", "cursor=Wzk5OTk5OTk5OTk5OTk5OTk5OTk5OTldCg",
)  # fmt: skip


@pytest.mark.parametrize("kind", ["tenants", "clients", "users", "audit"])
async def test_a_query_is_checked(admin: AdminServer, kind: str) -> None:
    for query in BAD_QUERIES:
        response = await admin.ask(1, "GET", f"/{kind}?{query}")
        assert (response.status_code, response.json()["error"]) == (422, "validation_error"), query


async def test_a_malformed_query_is_400(admin: AdminServer) -> None:
    for query in ("limit", "limit=1&limit=2", "a=1&" * 20, "limit=%ff"):
        response = await admin.ask(1, "GET", f"/users?{query}")
        assert (response.status_code, response.json()["error"]) == (400, "invalid_request"), query


async def test_a_tenant_in_the_query_is_a_number(admin: AdminServer) -> None:
    for value in ("x", "0", "-1", "1e3", "9" * 20, "%D9%A1", "none2", ""):
        for kind in ("credentials", "audit"):
            response = await admin.ask(1, "GET", f"/{kind}?tenant={value}")
            assert response.status_code == 422, value


async def test_a_made_up_id_is_404(admin: AdminServer) -> None:
    for thing in ("%00", "x" * 300, "..", "%F0%9F%98%80", "'", "a%0Ab", "0", "+1"):
        for kind in ("tenants", "clients", "users", "credentials"):
            response = await admin.ask(1, "GET", f"/{kind}/{thing}")
            assert response.status_code == 404, (kind, thing)


async def test_a_provider_key_and_a_password_are_found_nowhere(
    admin: AdminServer, home: SqliteHome, capfd: pytest.CaptureFixture[str]
) -> None:
    answers = [
        await admin.ask(2, "POST", "/users", {"email": "a@b.example", "password": SECRET}),
        await admin.ask(1, "PUT", "/credentials/openai", {"key": KEY, "label": "main"}),
        await admin.ask(1, "PUT", "/credentials/openai", {"key": KEY, "label": 5}),
        await admin.ask(1, "PUT", "/credentials/openai", {"key": KEY, KEY: KEY}),
        await admin.ask(1, "PUT", "/credentials/openai", {"key": [KEY]}),
        await admin.ask(1, "PUT", "/credentials/openai", {"key": f"{KEY} {KEY}"}),
        await admin.ask(1, "PUT", f"/credentials/{KEY}.X", {"key": KEY}),
        await admin.ask(2, "POST", "/users", {"email": SECRET, "password": SECRET}),
        await admin.ask(2, "POST", "/users", {"email": "c@d", "password": SECRET * 20}),
        await admin.ask(2, "POST", "/users", {"email": "c@d", "password": SECRET, SECRET: SECRET}),
        await admin.ask(2, "POST", "/users", {"email": "c@d", "password": {SECRET: SECRET}}),
        await admin.ask(1, "GET", "/credentials"),
        await admin.ask(1, "GET", "/credentials/openai"),
        await admin.ask(2, "GET", "/users"),
        await admin.ask(1, "GET", "/audit"),
        await admin.ask(1, "GET", "/audit?tenant=2"),
        await admin.ask(1, "GET", "/audit?tenant=none"),
    ]
    assert [answer.status_code for answer in answers[:2]] == [201, 200]
    assert {answer.status_code for answer in answers[2:11]} == {422}
    assert answers[1].json()["data"].keys() == {"provider", "label", "last4", "created_at"}
    texts: dict[str, str | bytes] = {str(n): answer.text for n, answer in enumerate(answers)}
    output = capfd.readouterr()
    texts |= {"stdout": output.out, "stderr": output.err}
    texts["audit"] = str(home.ask("SELECT * FROM audit_events"))
    files = contents(admin.folder.glob("tellstream.db*"))
    assert sum(map(len, files.values())) > 10_000
    texts |= files
    assert leaks({"key": KEY, "password": SECRET}, texts) == []


async def test_every_act_is_in_the_audit_log(admin: AdminServer) -> None:
    await admin.ask(1, "POST", "/tenants", {"id": 2})
    await admin.ask(2, "PATCH", "/tenants/2", {"name": "x"})
    client = data(await admin.ask(2, "POST", "/clients", {"name": "x"}), 201)["client_id"]
    user = data(await admin.ask(2, "POST", "/users", {"email": "a@b", "password": PASSWORD}), 201)
    password = {"password": "another good one"}
    await admin.ask(2, "PUT", f"/users/{user['id']}/password", password)
    await admin.ask(2, "DELETE", f"/clients/{client}")
    await admin.ask(2, "DELETE", f"/users/{user['id']}")
    await admin.ask(2, "PUT", "/credentials/openai", {"key": KEY})
    await admin.ask(2, "DELETE", "/credentials/openai")
    events = data(await admin.ask(2, "GET", "/audit"))[::-1]
    assert [(event["act"], event["object"]) for event in events] == [
        ("tenant.created", "2"), ("tenant.updated", "2"), ("client.created", client),
        ("user.created", user["id"]), ("user.reset", user["id"]), ("client.deleted", client),
        ("user.deleted", user["id"]), ("credential.put", "openai"),
        ("credential.deleted", "openai"),
    ]  # fmt: skip
    for event in events:
        assert (event["subject"], event["client"], event["request_id"], event["tenant"]) == (
            "boss", "console", "req_test", 2,
        )  # fmt: skip
