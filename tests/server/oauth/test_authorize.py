"""The pages a person sees: rules A3, A12, A13 and A14, over HTTP."""

import re
from typing import Literal

import httpx2
import pytest
from argon2 import PasswordHasher

from support.authorization import (
    CALLBACK,
    EMAIL,
    PASSWORD,
    Application,
    AuthServer,
    Browser,
    answer,
    authorization_server,
    browser,
    grant,
)
from support.homes import Home
from tellstream.auth.authorization_server import TOO_OFTEN, WRONG
from tellstream.auth.consents import ANSWER_SECONDS
from tellstream.auth.login_throttle import ACCOUNT_RATE, ADDRESS_RATE
from tellstream.auth.sessions import SESSION_SECONDS, csrf_token
from tellstream.server.authorize import BUSY


def shows(page: httpx2.Response, action: str) -> bool:
    return f'value="{action}"' in page.text


async def open_with(session: str, application: Application) -> httpx2.Response:
    """Open the page in a browser that has this cookie."""
    async with application.server.http_client() as http:
        headers = {"Cookie": f"tellstream={session}"}
        return await http.get(f"/oauth/authorize?{application.query()}", headers=headers)


def request_id(page: httpx2.Response) -> str:
    found = re.search(r'name="request" value="([^"]+)"', page.text)
    assert found, page.text
    return found[1]


async def test_a_person_logs_in_agrees_and_goes_back(stored: AuthServer) -> None:
    application, _ = await stored.client(), await stored.user()
    async with browser(stored) as person:
        page = await person.open(application.query())
        assert page.status_code == 200
        assert shows(page, "login")
        assert "Console" in page.text
        page = await person.log_in()
        assert shows(page, "approve")
        for text in ("Console", "app.example", EMAIL, "read and stop your chats", "Acme", "Beta"):
            assert text in page.text
        page = await person.send("approve")
        assert page.headers["location"].startswith(CALLBACK + "?code=")
        assert answer(page)["state"] == "xyz"


async def test_a_person_declines(auth: AuthServer) -> None:
    application, _ = await auth.client(), await auth.user()
    async with browser(auth) as person:
        await person.open(application.query())
        await person.log_in()
        told = answer(await person.send("deny"))
        assert (told["error"], told["state"]) == ("access_denied", "xyz")
        assert told["iss"] == auth.issuer.issuer


async def test_a3_an_error_is_shown_and_goes_nowhere(auth: AuthServer) -> None:
    application = await auth.client()
    evil = {"redirect_uri": "https://evil.example/"}
    async with browser(auth) as person:
        for query in (
            application.query(**evil),
            application.query(client_id="x"),
            application.query(**evil, response_type="token"),
            application.query(**evil, scope="root"),
            "",
        ):
            page = await person.open(query)
            assert page.status_code == 400
            assert "location" not in page.headers
            assert "evil" not in page.text
            assert "set-cookie" not in page.headers


async def test_a3_the_request_is_checked_again_with_each_form(auth: AuthServer) -> None:
    application, _ = await auth.client(), await auth.user()
    async with browser(auth) as person:
        await person.open(application.query())
        changed = person.page.text.replace("app.example", "evil.example")
        person.page = httpx2.Response(200, text=changed)
        page = await person.log_in()
        assert (page.status_code, "location" in page.headers) == (400, False)


async def test_a3_the_client_is_told_when_it_may_be(auth: AuthServer) -> None:
    application = await auth.client()
    async with browser(auth) as person:
        told = answer(await person.open(application.query(scope="root")))
        assert (told["error"], told["state"]) == ("invalid_scope", "xyz")


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_other_methods_are_refused(auth: AuthServer, method: str) -> None:
    response = await auth.http.request(method, "/oauth/authorize")
    assert response.status_code == 405


async def test_a12_the_session_changes_at_login(auth: AuthServer) -> None:
    application, _ = await auth.client(), await auth.user()
    async with browser(auth) as person:
        page = await person.open(application.query())
        before = person.cookie
        assert "HttpOnly; SameSite=Lax" in page.headers["set-cookie"]
        await person.post("login", email=EMAIL, password=PASSWORD)
        assert person.page.status_code == 303  # never 307, which would send the password along
        assert person.cookie != before
        after = person.cookie
        assert shows(await person.open(application.query()), "approve")
        assert person.cookie == after
        assert shows(await open_with(before, application), "login")


async def test_a12_a_former_login_ends_with_the_next(auth: AuthServer) -> None:
    application, _ = await auth.client(), await auth.user()
    async with browser(auth) as person:
        await person.open(application.query())
        form = person.page
        await person.log_in()
        before, person.page = person.cookie, form
        assert shows(await open_with(before, application), "approve")
        # The same browser, at a login page that it kept open.
        form_of_now = form.text.replace(csrf_of(form), csrf_token(before))
        person.page = httpx2.Response(200, text=form_of_now)
        await person.log_in()
        assert person.cookie != before
        assert shows(await open_with(before, application), "login")


def csrf_of(page: httpx2.Response) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', page.text)
    assert found
    return found[1]


async def test_a12_over_https_the_cookie_is_bound_to_the_host(
    tmp_path_factory: pytest.TempPathFactory, sqlite_home: Home
) -> None:
    folder = tmp_path_factory.mktemp("https")
    public_url = "https://chat.example"
    async with authorization_server(folder, sqlite_home.database(), public_url) as auth:
        application = await auth.client()
        page = await auth.http.get(f"/oauth/authorize?{application.query()}")
        cookie = page.headers["set-cookie"]
        assert cookie.startswith("__Host-tellstream=")
        assert cookie.endswith("; Path=/; HttpOnly; SameSite=Lax; Secure")


@pytest.mark.parametrize("token", ["", "wrong", "foreign"])
@pytest.mark.parametrize("action", ["login", "approve", "deny", "switch", "password"])
async def test_a12_a_form_needs_the_token_of_its_session(
    auth: AuthServer, action: str, token: str
) -> None:
    application, _ = await auth.client(), await auth.user()
    async with browser(auth) as person, browser(auth) as other:
        await other.open(application.query())
        await person.open(application.query())
        await person.log_in()
        value = csrf_token(other.cookie) if token == "foreign" else token
        form = {"action": action, "csrf": value, "request": request_id(person.page)}
        page = await person.http.post(
            f"/oauth/authorize?{application.query()}",
            data=form | {"email": EMAIL, "password": PASSWORD},
        )
        assert page.status_code == 403
        assert "location" not in page.headers
        assert "set-cookie" not in page.headers


async def test_a12_without_a_cookie_no_form_is_taken(auth: AuthServer) -> None:
    application, _ = await auth.client(), await auth.user()
    async with browser(auth) as person:
        await person.open(application.query())
        person.http.cookies.clear()
        assert (await person.log_in()).status_code == 403


async def test_a12_another_session_cannot_approve(auth: AuthServer) -> None:
    """Neither a stranger's nor another one of the same person."""
    application = await auth.client()
    await auth.user()
    await auth.user("eve@acme.example")
    async with browser(auth) as person:
        await person.open(application.query())
        await person.log_in()
        asked = request_id(person.page)
        for email in ("eve@acme.example", EMAIL):
            async with browser(auth) as other:
                await other.open(application.query(state="eve"))
                await other.log_in(email)
                page = await other.post("approve", request=asked)
                assert page.status_code == 403
                assert "location" not in page.headers
        assert answer(await person.send("approve"))["code"]


async def test_a12_an_approval_needs_a_login(auth: AuthServer) -> None:
    application, _ = await auth.client(), await auth.user()
    async with browser(auth) as person:
        await person.open(application.query())
        page = await person.http.post(
            "/oauth/authorize",
            data={"action": "approve", "csrf": csrf_token(person.cookie), "request": "a" * 22},
        )
        assert page.status_code == 403


async def test_a12_what_is_approved_is_what_was_asked(auth: AuthServer) -> None:
    application, _ = await auth.client(), await auth.user()
    async with browser(auth) as person:
        await person.open(application.query(scope="chat"))
        await person.log_in()
        form = {
            "scope": "chat usage admin",
            "tenants": "9",
            "redirect_uri": "https://evil.example/",
        }
        page = await person.post("approve", **form)
        assert page.headers["location"].startswith(CALLBACK)
        tokens = (await application.redeem(answer(page)["code"])).json()
        assert tokens["scope"] == "chat"


async def test_a12_a_question_can_be_answered_for_ten_minutes(auth: AuthServer) -> None:
    application, _ = await auth.client(), await auth.user()
    async with browser(auth) as person:
        await person.open(application.query())
        await person.log_in()
        await auth.later(ANSWER_SECONDS + 1)
        assert (await person.post("approve")).status_code == 403


async def test_a12_consent_is_remembered_for_the_same_and_asked_for_more(
    stored: AuthServer,
) -> None:
    application, other = await stored.client(), await stored.client()
    await stored.user()
    async with browser(stored) as person:
        await person.code(application, scope="chat")
        assert answer(await person.open(application.query(scope="chat", state="2")))["code"]
        page = await person.open(application.query(scope="chat usage"))
        assert shows(page, "approve")  # a new scope
        assert shows(await person.open(other.query(scope="chat")), "approve")  # a new client
        person.page = page
        await person.send("approve")
        for scope in ("chat", "usage", "chat usage"):
            assert answer(await person.open(application.query(scope=scope)))["code"]


async def test_a12_consent_is_asked_again_for_a_new_tenant(auth: AuthServer, home: Home) -> None:
    application, _ = await auth.client(tenants=(1, 2)), await auth.user(tenants=[1])
    async with browser(auth) as person:
        await person.code(application)
        await auth.store.run(
            None, lambda c: c.exec_driver_sql("UPDATE users SET tenants = '1 2'").close()
        )
        assert shows(await person.open(application.query()), "approve")


async def test_a12_a_program_on_the_users_machine_is_asked_about_each_time(
    auth: AuthServer,
) -> None:
    application = await auth.client(public=True, uris=("http://127.0.0.1/cb", CALLBACK))
    await auth.user()
    async with browser(auth) as person:
        await person.code(application)
        page = await person.open(application.query())
        assert shows(page, "approve")
        assert "this computer" in page.text
        # An https address belongs to somebody, so there the earlier answer counts.
        assert answer(await person.open(application.query(redirect_uri=CALLBACK)))["code"]


async def test_another_account_can_be_used(auth: AuthServer) -> None:
    application = await auth.client()
    await auth.user()
    bob = await auth.user("bob@acme.example")
    async with browser(auth) as person:
        await person.open(application.query())
        await person.log_in()
        before = person.cookie
        assert shows(await open_with(before, application), "approve")
        page = await person.send("switch")
        assert shows(page, "login")
        await person.log_in("bob@acme.example")
        tokens = (await application.redeem(answer(await person.send("approve"))["code"])).json()
        assert auth.verify(tokens["access_token"]).subject == bob.id
        assert shows(await open_with(before, application), "login")


async def test_who_has_nothing_to_give_is_told(auth: AuthServer) -> None:
    application, _ = await auth.client(tenants=(3,)), await auth.user()
    async with browser(auth) as person:
        await person.open(application.query())
        page = await person.log_in()
        assert page.status_code == 403
        assert not shows(page, "approve")
        assert (await person.post("approve", request=request_id(page))).status_code == 403
        person.page = page
        assert answer(await person.send("deny"))["error"] == "access_denied"


async def test_a_login_lasts_a_working_day(auth: AuthServer) -> None:
    application, _ = await auth.client(), await auth.user()
    async with browser(auth) as person:
        await person.code(application)
        auth.offset += SESSION_SECONDS - 10
        assert answer(await person.open(application.query()))["code"]
        auth.offset += 20
        assert shows(await person.open(application.query()), "login")


async def test_a13_no_page_is_cached_framed_or_told_to_others(auth: AuthServer) -> None:
    application, _ = await auth.client(), await auth.user()
    async with browser(auth) as person:
        pages = [await person.open("x=1"), await person.open(application.query())]
        pages.append(await person.post("login", email=EMAIL, password="wrong"))
        pages += [await person.log_in(), await person.send("approve")]
    for page in pages:
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "form-action" not in policy  # it would stop the way back to the client
        assert page.headers["x-frame-options"] == "DENY"
        assert page.headers["referrer-policy"] == "no-referrer"
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["x-content-type-options"] == "nosniff"
        assert not re.search(r"<script|https?://|javascript:|\sstyle=|\son\w+=", page.text)


async def test_a13_the_style_is_our_own(auth: AuthServer) -> None:
    style = await auth.http.get("/oauth/style.css")
    assert style.headers["content-type"] == "text/css; charset=utf-8"
    assert not re.search(r"url\(|@import|https?:", style.text)


@pytest.mark.parametrize("email", [EMAIL, "nobody@acme.example", "no email at all", ""])
async def test_a14_all_wrong_logins_look_alike(auth: AuthServer, email: str) -> None:
    application, _ = await auth.client(), await auth.user()
    async with browser(auth) as person:
        await person.open(application.query())
        page = await person.log_in(email, "wrong")
        assert (page.status_code, page.text.count(WRONG)) == (403, 1)
        normal = page.text.replace(email, "X") if email else page.text.replace('value=""', "X")
        assert "wrong" not in normal
        assert 'aria-invalid="true" aria-describedby="problem"' in page.text
        assert shows(page, "login")


class Counting(PasswordHasher):
    """Counts the hashes that are worked out."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.count = 0

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002
        self.count += 1
        return super().verify(hash, password)


async def test_a14_an_unknown_account_costs_a_hash_like_a_known_one(auth: AuthServer) -> None:
    application, _ = await auth.client(), await auth.user()
    counting = auth.passwords._hasher = Counting()
    async with browser(auth) as person:
        await person.open(application.query())
        for tries, email in enumerate((EMAIL, "nobody@acme.example", "no email at all"), 1):
            await person.log_in(email, "wrong")
            assert counting.count == tries


async def test_a14_twenty_wrong_passwords_are_too_many(stored: AuthServer) -> None:
    application, _ = await stored.client(), await stored.user()
    stored.freeze()
    for email in (EMAIL, "nobody@acme.example"):
        async with browser(stored) as person:
            await person.open(application.query())
            statuses = [(await person.log_in(email, f"wrong {n}")).status_code for n in range(20)]
            assert statuses[: ACCOUNT_RATE.burst] == [403] * ACCOUNT_RATE.burst
            assert statuses[ACCOUNT_RATE.burst :] == [429] * (20 - ACCOUNT_RATE.burst)
            assert 1 <= int(person.page.headers["retry-after"]) <= ACCOUNT_RATE.seconds + 1
            assert TOO_OFTEN in person.page.text
            assert (await person.log_in(email)).status_code == 429  # even the right one


async def test_a14_an_account_can_be_tried_again_after_a_while(auth: AuthServer) -> None:
    application, _ = await auth.client(), await auth.user()
    auth.freeze()
    async with browser(auth) as person:
        await person.open(application.query())
        for _ in range(ACCOUNT_RATE.burst + 1):
            await person.log_in(EMAIL, "wrong")
        assert person.page.status_code == 429
        auth.offset += ACCOUNT_RATE.seconds + 1
        assert shows(await person.log_in(), "approve")
        # After a login that succeeded the account starts afresh.
        await person.send("switch")
        for _ in range(ACCOUNT_RATE.burst):
            assert (await person.log_in(EMAIL, "wrong")).status_code == 403


async def test_a14_an_account_is_throttled_whatever_the_address(auth: AuthServer) -> None:
    application, _ = await auth.client(), await auth.user()
    auth.freeze()
    async with browser(auth) as person:
        await person.open(application.query())
        for number in range(ACCOUNT_RATE.burst + 1):
            person.headers = {"X-Forwarded-For": f"198.51.100.{number}"}
            spelled = EMAIL.upper() if number % 2 else EMAIL
            await person.log_in(spelled, "wrong")
        assert person.page.status_code == 429


@pytest.mark.parametrize("network", ["203.0.113.7", "2001:db8:0:1::{:x}"])
async def test_a14_an_address_is_throttled_whatever_the_account(
    auth: AuthServer, network: str
) -> None:
    application, _ = await auth.client(), await auth.user()
    auth.freeze()
    async with browser(auth) as person:
        await person.open(application.query())
        for number in range(ADDRESS_RATE.burst):
            person.headers = {"X-Forwarded-For": network.format(number + 1)}
            page = await person.log_in(f"user{number}@acme.example", "wrong")
            assert page.status_code == 403
        person.headers = {"X-Forwarded-For": network.format(9999)}
        assert (await person.log_in("fresh@acme.example", "wrong")).status_code == 429
        person.headers = {"X-Forwarded-For": "192.0.2.1"}
        assert shows(await person.log_in(), "approve")  # others are not held up


async def test_a18_a_password_chosen_by_another_must_be_changed(stored: AuthServer) -> None:
    application = await stored.client()
    admin = await stored.first_start.first_admin(stored.passwords, [1, 2])
    assert admin is not None
    async with browser(stored) as person, browser(stored) as elsewhere:
        for one in (person, elsewhere):
            await one.open(application.query())
            assert shows(await one.log_in(*admin), "password")
        first = person.cookie
        assert shows(await person.open(application.query()), "password")  # there is no way round
        for new, repeated, problem in (
            ("short", "short", "at least 12"),
            ("my localhost word", "another one of mine", "not the same"),
            (admin.password, admin.password, "the password you have"),
            ("admin-admin-admin-x", "admin-admin-admin-x", "email address"),
        ):
            page = await person.post("password", password=new, repeat=repeated)
            assert page.status_code == 422
            assert problem in page.text
            assert 'aria-invalid="true"' in page.text
            assert new not in page.text
        page = await person.send("password", password=PASSWORD, repeat=PASSWORD)
        assert shows(page, "approve")
        assert person.cookie != first
        assert shows(await elsewhere.open(application.query()), "login")  # logged out
        assert (await elsewhere.log_in(*admin)).status_code == 403
        assert shows(await elsewhere.log_in(admin.email, PASSWORD), "approve")


async def test_a18_until_then_nothing_can_be_approved(auth: AuthServer) -> None:
    application, _ = await auth.client(), await auth.user()
    async with browser(auth) as person:
        await person.open(application.query())
        await person.log_in()
        await auth.store.run(
            None, lambda c: c.exec_driver_sql("UPDATE users SET must_change = true").close()
        )
        assert (await person.post("approve")).status_code == 403


async def test_the_password_form_is_of_no_use_to_others(auth: AuthServer) -> None:
    application, _ = await auth.client(), await auth.user()
    async with browser(auth) as person:
        await person.open(application.query())
        new = {"password": "a new pass phrase", "repeat": "a new pass phrase"}
        assert shows(await person.send("password", **new), "login")
        await person.log_in()
        person.page = httpx2.Response(200, text=login_form(person))
        assert shows(await person.send("password", **new), "approve")
    async with browser(auth) as person:
        await person.open(application.query())
        assert shows(await person.log_in(), "approve")  # the password is what it was


def login_form(person: Browser) -> str:
    query = person.page.request.url.query.decode()
    hidden = f'<input type="hidden" name="csrf" value="{csrf_token(person.cookie)}"'
    return f'<form method="post" action="authorize?{query}">{hidden}'


@pytest.mark.parametrize("action", ["", "other", "logout"])
async def test_an_unknown_button_is_refused(auth: AuthServer, action: str) -> None:
    application, _ = await auth.client(), await auth.user()
    async with browser(auth) as person:
        await person.open(application.query())
        assert (await person.post(action)).status_code == 400


async def test_a_form_of_another_kind_is_refused(auth: AuthServer) -> None:
    for kind in ("application/json", "multipart/form-data"):
        response = await auth.http.post(
            "/oauth/authorize", content=b"{}", headers={"Content-Type": kind}
        )
        assert response.status_code == 400
        assert response.headers["content-type"].startswith("text/html")


async def test_what_happened_is_in_the_audit_log(stored: AuthServer, home: Home) -> None:
    application, user = await stored.client(), await stored.user()
    async with browser(stored) as person:
        await person.open(application.query())
        await person.log_in(EMAIL, "wrong")
        await person.log_in()
        await person.send("deny")
    await grant(application)
    rows = home.ask("SELECT act, outcome, subject, client FROM audit_events ORDER BY id")
    client_id = application.client.client_id
    assert rows == [
        ("client.created", "done", "cli:test", ""),
        ("user.created", "done", "cli:test", ""),
        ("login.refused", "refused", user.id, ""),
        ("login.accepted", "done", user.id, ""),
        ("consent.denied", "refused", user.id, client_id),
        ("login.accepted", "done", user.id, ""),
        ("consent.granted", "done", user.id, client_id),
        ("code.issued", "done", user.id, client_id),
        ("code.redeemed", "done", user.id, client_id),
    ]


async def test_without_the_store_a_person_is_told_to_wait(
    stored: AuthServer,
) -> None:
    application, _ = await stored.client(), await stored.user()
    async with browser(stored) as person:
        await person.open(application.query())
        form = person.page
        await stored.store.close()
        for page in (await person.open(application.query()), await sent(person, form)):
            assert (page.status_code, page.headers["retry-after"]) == (503, "2")
            assert BUSY in page.text
        response = await application.token(grant_type="client_credentials")
        assert (response.status_code, response.json()["error"]) == (503, "service_unavailable")


async def sent(person: Browser, form: httpx2.Response) -> httpx2.Response:
    person.page = form
    return await person.log_in()
