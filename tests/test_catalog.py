from pathlib import Path

import pytest

from tellstream.catalog import Catalog, build_catalog
from tellstream.config import ConfigError, load_settings

SIMULATED = ("sim", "sim-thinking", "sim-error")
LOCAL = '[providers.local]\ndialect = "openai-chat"\nbase_url = "http://127.0.0.1:8080/v1"\n'
ADVICE = '[models."NAME"] with targets = ["local/MODEL"]'


def catalog(tmp_path: Path, toml: str = "", **environ: str) -> Catalog:
    (tmp_path / "tellstream.toml").write_text(toml)
    return build_catalog(
        load_settings(None, environ, tmp_path),
        environ,
        dialects={"openai-chat"},
        simulator_models=SIMULATED,
    )


def offered(found: Catalog) -> dict[str, list[str]]:
    return {
        model: [f"{target.provider.name}/{target.model}" for target in targets]
        for model, targets in found.models.items()
    }


def refusal(tmp_path: Path, toml: str, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        catalog(tmp_path, toml, **environ)
    return str(caught.value)


# --- zero configuration --------------------------------------------------------------------------


def test_without_any_key_the_simulator_answers(tmp_path: Path) -> None:
    found = catalog(tmp_path)
    assert offered(found) == {name: [f"simulator/{name}"] for name in SIMULATED}
    assert found.needs_simulator
    simulator = found.providers["simulator"]
    assert (simulator.dialect, simulator.base_url, simulator.api_key) == ("openai-chat", "", None)
    assert found.models_for(1) == list(SIMULATED)
    assert found.default_model(1) == "sim"


def test_the_simulator_gets_its_address_later(tmp_path: Path) -> None:
    found = catalog(tmp_path).with_base_url("simulator", "http://127.0.0.1:4242/v1")
    assert not found.needs_simulator
    assert {t.provider.base_url for ts in found.models.values() for t in ts} == {
        "http://127.0.0.1:4242/v1"
    }
    assert found.with_base_url("other", "http://h") == found


def test_keys_in_the_environment_are_providers(tmp_path: Path) -> None:
    found = catalog(
        tmp_path, GROQ_API_KEY="g", XAI_API_KEY="x\n", OLLAMA_HOST="gpu:11434", MISTRAL_API_KEY=""
    )
    assert offered(found) == {
        "grok-4-1-fast-non-reasoning": ["xai/grok-4-1-fast-non-reasoning"],
        "openai/gpt-oss-120b": ["groq/openai/gpt-oss-120b"],
        "qwen3": ["ollama/qwen3"],
    }
    xai = found.providers["xai"]
    assert xai.base_url == "https://api.x.ai/v1"
    assert xai.host.completion_excludes_reasoning
    assert xai.api_key is not None
    assert xai.api_key.get_secret_value() == "x"
    assert found.providers["ollama"].base_url == "http://gpu:11434/v1"
    assert found.default_model(1) == "grok-4-1-fast-non-reasoning"
    assert not found.needs_simulator


def test_a_host_that_we_cannot_speak_to_yet_is_not_offered(tmp_path: Path) -> None:
    assert catalog(tmp_path, ANTHROPIC_API_KEY="a", GEMINI_API_KEY="g").needs_simulator


def test_a_model_that_two_hosts_have_gets_both_as_targets(tmp_path: Path) -> None:
    found = catalog(tmp_path, GROQ_API_KEY="g", TOGETHER_API_KEY="t")
    assert offered(found) == {
        "openai/gpt-oss-120b": ["groq/openai/gpt-oss-120b", "together/openai/gpt-oss-120b"]
    }


def test_an_impossible_ollama_host_is_named(tmp_path: Path) -> None:
    said = refusal(tmp_path, "", OLLAMA_HOST="host:port")
    assert said == "environment: OLLAMA_HOST: is not an address such as 127.0.0.1:11434"


def test_the_implicit_tenant_does_not_stop_a_newcomer(tmp_path: Path) -> None:
    tenants = catalog(tmp_path).tenants
    assert list(tenants) == [1]
    assert tenants[1].limits.model_dump() == {
        "requests_per_minute": 60_000,
        "subject_requests_per_minute": None,
        "concurrent_streams": None,
        "subject_concurrent_streams": None,
        "tokens_per_day": None,
        "budget_per_month": None,
        "prompt_chars": 2000,
        "history_messages": 20,
    }


# --- configured ----------------------------------------------------------------------------------


def test_models_keep_their_order_and_their_targets(tmp_path: Path) -> None:
    toml = (
        f'{LOCAL}[providers.xai]\napi_key = "k"\n'
        '[models.zebra]\ntargets = ["xai/grok-4", "local/org/qwen3"]\n'
        '[models.ant]\ntargets = ["local/a"]\n'
    )
    found = catalog(tmp_path, toml)
    assert offered(found) == {"zebra": ["xai/grok-4", "local/org/qwen3"], "ant": ["local/a"]}
    assert found.default_model(1) == "zebra"
    local = found.models["ant"][0].provider
    assert (local.base_url, local.host.name) == ("http://127.0.0.1:8080/v1", "generic")


def test_known_providers_without_models_offer_their_own(tmp_path: Path) -> None:
    found = catalog(tmp_path, '[providers.deepseek]\napi_key = "k"\n[providers.ollama]\n')
    assert offered(found) == {
        "deepseek-flash": ["deepseek/deepseek-flash"],
        "qwen3": ["ollama/qwen3"],
    }
    assert found.providers["ollama"].base_url == "http://127.0.0.1:11434/v1"


def test_configured_providers_are_the_only_ones(tmp_path: Path) -> None:
    found = catalog(tmp_path, '[providers.deepseek]\napi_key = "k"', XAI_API_KEY="x")
    assert list(found.providers) == ["deepseek"]


def test_a_second_account_is_read_with_its_hosts_rules(tmp_path: Path) -> None:
    toml = (
        '[providers.second]\ndialect = "openai-chat"\nbase_url = "https://api.x.ai/v1/"\n'
        'api_key = "k"'
    )
    assert catalog(tmp_path, toml).providers["second"].host.name == "xai"


def test_models_may_name_providers_of_the_environment(tmp_path: Path) -> None:
    toml = '[models.fast]\ntargets = ["xai/grok-3-mini"]'
    assert offered(catalog(tmp_path, toml, XAI_API_KEY="x")) == {"fast": ["xai/grok-3-mini"]}
    said = refusal(tmp_path, toml)
    assert said == "configuration: models.fast.targets.0: unknown provider"


def test_tenants_use_what_their_patterns_allow(tmp_path: Path) -> None:
    toml = (
        f"{LOCAL}"
        '[models.grok-a]\ntargets = ["local/1"]\n'
        '[models.grok-b]\ntargets = ["local/2"]\n'
        '[models.qwen]\ntargets = ["local/3"]\n'
        '[tenants.1]\nmodels = ["qwen", "grok-*", "q*"]\n'
        '[tenants.2]\nmodels = ["grok-[b]"]\n'
        '[tenants.3]\nmodel = "grok-b"\n'
    )
    found = catalog(tmp_path, toml)
    assert found.models_for(1) == ["qwen", "grok-a", "grok-b"]
    assert found.models_for(2) == ["grok-b"]
    assert found.models_for(3) == ["grok-a", "grok-b", "qwen"]
    assert [found.default_model(n) for n in (1, 2, 3)] == ["qwen", "grok-b", "grok-b"]
    with pytest.raises(KeyError):
        found.models_for(4)


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        (
            LOCAL,
            f"providers.local: has no models of its own; add {ADVICE}",
        ),
        (
            '[providers.anthropic]\napi_key = "k"',
            "providers.anthropic.dialect: anthropic-messages is not supported",
        ),
        (
            '[providers.xai]\napi_key = "k"\n[tenants.1]\nmodel = "grok-9"',
            "tenants.1.model: is not among this tenant's models",
        ),
        (
            '[providers.xai]\napi_key = "k"\n[tenants.1]\nmodels = ["gpt-*"]',
            "tenants.1.models: match no model",
        ),
    ],
)
def test_what_cannot_be_offered_is_refused(tmp_path: Path, toml: str, message: str) -> None:
    assert refusal(tmp_path, toml) == f"configuration: {message}"


def test_keys_are_never_printed(tmp_path: Path) -> None:
    assert "sk-secret" not in repr(catalog(tmp_path, XAI_API_KEY="sk-secret"))
