"""The embedded authorization server: its endpoints, each as one or a few transactions.

This is where the rules meet the store, the clock and the password threads. It takes raw requests
and gives values; HTTP and HTML are the shell's.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

import structlog

from tellstream.auth import consents, interaction, login_throttle, sessions, transactions, users
from tellstream.auth.authorization_request import PageError, RedirectError, parse
from tellstream.auth.client_store import StoredClients
from tellstream.auth.clients import Clients
from tellstream.auth.interaction import LoginPage, PasswordPage, Redirect, Step
from tellstream.auth.issuers import Issuer
from tellstream.auth.keys import SigningKeys
from tellstream.auth.opaque import new_secret
from tellstream.auth.own_page import OwnPage
from tellstream.auth.passwords import Passwords
from tellstream.auth.revocations import Revocations
from tellstream.auth.sweep import SWEEP_SECONDS, sweep
from tellstream.auth.token_endpoint import (
    TokenResponse,
    answer_revocation_request,
    answer_token_request,
)
from tellstream.auth.token_grants import TokenContext
from tellstream.auth.transactions import Audit, AuthEvent, Store, Transaction
from tellstream.core.errors import ServerError

WRONG: Final = "That email and password do not belong together."
"""The same whichever of them is wrong (A14)."""
TOO_OFTEN: Final = "Too many tries. Wait a little, then try again."
STALE: Final = "This page is too old. Go back to the application and start again."

log = structlog.get_logger("tellstream.auth")

Headers = Sequence[tuple[bytes, bytes]]
T = TypeVar("T")


class Answer(NamedTuple):
    """What to show, and the session to show it in.

    Attributes:
        step: what comes next.
        session_id: of this browser from now on.
    """

    step: Step
    session_id: str


class AuthorizationServer:
    """The embedded authorization server.

    Args:
        store: where everything is kept.
        issuer: our own row.
        keys: that sign.
        passwords: the threads that hash; closed by whoever made them.
        clock: Unix seconds.
        audit: records what an auditor wants to know.
        page: the server's own pages, which may log people in without registration; or None.

    Attributes:
        issuer: our own row.
        keys: that sign.
        revocations: for the verifier.
    """

    def __init__(
        self,
        store: Store,
        issuer: Issuer,
        keys: SigningKeys,
        passwords: Passwords,
        clock: Callable[[], float],
        audit: Audit = transactions.log_event,
        page: OwnPage | None = None,
    ) -> None:
        self._store = store
        self.issuer = issuer
        self._passwords = passwords
        self._clock = clock
        self._audit = audit
        self._page = page
        self._sweeping: asyncio.Task[None] | None = None
        self.keys = keys
        self.revocations = Revocations(store, clock)

    async def start(self) -> None:
        """Begin to follow the revocations and to delete what is old.

        Raises:
            ServerError: the store cannot be read.
        """
        await self.revocations.start()
        self._sweeping = asyncio.get_running_loop().create_task(self._sweep())

    async def close(self) -> None:
        """Stop that. May be called again."""
        task, self._sweeping = self._sweeping, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        await self.revocations.close()

    async def token(self, headers: Headers, query_string: bytes, body: bytes) -> TokenResponse:
        """Answer one POST to the token endpoint.

        Raises:
            ServerError: the store cannot be used.
        """
        return await self._run(
            lambda tx: answer_token_request(self._context(tx), headers, query_string, body, tx.now)
        )

    async def revoke(self, headers: Headers, query_string: bytes, body: bytes) -> TokenResponse:
        """Answer one POST to the revocation endpoint.

        Raises:
            ServerError: the store cannot be used.
        """
        return await self._run(
            lambda tx: answer_revocation_request(self._context(tx), headers, query_string, body)
        )

    async def begin(self, query_string: bytes, session_id: str | None) -> Answer:
        """Answer one GET of the authorization endpoint.

        Args:
            query_string: raw.
            session_id: from the cookie, or None.

        Raises:
            PageError: the person must be told, and the client must not.
            ServerError: the store cannot be used.
        """
        browser = session_id or new_secret()

        def work(tx: Transaction) -> Step:
            request = parse(query_string, self._clients(tx), self.issuer.issuer)
            return interaction.next_step(tx, request, session_id)

        return Answer(await self._step(work), browser)

    async def submit(
        self,
        query_string: bytes,
        session_id: str | None,
        form: Mapping[str, str],
        address: str,
    ) -> Answer:
        """Answer one POST to the authorization endpoint: a form of one of its pages.

        Args:
            query_string: raw.
            session_id: from the cookie, or None.
            form: the fields.
            address: of the client, for the throttle.

        Raises:
            PageError: as for ``begin``; 403 for a form that this browser was not given.
            ServerError: the store cannot be used, or too many log in at once.
        """
        if session_id is None or not sessions.csrf_is_right(session_id, form.get("csrf", "")):
            raise PageError(STALE, 403)  # A12
        match form.get("action"):
            case "login":
                return await self._log_in(query_string, session_id, form, address)
            case "password":
                return await self._change_password(query_string, session_id, form)
            case "approve" | "deny" | "switch" as answer:
                return await self._consent(session_id, form.get("request", ""), answer)
            case _:
                raise PageError("The request is malformed.")

    async def log_out(self, session_id: str | None) -> None:
        """End the login of one browser; its tokens are revoked by themselves.

        Args:
            session_id: from the cookie, or None.

        Raises:
            ServerError: the store cannot be used.
        """
        await self._run(lambda tx: sessions.end_session(tx, session_id))

    async def _log_in(
        self, query_string: bytes, session_id: str, form: Mapping[str, str], address: str
    ) -> Answer:
        typed, password = form.get("email", ""), form.get("password", "")
        email = _normalised(typed)

        def attempt(tx: Transaction) -> tuple[LoginPage, int, users.User | None]:
            request = parse(query_string, self._clients(tx), self.issuer.issuer)
            page = LoginPage(request.client.name, request.query, typed[: users.MAX_EMAIL_CHARS])
            wait = login_throttle.attempt(tx, email or typed, address)
            found = users.user_by_email(tx, email) if email and not wait else None
            return page, wait, found

        try:
            page, wait, user = await self._run(attempt)
        except RedirectError as error:
            return Answer(Redirect(error.location), session_id)
        if wait:
            late = page._replace(problem=TOO_OFTEN, status=429, retry_after=wait)
            return Answer(late, session_id)
        stored = None if user is None else user.password_hash
        right = await self._passwords.verify(stored, password)

        def finish(tx: Transaction) -> str | None:
            known = None if user is None else users.user_by_id(tx, user.id)
            if not right or known is None or known.password_hash != stored:
                tx.events.append(AuthEvent("login.refused", user=user.id if user else ""))
                return None
            login_throttle.forget_account(tx, email)
            tx.events.append(AuthEvent("login.accepted", user=known.id))
            return sessions.start_session(tx, known.id, session_id)

        started = await self._run(finish)
        if started is None:
            return Answer(page._replace(problem=WRONG, status=403), session_id)
        return Answer(interaction.again(page.query), started)

    async def _change_password(
        self, query_string: bytes, session_id: str, form: Mapping[str, str]
    ) -> Answer:
        def look(tx: Transaction) -> tuple[str, users.User | None]:
            request = parse(query_string, self._clients(tx), self.issuer.issuer)
            return request.query, interaction.logged_in(tx, session_id)

        try:
            query, user = await self._run(look)
        except RedirectError as error:
            return Answer(Redirect(error.location), session_id)
        if user is None or not user.must_change:
            return Answer(interaction.again(query), session_id)
        page = PasswordPage(user.email, query, status=422)
        password = form.get("password", "")
        try:
            users.check_new_password(password, user.email)
        except ValueError as error:
            return Answer(page._replace(problem=str(error)), session_id)
        if form.get("repeat", "") != password:
            differs = "This is not the same as above."
            return Answer(page._replace(problem=differs, field="repeat"), session_id)
        if await self._passwords.verify(user.password_hash, password):
            return Answer(page._replace(problem="That is the password you have."), session_id)
        hashed = await self._passwords.hash(password)

        def change(tx: Transaction) -> str:
            users.set_password(tx, user.id, hashed)
            sessions.end_sessions_of(tx, user.id)
            tx.events.append(AuthEvent("password.changed", user=user.id))
            return sessions.start_session(tx, user.id, None)

        return Answer(interaction.again(query), await self._run(change))

    async def _consent(self, session_id: str, request_id: str, answer: str) -> Answer:
        def work(tx: Transaction) -> Step:
            user = interaction.logged_in(tx, session_id)
            query = consents.asked(tx, session_id, request_id)
            if user is None or user.must_change or query is None:
                raise PageError(STALE, 403)  # A12: another session was asked
            if answer == "switch":
                sessions.end_session(tx, session_id)
                return interaction.again(query)
            request = parse(query.encode(), self._clients(tx), self.issuer.issuer)
            decided = interaction.approve if answer == "approve" else interaction.deny
            return decided(tx, request, user)

        step = await self._step(work)
        return Answer(step, new_secret() if answer == "switch" else session_id)

    def _clients(self, tx: Transaction) -> Clients:
        registered = StoredClients(tx)
        return registered if self._page is None else self._page.beside(registered)

    def _context(self, tx: Transaction) -> TokenContext:
        return TokenContext(self.issuer, self.keys, self._clients(tx), transaction=tx)

    async def _step(self, work: Callable[[Transaction], Step]) -> Step:
        try:
            return await self._run(work)
        except RedirectError as error:
            return Redirect(error.location)

    async def _run(self, work: Callable[[Transaction], T]) -> T:
        result, revoked = await transactions.run(self._store, self._clock, self._audit, work)
        self.revocations.add(revoked)
        return result

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                await self._run(sweep)
            except ServerError as error:
                log.warning("auth.sweep_failed", reason=error.reason)


def _normalised(email: str) -> str:
    """Give the normalised email, or "" for what is none."""
    try:
        return users.normalised_email(email)
    except ValueError:
        return ""
