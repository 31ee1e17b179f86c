"""The tree of the settings: every key, its default, its form and its bounds.

Invariant: settings that exist are valid, frozen, and show no secret in their repr; what is wrong
with others is said without quoting their values, which may be secrets. This module reads neither
files nor the environment (``config.py``); it learns the environment that ``env:NAME`` refers to,
and the folder that ``data_dir`` is relative to, from the validation context.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from tellstream import setting_forms as forms
from tellstream.core.prices import PER, Price
from tellstream.providers.hosts import HOSTS, Dialect
from tellstream.setting_forms import (
    ARRAY,
    NOT_EMPTY,
    Money,
    ProviderName,
    Target,
    TenantNumber,
)

Key: TypeAlias = tuple[str, ...]
Problem: TypeAlias = tuple[Key, str]  # what is wrong with which key


def _seconds(default: float, most: float) -> Any:
    return Field(default=float(default), gt=0, le=most, allow_inf_nan=False)


# --- the tree ----------------------------------------------------------------------------------


class _Table(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, hide_input_in_errors=True, allow_inf_nan=False
    )


class StoreSettings(_Table):
    """Where tenants' data lives. The address may hold a password: it is left out of repr."""

    url: Annotated[
        str, forms.form(r"sqlite|postgresql://\S+", 'must be "sqlite" or a postgresql:// address')
    ] = Field(default="sqlite", repr=False)


class EventLogSettings(_Table):
    """Where streams are logged, and for how long after their end. See StoreSettings on ``url``."""

    url: Annotated[
        str,
        forms.form(
            r"memory|sqlite|rediss?://\S+", 'must be "memory", "sqlite" or a redis:// address'
        ),
    ] = Field(default="sqlite", repr=False)
    retention_seconds: float = _seconds(3600, 30 * 86_400)


class ProviderSettings(_Table):
    """One provider. None: what its host's row says."""

    dialect: Dialect | None = None
    base_url: Annotated[str, AfterValidator(forms.base_url)] | None = None
    api_key: SecretStr | None = Field(default=None, repr=False)

    @field_validator("api_key")
    @classmethod
    def _resolve(cls, given: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        """Replace ``env:NAME`` by the variable's value and ``none`` by no key."""
        key = given.get_secret_value() if given else ""
        if given is None or key == "none":
            return None
        if key.startswith("env:"):
            name = key.removeprefix("env:")
            if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name):
                raise ValueError('must be "env:NAME" with the name of an environment variable')
            key = (info.context or {}).get("environ", {}).get(name, "").strip()
            if not key:
                raise ValueError(f"the environment variable {name} is not set")
        if not key or not key.isascii() or not key.isprintable() or " " in key:
            raise ValueError('must be "env:NAME", "none" or a key of visible ASCII characters')
        return SecretStr(key)


class PriceSettings(_Table):
    """What ``per`` tokens of a model cost, in the one currency of the installation."""

    input: Money
    output: Money
    cache_read: Money | None = None
    cache_write: Money | None = None
    per: int = Field(default=PER, ge=1, le=PER)

    @property
    def rates(self) -> Price:
        """The same for calculating."""
        return Price.of(self.input, self.output, self.cache_read, self.cache_write, self.per)


class ModelSettings(_Table):
    """One model by the name callers use, and the ``provider/model`` targets tried in order."""

    targets: Annotated[tuple[Target, ...], ARRAY, NOT_EMPTY]
    price: PriceSettings | None = None


DEFAULT_REQUESTS_PER_MINUTE: Final = 60_000
"""A thousand a second: stops a loop gone wild, nobody else. A number, because every stream says its
limit in the X-RateLimit headers."""


class TenantLimits(_Table):
    """What a tenant, and each of its subjects, may use; None is no limit."""

    requests_per_minute: int = Field(default=DEFAULT_REQUESTS_PER_MINUTE, ge=1, le=10_000_000)
    subject_requests_per_minute: int | None = Field(default=None, ge=1, le=10_000_000)
    concurrent_streams: int | None = Field(default=None, ge=1, le=1_000_000)
    subject_concurrent_streams: int | None = Field(default=None, ge=1, le=1_000_000)
    tokens_per_day: int | None = Field(default=None, ge=1, le=2**53)
    budget_per_month: Money | None = None
    prompt_chars: int = Field(default=2000, ge=1, le=1_000_000)
    history_messages: int = Field(default=20, ge=0, le=10_000)


class TenantSettings(_Table):
    """One tenant. ``models`` are patterns; ``model`` None is the first model they allow."""

    name: str = ""
    model: str | None = None
    models: Annotated[tuple[str, ...], ARRAY, NOT_EMPTY] = ("*",)
    system: str | None = None
    limits: TenantLimits = TenantLimits()


class StreamSettings(_Table):
    """The life of a stream."""

    on_disconnect: Literal["continue", "cancel"] = "continue"
    detach_seconds: float = _seconds(60, 86_400)
    heartbeat_seconds: float = _seconds(15, 3600)
    commit_seconds: float = _seconds(5, 600)
    drain_seconds: float = _seconds(30, 3600)
    lease_seconds: float = _seconds(10, 600)
    max_running: int = Field(default=4000, ge=1, le=1_000_000)
    tenant_share: float = Field(default=0.5, gt=0, le=1)


class RetrySettings(_Table):
    """Further calls per target, before the first content event only."""

    max: int = Field(default=2, ge=0, le=10)


class MetricsSettings(_Table):
    """The metrics listener, ``host:port``; empty: none."""

    listen: Annotated[str, AfterValidator(forms.listen)] = ""


class TimeoutSettings(_Table):
    """How long a provider may take, in seconds."""

    connect: float = _seconds(5, 600)
    headers: float = _seconds(30, 3600)
    first_token: float = _seconds(60, 3600)
    idle: float = _seconds(30, 3600)
    total: float = _seconds(600, 86_400)


class IssuerSettings(_Table):
    """One external authorization server, and the only tenants its tokens may act for."""

    issuer: Annotated[str, AfterValidator(forms.trusted_url)]
    audience: str = Field(min_length=1)
    algorithms: Annotated[
        tuple[Literal["RS256", "PS256", "ES256", "EdDSA", "Ed25519"], ...], ARRAY, NOT_EMPTY
    ] = ("RS256",)
    tenant_claim: str = Field(default="tenants", min_length=1)
    tenants: Annotated[tuple[TenantNumber, ...], ARRAY, NOT_EMPTY]
    jwks_uri: Annotated[str, AfterValidator(forms.trusted_url)] | None = None
    typ_required: bool = True
    scope_claim: Literal["scope", "scp"] = "scope"
    leeway_seconds: int = Field(default=30, ge=0, le=60)
    max_lifetime: int = Field(default=3600, ge=1, le=3600)
    introspection_url: Annotated[str, AfterValidator(forms.trusted_url)] | None = None
    introspection_client_id: str | None = Field(default=None, min_length=1)
    introspection_client_secret: SecretStr | None = Field(default=None, repr=False)

    @field_validator("introspection_client_secret")
    @classmethod
    def _resolve(cls, given: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        return ProviderSettings._resolve(given, info)  # noqa: SLF001 - the same forms

    @model_validator(mode="after")
    def _introspection(self) -> Self:
        """RFC 7662 section 2.1: who asks must say who it is."""
        client = self.introspection_client_id, self.introspection_client_secret
        if any((value is None) != (self.introspection_url is None) for value in client):
            raise ValueError("introspection_url, _client_id and _client_secret go together")
        return self


class AuthSettings(_Table):
    """Who may issue tokens: the embedded authorization server, external ones, or both."""

    embedded: bool = True
    issuers: Annotated[tuple[IssuerSettings, ...], ARRAY] = ()
    operator_tenant: TenantNumber | None = None
    trusted_proxies: Annotated[
        tuple[Annotated[str, AfterValidator(forms.network)], ...], ARRAY
    ] = ()


class Settings(_Table):
    """The whole configuration. ``"public_url" in settings.model_fields_set``: it was given."""

    public_url: Annotated[
        str, AfterValidator(forms.trusted_url), AfterValidator(forms.base_url)
    ] = "http://127.0.0.1:8000"
    data_dir: Annotated[Path, BeforeValidator(forms.folder)] = Field(
        default=Path(".tellstream"), strict=False, validate_default=True
    )
    store: StoreSettings = StoreSettings()
    eventlog: EventLogSettings = EventLogSettings()
    providers: Mapping[ProviderName, ProviderSettings] = {}
    models: Mapping[Annotated[str, Field(min_length=1, max_length=256)], ModelSettings] = {}
    tenants: Mapping[Annotated[TenantNumber, BeforeValidator(forms.tenant_id)], TenantSettings] = {}
    streams: StreamSettings = StreamSettings()
    retries: RetrySettings = RetrySettings()
    metrics: MetricsSettings = MetricsSettings()
    timeouts: TimeoutSettings = TimeoutSettings()
    auth: AuthSettings = AuthSettings()

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, path: Path, info: ValidationInfo) -> Path:
        return Path((info.context or {}).get("cwd", "")) / path


# --- between the keys ----------------------------------------------------------------------------


def contradictions(settings: Settings) -> list[Problem]:
    """Find what is wrong between keys that are each right by themselves."""
    found = list(_provider_problems(settings))
    if settings.providers:
        found += target_problems(settings.models, settings.providers)
    if settings.models:
        found += tenant_problems(settings.tenants, settings.models)
    if not settings.auth.embedded and not settings.auth.issuers:
        found.append((("auth", "embedded"), "must be true when there is no auth.issuers"))
    names = [issuer.issuer for issuer in settings.auth.issuers]
    found += [
        (("auth", "issuers", str(n), "issuer"), "is given twice")
        for n, name in enumerate(names)
        if name in names[:n]
    ]
    found += _issuer_problems(settings.auth, settings.public_url)
    return found


def _issuer_problems(auth: AuthSettings, public_url: str) -> Iterator[Problem]:
    """Find issuers that could be taken for one another."""
    asked: set[int] = set()
    for n, issuer in enumerate(auth.issuers):
        key = ("auth", "issuers", str(n))
        if auth.embedded and issuer.issuer.rstrip("/") == public_url:
            yield (*key, "issuer"), "is public_url, which the embedded authorization server has"
        if issuer.introspection_url is not None:
            both = asked.intersection(issuer.tenants)
            if both:
                reason = f"tenant {min(both)} has an issuer with an introspection_url already"
                yield (*key, "introspection_url"), reason
            asked.update(issuer.tenants)


def _provider_problems(settings: Settings) -> Iterator[Problem]:
    """Find what a provider lacks: a known name needs its key, any other says what it speaks."""
    for name, provider in settings.providers.items():
        key, host = ("providers", name), HOSTS.get(name)
        if host is None and provider.dialect is None:
            yield (*key, "dialect"), f"is required{suggestion(name, HOSTS)}"
        other = host is None or provider.dialect not in (None, host.dialect)
        if provider.base_url is None and (other or not (host and host.base_url)):
            yield (*key, "base_url"), "is required"
        if host and host.key_env and "api_key" not in provider.model_fields_set:
            yield (*key, "api_key"), f'is required; usually "env:{host.key_env}"'


def target_problems(
    models: Mapping[str, ModelSettings], providers: Collection[str]
) -> Iterator[Problem]:
    """Find the targets whose provider is not among ``providers``."""
    for name, model in models.items():
        for n, target in enumerate(model.targets):
            provider = target.partition("/")[0]
            if provider not in providers:
                reason = f"unknown provider{suggestion(provider, providers)}"
                yield ("models", name, "targets", str(n)), reason


def tenant_problems(
    tenants: Mapping[int, TenantSettings], models: Collection[str]
) -> Iterator[Problem]:
    """Find the tenants that may use none of ``models``, or not the one they default to."""
    for number, tenant in tenants.items():
        key, allowed = ("tenants", str(number)), matching(tenant.models, models)
        if not allowed:
            yield (*key, "models"), "match no model"
        elif tenant.model is not None and tenant.model not in allowed:
            reason = f"is not among this tenant's models{suggestion(tenant.model, allowed)}"
            yield (*key, "model"), reason


def matching(patterns: Collection[str], models: Collection[str]) -> list[str]:
    """Return the models that patterns allow, in the order of the patterns, each once."""
    return list(dict.fromkeys(m for p in patterns for m in models if fnmatchcase(m, p)))


def suggestion(name: str, known: Collection[str]) -> str:
    """Return the end of a message that names the closest of ``known``, if one is close."""
    close = get_close_matches(name, known, n=1)
    return f'; did you mean "{close[0]}"?' if close else ""
