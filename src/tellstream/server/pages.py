"""The pages of the authorization server, as HTML: plain, without scripts, readable without style.

``render`` escapes every value; text becomes markup only by being ``Html`` already, which only
``render`` makes of the constant templates of this file.
"""

import string
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any, Final

from tellstream.auth.interaction import (
    ConsentPage,
    LoginPage,
    NoAccessPage,
    PasswordPage,
)
from tellstream.auth.users import MAX_EMAIL_CHARS, MAX_PASSWORD_CHARS, MIN_PASSWORD_CHARS

SCOPE_TEXTS: Final = {
    "chat": "Start, read and stop your chats",
    "usage": "See usage and costs",
    "streams:all": "Read and stop everybody's chats",
    "admin": "Change settings, keys and limits",
}
"""What each scope means to a person, from the least to the most."""
_FAR_REACHING: Final = frozenset({"streams:all", "admin"})


class Html(str):
    """Markup."""

    __slots__ = ()


class _Escaping(string.Formatter):
    def format_field(self, value: Any, format_spec: str) -> str:
        assert not format_spec, "templates hold names only"
        return value if isinstance(value, Html) else escape(str(value), quote=True)


_FORMATTER: Final = _Escaping()


def render(template: str, **values: object) -> Html:
    """Fill a constant template, escaping every value that is not markup."""
    return Html(_FORMATTER.vformat(template, (), values))


def _joined(parts: Iterable[Html]) -> Html:
    return Html("".join(parts))


_FRAME: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>{title} · Tellstream</title>
<link rel="stylesheet" href="style.css">
</head>
<body>
<main>
<p class="brand"><svg viewBox="0 0 24 24" width="24" height="24" aria-hidden="true"
 focusable="false"><path d="M3 7h11M3 12h18M3 17h7"/><circle cx="18.5" cy="7" r="2"/><circle
 cx="14.5" cy="17" r="2"/></svg>Tellstream</p>
{content}
</main>
</body>
</html>
"""
_PROBLEM: Final = """<p class="problem" id="problem" role="alert">{text}</p>
"""
_TARGET: Final = """<input type="hidden" name="csrf" value="{csrf}">
"""
_LOGIN: Final = """<h1>Sign in</h1>
<p class="lead">to continue to <strong>{client}</strong></p>
<form method="post" action="authorize?{query}">
{problem}{hidden}<label for="email">Email</label>
<input id="email" name="email" type="email" value="{email}" autocomplete="username"
 autocapitalize="none" spellcheck="false" maxlength="{email_chars}" required{email_state}>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password"
 maxlength="{password_chars}" required{password_state}>
<button name="action" value="login">Sign in</button>
</form>
"""
_CHOOSE: Final = """<h1>Choose a password</h1>
<p class="lead">The one you have was given to you. From now on only you should know it.</p>
<form method="post" action="authorize?{query}">
{hidden}<input type="hidden" name="username" value="{email}" autocomplete="username">
<label for="password">New password</label>
<p class="hint" id="rule">At least {least} characters. A few unrelated words are good.</p>
<input id="password" name="password" type="password" autocomplete="new-password"
 minlength="{least}" maxlength="{most}" required{password_state}>
{password_problem}<label for="repeat">The same again</label>
<input id="repeat" name="repeat" type="password" autocomplete="new-password"
 maxlength="{most}" required{repeat_state}>
{repeat_problem}<button name="action" value="password">Save and continue</button>
</form>
"""
_CONSENT: Final = """<h1><strong>{client}</strong> asks for access</h1>
<p class="lead">Allow it to do this for you?</p>
<ul class="scopes">
{scopes}</ul>
<p class="tenants">{where} {tenants}</p>
<form method="post" action="authorize">
{hidden}<input type="hidden" name="request" value="{request_id}">
<div class="choice">
<button name="action" value="approve">Allow</button>
<button name="action" value="deny" class="second">Cancel</button>
</div>
<p class="note">Either takes you back to <strong>{host}</strong>.</p>
<p class="account">You are <span class="who">{email}</span>
<button name="action" value="switch" class="link">Use another account</button></p>
</form>
"""
_NO_ACCESS: Final = """<h1>You cannot use <strong>{client}</strong></h1>
<p class="lead">Your account has no part of what this application works with. Ask whoever
runs it, or sign in with another account.</p>
<form method="post" action="authorize">
{hidden}<input type="hidden" name="request" value="{request_id}">
<div class="choice">
<button name="action" value="switch">Switch account</button>
<button name="action" value="deny" class="second">Go back</button>
</div>
<p class="account">You are <span class="who">{email}</span></p>
</form>
"""
_ERROR: Final = """<h1>This did not work</h1>
<p class="problem" role="alert">{message}</p>
<p class="note">Nothing was shared with anybody. You can close this page.</p>
"""
_SCOPE: Final = """<li{mark}>{text} <code>{name}</code></li>
"""
_STRONG: Final = Html(' class="strong"')  # reaches beyond the person who is asked
_TENANT: Final = """<span class="tenant">{name}</span>"""
_WRONG: Final = Html(' aria-invalid="true" aria-describedby="problem"')
_FOCUS: Final = Html(" autofocus")
_NOTHING: Final = Html("")


def login_page(page: LoginPage, csrf: str) -> bytes:
    """Ask for email and password."""
    wrong = _WRONG if page.problem else _NOTHING
    # The cursor goes to what is to be typed next: after a mistake, the password.
    focus = (_NOTHING, _FOCUS) if page.email else (_FOCUS, _NOTHING)
    content = render(
        _LOGIN,
        client=page.client,
        query=page.query,
        problem=_problem(page.problem),
        hidden=render(_TARGET, csrf=csrf),
        email=page.email,
        email_chars=MAX_EMAIL_CHARS,
        email_state=Html(wrong + focus[0]),
        password_chars=MAX_PASSWORD_CHARS,
        password_state=Html(wrong + focus[1]),
    )
    return _framed("Sign in", content, page.problem)


def password_page(page: PasswordPage, csrf: str) -> bytes:
    """Ask for a new password."""
    found = {name: page.problem if page.field == name else "" for name in ("password", "repeat")}
    described = Html(' aria-describedby="rule"')
    if found["password"]:
        described = Html(' aria-invalid="true" aria-describedby="problem rule"')
    content = render(
        _CHOOSE,
        query=page.query,
        hidden=render(_TARGET, csrf=csrf),
        email=page.email,
        least=MIN_PASSWORD_CHARS,
        most=MAX_PASSWORD_CHARS,
        password_problem=_problem(found["password"]),
        password_state=Html(described + _FOCUS),  # both were emptied: begin with the first
        repeat_problem=_problem(found["repeat"]),
        repeat_state=_WRONG if found["repeat"] else _NOTHING,
    )
    return _framed("Choose a password", content, page.problem)


def consent_page(page: ConsentPage, csrf: str, tenant_names: Mapping[int, str]) -> bytes:
    """Ask whether the application may."""
    names = [tenant_names.get(tenant) or f"Tenant {tenant}" for tenant in page.tenants]
    content = render(
        _CONSENT,
        client=page.client,
        scopes=_joined(
            render(
                _SCOPE,
                mark=_STRONG if name in _FAR_REACHING else _NOTHING,
                text=SCOPE_TEXTS[name],
                name=name,
            )
            for name in SCOPE_TEXTS  # from the least to the most
            if name in page.scopes
        ),
        where="For" if len(names) == 1 else "For each of",
        tenants=_joined(render(_TENANT, name=name) for name in names),
        hidden=render(_TARGET, csrf=csrf),
        request_id=page.request_id,
        host=page.host,
        email=page.email,
    )
    return _framed(f"Allow {page.client}?", content)


def no_access_page(page: NoAccessPage, csrf: str) -> bytes:
    """Say that this person has nothing to give."""
    content = render(
        _NO_ACCESS,
        client=page.client,
        hidden=render(_TARGET, csrf=csrf),
        request_id=page.request_id,
        email=page.email,
    )
    return _framed("No access", content)


def error_page(message: str) -> bytes:
    """Say what is wrong, to the person and nobody else."""
    return _framed("This did not work", render(_ERROR, message=message))


def _problem(text: str) -> Html:
    return render(_PROBLEM, text=text) if text else _NOTHING


def _framed(title: str, content: Html, problem: str = "") -> bytes:
    shown = f"Problem: {title}" if problem else title
    return render(_FRAME, title=shown, content=content).encode()
