"""What a person goes through at ``/oauth/authorize``: log in, change a password, agree.

Every step is decided here, from the request and the store, and given as a value; the shell makes
pages and redirects of them. The whole of the client's request is checked again at each step (rule
A3), so no step trusts a form that came back from a browser.
"""

from typing import NamedTuple, TypeAlias

from tellstream.auth.authorization_request import AuthorizationRequest, PageError
from tellstream.auth.codes import issue_code
from tellstream.auth.consents import ask, is_allowed, remember
from tellstream.auth.redirects import is_loopback
from tellstream.auth.sessions import session_user
from tellstream.auth.transactions import AuthEvent, Transaction
from tellstream.auth.users import User, user_by_id


class LoginPage(NamedTuple):
    """Ask for email and password.

    Attributes:
        client: the application's name.
        query: of the request, for the form.
        email: as typed before, or "".
        problem: what was wrong with it, or "".
        status: of the page.
        retry_after: seconds until a login may be tried again, or 0.
    """

    client: str
    query: str
    email: str = ""
    problem: str = ""
    status: int = 200
    retry_after: int = 0


class PasswordPage(NamedTuple):
    """Ask for a new password, since somebody else chose the present one.

    Attributes:
        email: whose.
        query: of the request, for the form.
        problem: what was wrong with the new one, or "".
        field: which field that is about: ``password`` or ``repeat``.
        status: of the page.
    """

    email: str
    query: str
    problem: str = ""
    field: str = "password"
    status: int = 200


class ConsentPage(NamedTuple):
    """Ask whether the application may.

    Attributes:
        client: its name.
        host: where the answer goes, for people.
        email: who is asked.
        scopes: what for.
        tenants: for whom.
        request_id: of the question.
    """

    client: str
    host: str
    email: str
    scopes: tuple[str, ...]
    tenants: tuple[int, ...]
    request_id: str


class NoAccessPage(NamedTuple):
    """Say that this person has nothing to give to this application.

    Attributes:
        client: its name.
        email: who is logged in.
        request_id: of the question, to which only "no" can be answered.
    """

    client: str
    email: str
    request_id: str


class Redirect(NamedTuple):
    """Go somewhere, by 303: to the client, or to the same page once more.

    Attributes:
        location: where.
    """

    location: str


Step: TypeAlias = LoginPage | PasswordPage | ConsentPage | NoAccessPage | Redirect


class Share(NamedTuple):
    """What a person can give to a client: what both of them have."""

    scopes: frozenset[str]
    tenants: frozenset[int]


def again(query: str) -> Redirect:
    """Go to the same request once more, relative to it: whatever name the server has for people."""
    return Redirect(f"authorize?{query}")


def logged_in(tx: Transaction, session_id: str | None) -> User | None:
    """Give who is logged in."""
    user_id = session_user(tx, session_id)
    return None if user_id is None else user_by_id(tx, user_id)


def next_step(tx: Transaction, request: AuthorizationRequest, session_id: str | None) -> Step:
    """Decide what the person sees when the client has sent them here."""
    user = logged_in(tx, session_id)
    if user is None or session_id is None:
        return LoginPage(request.client.name, request.query)
    if user.must_change:
        return PasswordPage(user.email, request.query)
    share = share_of(request, user)
    if not all(share):
        return NoAccessPage(request.client.name, user.email, ask(tx, session_id, request.query))
    if _can_skip(request) and is_allowed(tx, user.id, request.client.client_id, *share):
        return _give(tx, request, user, share)
    return ConsentPage(
        request.client.name,
        _host(request.redirect_uri),
        user.email,
        tuple(sorted(share.scopes)),
        tuple(sorted(share.tenants)),
        ask(tx, session_id, request.query),
    )


def share_of(request: AuthorizationRequest, user: User) -> Share:
    """Work out what the person can give to the client."""
    return Share(request.scopes & user.scopes, request.client.tenants & user.tenants)


def approve(tx: Transaction, request: AuthorizationRequest, user: User) -> Redirect:
    """Remember that the person agrees, and take a code to the client.

    Raises:
        PageError: by now there is nothing to give.
    """
    share = share_of(request, user)
    if not all(share):
        raise PageError("You may not give this application access any more.", 403)
    remember(tx, user.id, request.client.client_id, *share)
    tx.events.append(AuthEvent("consent.granted", request.client.client_id, user.id))
    return _give(tx, request, user, share)


def deny(tx: Transaction, request: AuthorizationRequest, user: User) -> Redirect:
    """Tell the client that the person does not want it."""
    tx.events.append(AuthEvent("consent.denied", request.client.client_id, user.id))
    return Redirect(request.answer(error="access_denied", error_description="the user declined"))


def _give(tx: Transaction, request: AuthorizationRequest, user: User, share: Share) -> Redirect:
    tx.events.append(AuthEvent("code.issued", request.client.client_id, user.id))
    return Redirect(request.answer(code=issue_code(tx, request, user.id, *share)))


def _can_skip(request: AuthorizationRequest) -> bool:
    """Whether an earlier consent counts.

    Not for a program on the user's machine: any other one there can pretend to be it (RFC 8252
    section 8.6).
    """
    return not (request.client.public and is_loopback(request.redirect_uri))


def _host(redirect_uri: str) -> str:
    if is_loopback(redirect_uri):
        return "a program on this computer"
    return redirect_uri.split("/")[2]
