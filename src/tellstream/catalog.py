"""What is on offer: which models exist, who provides them, and which tenant may use them.

The catalog is computed once from the settings, the environment and the table of hosts. It fills
in what the settings leave open: without providers, those whose keys are in the environment, and
without any of these the built-in simulator; without models, those of the hosts' rows; without
tenants, tenant 1.

Invariant: every model has at least one target, and every tenant at least one model. Pure: it
opens nothing and knows no dialect; the caller says which dialects are supported.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from pydantic import SecretStr

from tellstream.config import ConfigError, dotted
from tellstream.core.prices import Price
from tellstream.providers.hosts import GENERIC, HOSTS, Dialect, Host, host_for
from tellstream.settings import (
    Problem,
    Settings,
    TenantSettings,
    matching,
    target_problems,
    tenant_problems,
)

SIMULATOR: Final = "simulator"

IMPLICIT_TENANTS: Final[Mapping[int, TenantSettings]] = {1: TenantSettings(name="Default")}
"""The only tenant of a server without [tenants]."""


@dataclass(frozen=True, slots=True)
class ProviderConfig:
    """One provider with everything that is needed to call it.

    Attributes:
        name: the configured name.
        dialect: what it speaks.
        base_url: address without trailing slash; empty for the built-in simulator until
            ``Catalog.with_base_url`` says where it listens.
        api_key: the key, or None if it needs none.
        host: the row of its host.
    """

    name: str
    dialect: Dialect
    base_url: str
    api_key: SecretStr | None
    host: Host


@dataclass(frozen=True, slots=True)
class Target:
    """One place that can answer for a model: a provider, and the provider's name of the model."""

    provider: ProviderConfig
    model: str


@dataclass(frozen=True, slots=True)
class Catalog:
    """Models by the name callers use, each with its targets in order; and the tenants.

    A tenant that is not in ``tenants`` does not exist: the methods raise KeyError.

    Attributes:
        models: by the name callers use.
        tenants: by number.
        prices: of those models that have one.
        in_file: the tenants that were configured, not made up.
    """

    models: Mapping[str, tuple[Target, ...]]
    tenants: Mapping[int, TenantSettings]
    prices: Mapping[str, Price] = field(default_factory=dict)
    in_file: frozenset[int] = frozenset()

    @property
    def providers(self) -> dict[str, ProviderConfig]:
        """The providers that some model uses, by name."""
        return {t.provider.name: t.provider for targets in self.models.values() for t in targets}

    @property
    def secrets(self) -> list[str]:
        """The keys of the providers: what no log line may show."""
        keys = (provider.api_key for provider in self.providers.values())
        return [key.get_secret_value() for key in keys if key is not None]

    @property
    def needs_simulator(self) -> bool:
        """Whether the built-in simulator answers, and has no address yet."""
        simulator = self.providers.get(SIMULATOR)
        return simulator is not None and not simulator.base_url

    def models_for(self, tenant: int) -> list[str]:
        """Return the models that a tenant may use, in the order of its patterns."""
        return matching(self.tenants[tenant].models, self.models)

    def default_model(self, tenant: int) -> str:
        """Return the model for a tenant's requests that name none."""
        return self.tenants[tenant].model or self.models_for(tenant)[0]

    def with_base_url(self, provider: str, base_url: str) -> "Catalog":
        """Return the same catalog with another address of one provider."""

        def moved(target: Target) -> Target:
            if target.provider.name != provider:
                return target
            return replace(target, provider=replace(target.provider, base_url=base_url))

        return replace(self, models={m: tuple(map(moved, t)) for m, t in self.models.items()})


def build_catalog(
    settings: Settings,
    environ: Mapping[str, str],
    *,
    dialects: Collection[str],
    simulator_models: Sequence[str],
) -> Catalog:
    """Compute what a server with these settings offers.

    Args:
        settings: the loaded settings.
        environ: the environment, for the hosts' own variables (``XAI_API_KEY``, ``OLLAMA_HOST``).
        dialects: the dialects that are supported.
        simulator_models: the models of the built-in simulator, the first by default.

    Raises:
        ConfigError: no model can be offered, or one that was configured cannot.
    """
    providers = (
        _configured(settings, environ, dialects)
        or _announced(environ, dialects)
        or _simulator(simulator_models)
    )
    if settings.models:
        _refuse(target_problems(settings.models, providers))
        models = {
            name: tuple(_target(providers, target) for target in model.targets)
            for name, model in settings.models.items()
        }
    else:
        models = _default_models(providers)
    tenants = settings.tenants or IMPLICIT_TENANTS
    _refuse(tenant_problems(tenants, models))
    prices = {n: model.price.rates for n, model in settings.models.items() if model.price}
    return Catalog(models, tenants, prices, frozenset(settings.tenants))


def _configured(
    settings: Settings, environ: Mapping[str, str], dialects: Collection[str]
) -> dict[str, ProviderConfig]:
    found = {}
    for name, given in settings.providers.items():
        host = host_for(name, given.base_url)
        dialect = given.dialect or host.dialect
        if dialect not in dialects:
            _refuse([(("providers", name, "dialect"), f"{dialect} is not supported")])
        base_url = given.base_url or _address(host, environ)
        found[name] = ProviderConfig(name, dialect, base_url, given.api_key, host)
    return found


def _announced(environ: Mapping[str, str], dialects: Collection[str]) -> dict[str, ProviderConfig]:
    found = {}
    for name, host in HOSTS.items():
        if host.dialect in dialects and host.is_announced(environ):
            key = environ[host.key_env].strip() if host.key_env else ""
            secret = SecretStr(key) if key else None
            base_url = _address(host, environ)
            found[name] = ProviderConfig(name, host.dialect, base_url, secret, host)
    return found


def _simulator(models: Sequence[str]) -> dict[str, ProviderConfig]:
    host = replace(GENERIC, name=SIMULATOR, default_models=tuple(models))
    return {SIMULATOR: ProviderConfig(SIMULATOR, host.dialect, "", None, host)}


def _address(host: Host, environ: Mapping[str, str]) -> str:
    try:
        return host.address(environ) or ""
    except ValueError as error:
        raise ConfigError([f"environment: {host.address_env}: {error}"]) from None


def _target(providers: Mapping[str, ProviderConfig], target: str) -> Target:
    provider, _, model = target.partition("/")
    return Target(providers[provider], model)


def _default_models(providers: Mapping[str, ProviderConfig]) -> dict[str, tuple[Target, ...]]:
    """Offer the models of the hosts' rows; one that several hosts have gets several targets."""
    models: dict[str, tuple[Target, ...]] = {}
    for name, provider in providers.items():
        if not provider.host.default_models:
            example = f'[models."NAME"] with targets = ["{name}/MODEL"]'
            _refuse([(("providers", name), f"has no models of its own; add {example}")])
        for model in provider.host.default_models:
            models[model] = (*models.get(model, ()), Target(provider, model))
    return models


def _refuse(problems: Iterable[Problem]) -> None:
    found = list(problems)
    if found:
        raise ConfigError([f"configuration: {dotted(key)}: {reason}" for key, reason in found])
