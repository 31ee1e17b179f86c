"""The pages of the authorization server: nothing that comes from elsewhere becomes markup."""

import re
from collections.abc import Callable

import pytest

from tellstream.auth.interaction import ConsentPage, LoginPage, NoAccessPage, PasswordPage
from tellstream.core.principals import SCOPES
from tellstream.server import pages
from tellstream.server.pages import Html, render

EVIL = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>{0}{csrf}&amp;%s"
PAGES: dict[str, Callable[[str], bytes]] = {
    "login": lambda text: pages.login_page(LoginPage(text, text, text, text), text),
    "password": lambda text: pages.password_page(PasswordPage(text, text, text), text),
    "repeat": lambda text: pages.password_page(PasswordPage(text, text, text, "repeat"), text),
    "consent": lambda text: pages.consent_page(
        ConsentPage(text, text, text, SCOPES, (1, 2), text), text, {1: text}
    ),
    "no access": lambda text: pages.no_access_page(NoAccessPage(text, text, text), text),
    "error": pages.error_page,
}


@pytest.mark.parametrize("page", PAGES)
def test_values_are_text_and_never_markup(page: str) -> None:
    shape = re.sub("[^<>\"']", "", PAGES[page]("x").decode())
    filled = PAGES[page](EVIL).decode()
    assert re.sub("[^<>\"']", "", filled) == shape
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in filled
    assert "{0}{csrf}&amp;amp;%s" in filled  # neither a template nor an entity


def test_only_markup_is_taken_as_it_is() -> None:
    assert render("<p>{a}</p>", a="<b>") == "<p>&lt;b&gt;</p>"
    assert render("<p>{a}</p>", a=Html("<b>")) == "<p><b></p>"
    assert render("{a}", a=7) == "7"


def test_every_scope_has_words_for_people() -> None:
    assert pages.SCOPE_TEXTS.keys() == set(SCOPES)


def test_a_tenant_without_a_name_has_its_number() -> None:
    page = ConsentPage("App", "app.example", "a@b", ("chat",), (1, 7), "id")
    shown = pages.consent_page(page, "csrf", {1: "Acme", 7: ""}).decode()
    assert "Acme" in shown
    assert "Tenant 7" in shown
