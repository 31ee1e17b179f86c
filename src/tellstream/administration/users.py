"""Users: made, given another password, and deleted with everything they granted."""

from collections.abc import Collection

from pydantic import SecretStr

from tellstream.administration.actor import Actor
from tellstream.administration.desk import Act, Desk
from tellstream.administration.problems import invalid
from tellstream.auth import grants, sessions, users
from tellstream.auth.passwords import Passwords
from tellstream.auth.positions import Position
from tellstream.auth.users import User
from tellstream.core.errors import RequestError


class Users:
    """Acts on users. An administrator of a tenant has those that act for this tenant alone.

    Args:
        desk: where they are done.
        passwords: the threads that hash.
    """

    def __init__(self, desk: Desk, passwords: Passwords) -> None:
        self._desk = desk
        self._passwords = passwords

    async def list(
        self, actor: Actor, after: Position | None, limit: int
    ) -> tuple[list[User], Position | None]:
        """List users, oldest first.

        Args:
            actor: who asks.
            after: where to go on.
            limit: at most so many.

        Returns:
            Users, and where to go on; None if that was all.

        Raises:
            ServerError: the store cannot be used.
        """
        found = await self._desk.read(
            actor, lambda act: users.page(act, actor.ctx, after, limit + 1)
        )
        last = found[limit - 1] if len(found) > limit else None
        return found[:limit], None if last is None else Position(last.created_at, last.id)

    async def get(self, actor: Actor, user_id: str) -> User:
        """Show a user.

        Raises:
            RequestError: ``not_found``.
            ServerError: the store cannot be used.
        """
        return await self._desk.read(actor, lambda act: _managed(act, user_id))

    async def find(self, actor: Actor, email: str) -> User:
        """Show the user with an email address.

        Raises:
            RequestError: ``not_found``; ``validation_error``, it is no address.
            ServerError: the store cannot be used.
        """
        normalised = _email(email)

        def work(act: Act) -> User:
            found = users.managed_by_email(act, actor.ctx, normalised)
            if found is None:
                raise RequestError("not_found")
            return found

        return await self._desk.read(actor, work)

    async def create(
        self,
        actor: Actor,
        email: str,
        password: SecretStr,
        tenants: Collection[int],
        scopes: Collection[str] = users.DEFAULT_SCOPES,
        *,
        must_change: bool = False,
    ) -> User:
        """Create a user.

        Args:
            actor: who does it.
            email: to log in with.
            password: the first one.
            tenants: that the user may act for.
            scopes: that the user may pass on.
            must_change: the first login asks for another password.

        Raises:
            RequestError: ``forbidden``, tenants that the actor does not manage;
                ``validation_error``; ``conflict``, somebody has this email.
            ServerError: the store cannot be used, or too many passwords are worked on.
        """
        actor.require_tenants(tenants)
        normalised = _email(email)
        text = _checked(password, normalised)
        now = self._desk.clock()
        make = users.new_user
        try:  # before the hash, which costs
            make(normalised, "", scopes, tenants, must_change=must_change, now=now)
        except ValueError as error:
            raise invalid("user", str(error)) from error
        hashed = await self._passwords.hash(text)
        user = make(normalised, hashed, scopes, tenants, must_change=must_change, now=now)

        def work(act: Act) -> None:
            try:
                users.insert_user(act, user)
            except users.EmailTakenError:
                raise RequestError("conflict", "There is a user with this email.") from None
            act.record("user.created", user.id, _whose(user))

        await self._desk.act(actor, work)
        return user

    async def set_password(
        self, actor: Actor, user_id: str, password: SecretStr, *, must_change: bool = False
    ) -> None:
        """Give a user another password; sessions, and what the user granted, end.

        Raises:
            RequestError: ``not_found``; ``validation_error``.
            ServerError: the store cannot be used, or too many passwords are worked on.
        """
        user = await self.get(actor, user_id)
        hashed = await self._passwords.hash(_checked(password, user.email))

        def work(act: Act) -> None:
            found = _managed(act, user_id)  # again: the hash took a while
            users.set_password(act, user_id, hashed, must_change=must_change)
            ended = _end(act, user_id)
            act.record("user.reset", user_id, _whose(found), grants=ended)

        await self._desk.act(actor, work)

    async def delete(self, actor: Actor, user_id: str) -> None:
        """Delete a user, with sessions and everything the user granted.

        Raises:
            RequestError: ``not_found``.
            ServerError: the store cannot be used.
        """

        def work(act: Act) -> None:
            user = _managed(act, user_id)
            users.delete_user(act, user_id)
            act.record("user.deleted", user_id, _whose(user), grants=_end(act, user_id))

        await self._desk.act(actor, work)


def _end(act: Act, user_id: str) -> int:
    """End everything that a user is logged in to; returns how many grants that were."""
    sessions.end_sessions_of(act, user_id)
    return grants.end_grants_of(act, user_id)


def _managed(act: Act, user_id: str) -> User:
    found = users.managed(act, act.actor.ctx, user_id)
    if found is None:
        raise RequestError("not_found")
    return found


def _email(text: str) -> str:
    try:
        return users.normalised_email(text)
    except ValueError as error:
        raise invalid("email", str(error)) from error


def _checked(password: SecretStr, email: str) -> str:
    text = password.get_secret_value()
    try:
        text.encode()
        users.check_new_password(text, email)
    except UnicodeEncodeError:
        raise invalid("password", "Use ordinary characters.") from None
    except ValueError as error:
        raise invalid("password", str(error)) from error
    return text


def _whose(user: User) -> int | None:
    return next(iter(user.tenants)) if len(user.tenants) == 1 else None
