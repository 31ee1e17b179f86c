"""Tenants in the store: made, changed, suspended.

An administrator of a tenant may change how it looks and what it says (name, models, system prompt),
the operator everything.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from pydantic import ValidationError

from tellstream.administration.actor import Actor
from tellstream.administration.desk import Act, Desk
from tellstream.administration.offer import Offer
from tellstream.administration.problems import invalid, refusal
from tellstream.auth.tenants import MAX_TENANT
from tellstream.core.errors import RequestError
from tellstream.settings import TenantSettings, tenant_problems
from tellstream.storage import tenants as stored_tenants
from tellstream.storage.tenants import StoredTenant

MAX_NAME_CHARS: Final = 100
MAX_PATTERNS: Final = 100
"""Of models, of one tenant: every worker matches them with all models at each change."""
MAX_PATTERN_CHARS: Final = 256
"""As long as the longest name of a model."""
_NAME: Final = "name"
_LIMITS: Final = "limits"


class Tenant(msgspec.Struct, frozen=True):
    """A stored tenant, as it is shown.

    Attributes:
        id: its number.
        name: for people.
        model: its default; None: the first that it may use.
        models: patterns.
        system: its instructions, or None.
        limits: those that were set; the others have their defaults.
        created_at: Unix seconds.
        suspended_at: Unix seconds; None: it is not suspended.
        shadowed_by_file: the configuration file has a tenant with this number, which wins.
    """

    id: int
    name: str
    model: str | None
    models: list[str]
    system: str | None
    limits: Mapping[str, Any]
    created_at: int
    suspended_at: int | None
    shadowed_by_file: bool


class Tenants:
    """Acts on tenants.

    Args:
        desk: where they are done.
        offer: what the configuration has.
    """

    def __init__(self, desk: Desk, offer: Offer) -> None:
        self._desk = desk
        self._offer = offer

    async def list(self, actor: Actor, after: int, limit: int) -> tuple[list[Tenant], int | None]:
        """List tenants by number.

        Args:
            actor: sees all as the operator, else one.
            after: only those with a higher number.
            limit: at most so many.

        Returns:
            Tenants, and the number to go on after; None if that was all.

        Raises:
            ServerError: the store cannot be used.
        """
        found = await self._desk.read(
            actor, lambda act: stored_tenants.listed(act.connection, actor.ctx, after, limit + 1)
        )
        more = found[limit - 1].id if len(found) > limit else None
        return [self._shown(tenant) for tenant in found[:limit]], more

    async def get(self, actor: Actor, number: int) -> Tenant:
        """Show a tenant.

        Raises:
            RequestError: ``not_found``.
            ServerError: the store cannot be used.
        """
        return self._shown(await self._desk.read(actor, lambda act: _stored(act, number)))

    async def create(self, actor: Actor, number: int, values: Mapping[str, Any]) -> Tenant:
        """Store a new tenant.

        Args:
            actor: must be the operator.
            number: its own.
            values: name, model, models, system, limits, as in the configuration file; what is
                missing or null has its default.

        Raises:
            RequestError: ``forbidden``; ``validation_error``; ``conflict``, there is one already.
            ServerError: the store cannot be used.
        """
        actor.require_operator()
        if not 1 <= number <= MAX_TENANT:
            raise invalid("id", "must be a whole number from 1 to 2^63-1")
        name, settings = self._checked(number, _merged({}, values))

        def work(act: Act) -> StoredTenant:
            tenant = StoredTenant(number, name, settings, int(act.now))
            if not stored_tenants.insert(act.connection, actor.ctx, tenant):
                raise RequestError("conflict", "There is a tenant with this number already.")
            shadowed = number in self._offer.in_file
            act.record("tenant.created", str(number), number, shadowed=shadowed)
            return tenant

        return self._shown(await self._desk.act(actor, work))

    async def update(self, actor: Actor, number: int, changes: Mapping[str, Any]) -> Tenant:
        """Change what is given of a tenant, and leave the rest as it is.

        Args:
            actor: an administrator of the tenant; must be the operator to change limits.
            number: the tenant's.
            changes: as for ``create``; null stands for the default, also for a single limit.

        Raises:
            RequestError: ``not_found``; ``forbidden``; ``validation_error``.
            ServerError: the store cannot be used.
        """
        if _LIMITS in changes:
            actor.require_operator()

        def work(act: Act) -> StoredTenant:
            before = _stored(act, number, for_update=True)
            merged = _merged({**before.settings, _NAME: before.name}, changes)
            name, settings = self._checked(number, merged)
            after = msgspec.structs.replace(before, name=name, settings=settings)
            stored_tenants.put(act.connection, actor.ctx, after)
            changed = " ".join(sorted(changes))
            shadowed = number in self._offer.in_file
            act.record("tenant.updated", str(number), number, changed=changed, shadowed=shadowed)
            return after

        return self._shown(await self._desk.act(actor, work))

    async def suspend(self, actor: Actor, number: int) -> Tenant:
        """Let a tenant do nothing any more until ``resume``.

        Raises:
            RequestError: ``forbidden``; ``not_found``.
            ServerError: the store cannot be used.
        """
        return await self._set_suspended(actor, number, suspended=True)

    async def resume(self, actor: Actor, number: int) -> Tenant:
        """Let a suspended tenant go on.

        Raises:
            RequestError: ``forbidden``; ``not_found``.
            ServerError: the store cannot be used.
        """
        return await self._set_suspended(actor, number, suspended=False)

    async def _set_suspended(self, actor: Actor, number: int, *, suspended: bool) -> Tenant:
        actor.require_operator()

        def work(act: Act) -> StoredTenant:
            before = _stored(act, number, for_update=True)
            if (before.suspended_at is not None) == suspended:
                return before
            at = int(act.now) if suspended else None
            stored_tenants.suspend(act.connection, actor.ctx, number, at)
            act.record("tenant.suspended" if suspended else "tenant.resumed", str(number), number)
            return msgspec.structs.replace(before, suspended_at=at)

        return self._shown(await self._desk.act(actor, work))

    def _checked(self, number: int, values: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Check a tenant as the configuration file's are; gives its name and its settings.

        Raises:
            RequestError: ``validation_error``.
        """
        try:
            settings = TenantSettings.model_validate(values)
        except ValidationError as error:
            raise refusal(error) from None  # whose text may hold what was sent
        if len(settings.name) > MAX_NAME_CHARS or not settings.name.isprintable():
            raise invalid(_NAME, f"must have at most {MAX_NAME_CHARS} printable characters")
        if len(settings.models) > MAX_PATTERNS:
            raise invalid("models", f"must have at most {MAX_PATTERNS} items")
        if any(not 0 < len(pattern) <= MAX_PATTERN_CHARS for pattern in settings.models):
            raise invalid("models", f"must be names with 1 to {MAX_PATTERN_CHARS} characters")
        problems = tenant_problems({number: settings}, self._offer.models)
        # Without the end of the text, which names models that the caller need not know.
        details = tuple((".".join(key[2:]), text.split(";")[0]) for key, text in problems)
        if details:
            raise RequestError("validation_error", details=details)
        return settings.name, settings.model_dump(mode="json", exclude_unset=True, exclude={_NAME})

    def _shown(self, tenant: StoredTenant) -> Tenant:
        settings = tenant.settings
        return Tenant(
            id=tenant.id,
            name=tenant.name,
            model=settings.get("model"),
            models=list(settings.get("models", ["*"])),
            system=settings.get("system"),
            limits=settings.get(_LIMITS, {}),
            created_at=tenant.created_at,
            suspended_at=tenant.suspended_at,
            shadowed_by_file=tenant.id in self._offer.in_file,
        )


def _stored(act: Act, number: int, *, for_update: bool = False) -> StoredTenant:
    found = stored_tenants.get(act.connection, act.actor.ctx, number, for_update=for_update)
    if found is None:
        raise RequestError("not_found")
    return found


def _merged(before: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Put changes into settings; null takes a key away, and so gives it its default."""
    merged = {**before, **changes}
    limits = changes.get(_LIMITS)
    if isinstance(limits, Mapping):
        kept = {**before.get(_LIMITS, {}), **limits}
        merged[_LIMITS] = {name: value for name, value in kept.items() if value is not None}
    return {name: value for name, value in merged.items() if value is not None}
