"""From a configuration to issuers, and the examples of the manual among them."""

import re
from pathlib import Path

import pytest

from support.issuers import Clock
from tellstream.auth.authenticator import Authenticator
from tellstream.auth.external import ExternalIssuers
from tellstream.auth.http_fetch import HttpFetch
from tellstream.auth.tokens import TokenVerifier
from tellstream.config import ConfigError, Settings, load_settings

PAGE = Path(__file__).parents[2] / "docs/howto/external-issuer.md"
EXAMPLES = re.findall(r"^```toml\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
ROW = '[[auth.issuers]]\nissuer = "https://h"\naudience = "a"\ntenants = [1]\n'
ASK = 'introspection_url = "https://h/i"\nintrospection_client_id = "c"\n'
SECRET = "planted-secret"


def load(folder: Path, toml: str) -> Settings:
    (folder / "tellstream.toml").write_text(toml, "utf-8")
    return load_settings(None, {"BETA_INTROSPECTION_SECRET": SECRET}, folder)


@pytest.mark.parametrize("toml", EXAMPLES)
async def test_the_examples_of_the_manual_make_issuers(toml: str, tmp_path: Path) -> None:
    fetch = HttpFetch()
    external = ExternalIssuers(load(tmp_path, toml).auth.issuers, fetch, Clock())
    Authenticator(TokenVerifier(external.issuers), external.introspectors)
    assert len(external.issuers) == 1
    assert len(external.introspectors) == ("introspection_url" in toml)
    await external.close()
    await fetch.close()


def test_all_examples_together_are_one_configuration(tmp_path: Path) -> None:
    loaded = load(tmp_path, "\n".join(EXAMPLES))
    assert [sorted(row.tenants) for row in loaded.auth.issuers] == [[1], [1], [2]]


def test_the_defaults_of_a_row_are_the_strict_ones(tmp_path: Path) -> None:
    (row,) = load(tmp_path, ROW).auth.issuers
    assert row.model_dump() == {
        "issuer": "https://h", "audience": "a", "algorithms": ("RS256",),
        "tenant_claim": "tenants", "tenants": (1,), "jwks_uri": None, "typ_required": True,
        "scope_claim": "scope", "leeway_seconds": 30, "max_lifetime": 3600,
        "introspection_url": None, "introspection_client_id": None,
        "introspection_client_secret": None,
    }  # fmt: skip


def test_a_secret_comes_from_the_environment_and_is_not_shown(tmp_path: Path) -> None:
    toml = ROW + ASK + 'introspection_client_secret = "env:BETA_INTROSPECTION_SECRET"\n'
    loaded = load(tmp_path, toml)
    secret = loaded.auth.issuers[0].introspection_client_secret
    assert secret is not None
    assert secret.get_secret_value() == SECRET
    assert SECRET not in repr(loaded)


@pytest.mark.parametrize(
    ("lines", "key"),
    [
        ('jwks_uri = "http://h/keys"', "auth.issuers.0.jwks_uri"),
        ('jwks_uri = "https://u:p@h/keys"', "auth.issuers.0.jwks_uri"),
        ('introspection_url = "http://h/i"', "auth.issuers.0.introspection_url"),
        ('scope_claim = "roles"', "auth.issuers.0.scope_claim"),
        ("leeway_seconds = 61", "auth.issuers.0.leeway_seconds"),
        ("leeway_seconds = -1", "auth.issuers.0.leeway_seconds"),
        ("max_lifetime = 3601", "auth.issuers.0.max_lifetime"),
        ("max_lifetime = 0", "auth.issuers.0.max_lifetime"),
        ('typ_required = "no"', "auth.issuers.0.typ_required"),
        ('algorithms = ["HS256"]', "auth.issuers.0.algorithms.0"),
        ('algorithms = ["none"]', "auth.issuers.0.algorithms.0"),
        (ASK, "auth.issuers.0: introspection_url"),
        ('introspection_client_id = "c"', "auth.issuers.0: introspection_url"),
        (ASK + 'introspection_client_secret = "none"', "auth.issuers.0: introspection_url"),
        (ASK + 'introspection_client_secret = "env:NOT_SET"', "introspection_client_secret"),
        (ASK + 'introspection_client_secret = "env:NOT SET"', "introspection_client_secret"),
    ],
)
def test_what_a_row_must_not_say(lines: str, key: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape(key)):
        load(tmp_path, ROW + lines)
