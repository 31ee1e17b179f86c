from pathlib import Path

import pytest

from tellstream.config import ConfigError, Settings, load_settings

LOCAL = 'dialect = "openai-chat"\nbase_url = "http://127.0.0.1:8080/v1"\n'
QWEN = f'[providers.local]\n{LOCAL}[models.qwen]\ntargets = ["local/a"]\n'
ISSUER = '[[auth.issuers]]\nissuer = "https://h"\naudience = "a"\ntenants = [1]\n'
DIALECTS = "'openai-chat', 'openai-responses', 'anthropic-messages', 'gemini' or 'ollama'"
KEY_FORMS = '"env:NAME", "none" or a key of visible ASCII characters'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def load(folder: Path, toml: str) -> Settings:
    (folder / "tellstream.toml").write_text(toml, "utf-8")
    return load_settings(None, {}, folder)


def refusal(folder: Path, toml: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(folder, toml)
    return str(caught.value)


def test_limits_that_a_tenant_omits_are_the_documented_ones(folder: Path) -> None:
    limits = load(folder, "[tenants.7]").tenants[7].limits
    assert limits.model_dump() == {
        "requests_per_minute": 60_000,
        "subject_requests_per_minute": None,
        "concurrent_streams": None,
        "subject_concurrent_streams": None,
        "tokens_per_day": None,
        "budget_per_month": None,
        "prompt_chars": 2000,
        "history_messages": 20,
    }


def test_settings_are_frozen(folder: Path) -> None:
    loaded = load(folder, "")
    with pytest.raises(ValueError, match="frozen"):
        loaded.streams.commit_seconds = 1


@pytest.mark.parametrize(
    ("table", "url"),
    [
        ("store", "postgresql://user:pw@host/db"),
        ("eventlog", "memory"),
        ("eventlog", "redis://host:6379/0"),
        ("eventlog", "rediss://:pw@host:6379/0"),
    ],
)
def test_addresses_of_services(folder: Path, table: str, url: str) -> None:
    loaded = load(folder, f'{table}.url = "{url}"')
    assert getattr(loaded, table).url == url
    assert url not in repr(loaded)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://chat.example.com/", "https://chat.example.com"),
        ("https://example.com/chat/", "https://example.com/chat"),
        ("http://localhost:9000", "http://localhost:9000"),
        ("http://[::1]:9000/", "http://[::1]:9000"),
    ],
)
def test_public_url_loses_its_trailing_slash(folder: Path, given: str, kept: str) -> None:
    loaded = load(folder, f'public_url = "{given}"')
    assert loaded.public_url == kept
    assert "public_url" in loaded.model_fields_set


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        # Out of range.
        ("streams.commit_seconds = 0", "streams.commit_seconds: must be greater than 0"),
        ("timeouts.idle = inf", "timeouts.idle: must be a finite number"),
        ("timeouts.idle = nan", "timeouts.idle: must be a finite number"),
        (
            "timeouts.total = 1e9",
            "timeouts.total: must be less than or equal to 86400",
        ),
        ("retries.max = -1", "retries.max: must be greater than or equal to 0"),
        ("retries.max = 99", "retries.max: must be less than or equal to 10"),
        (
            "tenants.1.limits.concurrent_streams = 0",
            "tenants.1.limits.concurrent_streams: must be greater than or equal to 1",
        ),
        (
            'streams.on_disconnect = "stop"',
            "streams.on_disconnect: must be 'continue' or 'cancel'",
        ),
        # Addresses.
        ('store.url = "mysql://h"', 'store.url: must be "sqlite" or a postgresql:// address'),
        (
            'eventlog.url = "kafka"',
            'eventlog.url: must be "memory", "sqlite" or a redis:// address',
        ),
        ('metrics.listen = "9464"', 'metrics.listen: must be "host:port" or empty'),
        ('metrics.listen = "a:99999"', 'metrics.listen: must be "host:port" or empty'),
        (
            'public_url = "http://chat.example.com"',
            "public_url: must be https, except on a loopback address",
        ),
        ('public_url = "ftp://localhost"', "public_url: must be an http or https URL"),
        ('public_url = "https://"', "public_url: must be an http or https URL"),
        ('public_url = "https://h:port"', "public_url: is not a valid URL"),
        ('public_url = "https://h/?a=b"', "public_url: must not have a query or a fragment"),
        ('public_url = "https://h/#a"', "public_url: must not have a query or a fragment"),
        ('public_url = "https://a b"', "public_url: must be ASCII without white space"),
        (
            'public_url = "https://u:pw@h"',
            "public_url: must not hold a user name or password",
        ),
        # Providers.
        (
            "[providers.Acme]",
            "providers.Acme: a provider name must be lower-case letters, digits, '.', '_' and '-'",
        ),
        (
            f'[providers.x]\nbase_url = "file:///etc"\n{LOCAL.splitlines()[0]}',
            "providers.x.base_url: must be an http or https URL",
        ),
        (
            '[providers.openai]\napi_key = "none"\nbase_url = "https://u:p@h/v1"',
            "providers.openai.base_url: must not hold a user name or password",
        ),
        (
            '[providers.openai]\napi_key = "none"\nbase_url = "https://h/v1#x"',
            "providers.openai.base_url: must not have a query or a fragment",
        ),
        (
            '[providers.openai]\napi_key = "none"\ndialect = "openai"',
            f"providers.openai.dialect: must be {DIALECTS}",
        ),
        (
            '[providers.groqq]\nbase_url = "https://h/v1"',
            'providers.groqq.dialect: is required; did you mean "groq"?',
        ),
        ('[providers.x]\ndialect = "gemini"', "providers.x.base_url: is required"),
        ('[providers.azure]\napi_key = "none"', "providers.azure.base_url: is required"),
        (
            '[providers.xai]\napi_key = "none"\ndialect = "openai-responses"',
            "providers.xai.base_url: is required",
        ),
        (
            "[providers.xai]",
            'providers.xai.api_key: is required; usually "env:XAI_API_KEY"',
        ),
        (
            '[providers.xai]\napi_key = "env:XAI_API_KEY"',
            "providers.xai.api_key: the environment variable XAI_API_KEY is not set",
        ),
        (
            '[providers.xai]\napi_key = "env:"',
            'providers.xai.api_key: must be "env:NAME" with the name of an environment variable',
        ),
        (
            '[providers.xai]\napi_key = ""',
            f"providers.xai.api_key: must be {KEY_FORMS}",
        ),
        # Models.
        ("[models.a]", "models.a.targets: is required"),
        ("models.a.targets = []", "models.a.targets: must not be empty"),
        ('models.a.targets = ["xai"]', 'models.a.targets.0: must be "provider/model"'),
        ('models.a.targets = ["xai/"]', 'models.a.targets.0: must be "provider/model"'),
        (
            f'[providers.local]\n{LOCAL}[models."a.b"]\ntargets = ["local/a", "locl/a"]',
            'models."a.b".targets.1: unknown provider; did you mean "local"?',
        ),
        # Tenants.
        (
            "[tenants.0]",
            "tenants.0: a tenant id must be a decimal number from 1 to 2^63-1",
        ),
        (
            "[tenants.007]",
            "tenants.007: a tenant id must be a decimal number from 1 to 2^63-1",
        ),
        (
            "[tenants.9223372036854775808]",
            "tenants.9223372036854775808: a tenant id must be a decimal number from 1 to 2^63-1",
        ),
        (
            '[tenants."٣"]',
            'tenants."\\u0663": a tenant id must be a decimal number from 1 to 2^63-1',
        ),
        (
            f'{QWEN}[tenants.1]\nmodel = "qwem"',
            'tenants.1.model: is not among this tenant\'s models; did you mean "qwen"?',
        ),
        (
            f'{QWEN}[tenants.1]\nmodels = ["grok-*"]',
            "tenants.1.models: match no model",
        ),
        # Authorization.
        (
            "auth.embedded = false",
            "auth.embedded: must be true when there is no auth.issuers",
        ),
        (
            '[[auth.issuers]]\nissuer = "http://h"\naudience = "a"\ntenants = [1]',
            "auth.issuers.0.issuer: must be https, except on a loopback address",
        ),
        (
            '[[auth.issuers]]\nissuer = "https://h"\naudience = "a"\ntenants = [0]',
            "auth.issuers.0.tenants.0: must be greater than or equal to 1",
        ),
        (
            '[[auth.issuers]]\nissuer = "https://h"\naudience = "a"',
            "auth.issuers.0.tenants: is required",
        ),
        (
            f'{ISSUER}algorithms = ["HS256"]',
            "auth.issuers.0.algorithms.0: must be 'RS256', 'PS256', 'ES256', 'EdDSA' or 'Ed25519'",
        ),
        (
            ISSUER * 2,
            "auth.issuers.1.issuer: is given twice",
        ),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused(folder: Path, toml: str, message: str) -> None:
    assert refusal(folder, toml) == f"tellstream.toml: {message}"
