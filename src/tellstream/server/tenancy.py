"""The tenants as requests need them: those of the configuration, and those of the store.

A tenant of the configuration file wins over a stored one with the same number, which is then said
in the log. A tenant's own key for a provider takes the place of the configured one. What is stored
can change while the server runs: the table is computed anew and replaced in one step.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import structlog
from pydantic import SecretStr, ValidationError

from tellstream.catalog import Catalog, ProviderConfig
from tellstream.core.prices import Price, amount
from tellstream.limits.base import Caps
from tellstream.providers.base import Dialect, Endpoint
from tellstream.settings import TenantLimits, TenantSettings, matching, tenant_problems
from tellstream.storage.tenants import StoredTenant
from tellstream.streams.target import Target

log = structlog.get_logger("tellstream.tenants")

Keys = Mapping[tuple[int, str], SecretStr | None]
"""The tenants' own keys, by tenant and provider; None: there is one that cannot be read."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """One tenant as requests need it, worked out once.

    Attributes:
        settings: its configuration.
        models: what it may use, its default first.
        prices: of those models that have one.
        caps: its limits, for counting.
    """

    settings: TenantSettings
    models: Mapping[str, tuple[Target, ...]]
    prices: Mapping[str, Price] = field(default_factory=dict)
    caps: Caps = field(default_factory=Caps)

    @property
    def default_model(self) -> str:
        """The model of requests that name none."""
        return next(iter(self.models))


class Tenancy:
    """All tenants.

    Args:
        catalog: what the configuration offers, with the address of the simulator.
        dialect: makes a dialect by its name.

    Attributes:
        tenants: by number.
    """

    def __init__(self, catalog: Catalog, dialect: Callable[[str], Dialect]) -> None:
        self._catalog = catalog
        spoken = {t.provider.dialect for targets in catalog.models.values() for t in targets}
        self._dialects = {name: dialect(name) for name in spoken}
        self._warned: frozenset[tuple[int, str]] = frozenset()
        self.tenants: Mapping[int, Tenant] = {}
        self.update((), {})

    @property
    def names(self) -> dict[int, str]:
        """What tenants are called, for people."""
        return {number: tenant.settings.name for number, tenant in self.tenants.items()}

    @property
    def in_file(self) -> frozenset[int]:
        """The tenants of the configuration file."""
        return self._catalog.in_file

    def targets(self, model: str) -> tuple[Target, ...]:
        """Name the targets of a model, with the configured keys."""
        return self._targets(model, {})

    def update(self, stored: Iterable[StoredTenant], keys: Keys) -> None:
        """Compute the table anew.

        Args:
            stored: the tenants of the store.
            keys: the tenants' own keys.
        """
        settings = dict(self._catalog.tenants)
        warnings: dict[tuple[int, str], str] = {}
        for tenant in stored:
            if tenant.id in self._catalog.in_file:
                warnings[tenant.id, "tenant.shadowed"] = "the configuration file has one"
                continue
            settings.pop(tenant.id, None)  # the tenant that is there without any configuration
            if tenant.suspended_at is not None:
                continue
            try:
                settings[tenant.id] = self._checked(tenant)
            except ValueError as error:
                warnings[tenant.id, "tenant.unusable"] = str(error)
        self._warn(warnings)
        shared = {name: self._targets(name, {}) for name in self._catalog.models}
        own: dict[int, dict[str, SecretStr | None]] = {}
        for (number, provider), key in keys.items():
            own.setdefault(number, {})[provider] = key
        self.tenants = {
            number: self._tenant(given, shared, own.get(number))
            for number, given in settings.items()
        }

    def _checked(self, tenant: StoredTenant) -> TenantSettings:
        """Read the settings of a stored tenant.

        Raises:
            ValueError: they were stored by another version, or no model is left for them.
        """
        try:
            settings = TenantSettings.model_validate({**tenant.settings, "name": tenant.name})
        except ValidationError as error:
            raise ValueError(f"its settings are not valid: {error.error_count()} errors") from error
        problems = [
            f"{'.'.join(key[2:])} {reason}"
            for key, reason in tenant_problems({tenant.id: settings}, self._catalog.models)
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return settings

    def _warn(self, warnings: Mapping[tuple[int, str], str]) -> None:
        """Say once what is wrong, not at each change of anything."""
        for (number, event), reason in warnings.items():
            if (number, event) not in self._warned:
                log.warning(event, tenant=number, reason=reason)
        self._warned = frozenset(warnings)

    def _tenant(
        self,
        settings: TenantSettings,
        shared: Mapping[str, tuple[Target, ...]],
        keys: Mapping[str, SecretStr | None] | None,
    ) -> Tenant:
        allowed = matching(settings.models, self._catalog.models)
        names = dict.fromkeys((settings.model or allowed[0], *allowed))
        return Tenant(
            settings,
            {name: self._targets(name, keys) if keys else shared[name] for name in names},
            {name: self._catalog.prices[name] for name in names if name in self._catalog.prices},
            caps(settings.limits),
        )

    def _targets(self, model: str, keys: Mapping[str, SecretStr | None]) -> tuple[Target, ...]:
        return tuple(
            Target(
                _endpoint(target.provider, keys),
                self._dialects[target.provider.dialect],
                target.provider.dialect,
                target.model,
                keys.get(target.provider.name, target) is not None,
            )
            for target in self._catalog.models[model]
        )


def caps(limits: TenantLimits) -> Caps:
    """Translate the limits of the configuration."""
    budget = limits.budget_per_month
    return Caps(
        requests_per_minute=limits.requests_per_minute,
        subject_requests_per_minute=limits.subject_requests_per_minute,
        concurrent_streams=limits.concurrent_streams,
        subject_concurrent_streams=limits.subject_concurrent_streams,
        tokens_per_day=limits.tokens_per_day,
        budget_per_month=None if budget is None else amount(budget),
    )


def _endpoint(provider: ProviderConfig, keys: Mapping[str, SecretStr | None]) -> Endpoint:
    secret = keys.get(provider.name, provider.api_key)
    key = None if secret is None else secret.get_secret_value()
    return Endpoint(provider.name, provider.base_url, key, provider.host)
