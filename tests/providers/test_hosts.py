from urllib.parse import urlsplit

import pytest

from tellstream.providers.hosts import GENERIC, HOSTS, Host, host_for, ollama_base_url

ROWS = [*HOSTS.values(), GENERIC]
by_name = pytest.mark.parametrize("host", ROWS, ids=[row.name for row in ROWS])


@by_name
def test_a_row_holds_together(host: Host) -> None:
    assert HOSTS.get(host.name, GENERIC) is host
    assert host.name == host.name.lower()
    if host.base_url is not None:
        parts = urlsplit(host.base_url)
        assert parts.scheme == ("http" if parts.hostname == "127.0.0.1" else "https")
        assert not host.base_url.endswith("/")
    if host.key_env is None:
        assert host.cancel_stops_billing is None
    assert hash(host) == hash(host)


@by_name
def test_a_host_found_in_the_environment_has_a_model_to_offer(host: Host) -> None:
    variable = host.key_env or host.address_env
    if variable and host.base_url:
        assert not host.is_announced({})
        assert not host.is_announced({variable: " "})
        assert host.is_announced({variable: "127.0.0.1"})
        assert host.default_models


def test_zero_configuration_knows_the_documented_variables() -> None:
    announced = [h.key_env or h.address_env for h in HOSTS.values() if h.default_models]
    assert announced[:9] == [
        "XAI_API_KEY",
        "OPENAI_API_KEY",
        "ANTHROPIC_API_KEY",
        "GEMINI_API_KEY",
        "MISTRAL_API_KEY",
        "GROQ_API_KEY",
        "DEEPSEEK_API_KEY",
        "OPENROUTER_API_KEY",
        "OLLAMA_HOST",
    ]


def test_azure_cannot_be_guessed_from_its_key() -> None:
    assert not HOSTS["azure"].is_announced({"AZURE_OPENAI_API_KEY": "k"})


def test_xai_is_the_documented_default() -> None:
    xai = HOSTS["xai"]
    assert (xai.base_url, xai.dialect) == ("https://api.x.ai/v1", "openai-chat")
    assert xai.default_models == ("grok-4-1-fast-non-reasoning",)
    assert xai.completion_excludes_reasoning


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("xai", {"Authorization": "Bearer k"}),
        ("azure", {"api-key": "k"}),
        ("anthropic", {"x-api-key": "k"}),
        ("gemini", {"x-goog-api-key": "k"}),
    ],
)
def test_the_key_travels_in_the_hosts_own_header(name: str, header: dict[str, str]) -> None:
    assert HOSTS[name].auth_headers("k") == header


@pytest.mark.parametrize(
    ("name", "model", "dropped"),
    [
        ("xai", "grok-4-1-fast-non-reasoning", {"reasoning_effort"}),
        ("xai", "grok-4-fast-reasoning", {"reasoning_effort"}),
        ("xai", "grok-4-0709", {"reasoning_effort"}),
        ("xai", "grok-3-mini", set()),
        ("xai", "grok-4.3", set()),
        ("openai", "gpt-6-luna", {"temperature"}),
        ("openai", "o4-mini", {"temperature"}),
        ("openai", "gpt-4.1-mini", {"reasoning_effort"}),
        ("groq", "openai/gpt-oss-120b", set()),
        ("groq", "llama-3.3-70b-versatile", {"reasoning_effort"}),
        ("mistral", "mistral-small-latest", {"reasoning_effort"}),
        ("vllm", "anything", set()),
    ],
)
def test_parameters_that_a_model_refuses(name: str, model: str, dropped: set[str]) -> None:
    assert HOSTS[name].dropped_parameters(model) == dropped


def test_usage_is_asked_for_only_where_it_is_not_always_sent() -> None:
    assert GENERIC.usage_flag
    assert {name for name, host in HOSTS.items() if not host.usage_flag} == {
        "mistral",
        "openrouter",
        "perplexity",
        "fireworks",
    }


def test_generic_is_plain_chat_completions() -> None:
    assert Host(name="generic") == GENERIC
    assert GENERIC.dialect == "openai-chat"
    assert GENERIC.token_limit_field == "max_tokens"
    assert GENERIC.base_url is None


@pytest.mark.parametrize(
    ("name", "base_url", "row"),
    [
        ("xai", "https://proxy.example/v1", "xai"),
        ("second-account", "https://api.x.ai/v1", "xai"),
        ("local", "http://127.0.0.1:8080/v1", "generic"),
        ("local", None, "generic"),
    ],
)
def test_a_row_is_found_by_name_or_public_address(
    name: str, base_url: str | None, row: str
) -> None:
    assert host_for(name, base_url).name == row


@pytest.mark.parametrize(
    ("given", "base_url"),
    [
        ("127.0.0.1:11434", "http://127.0.0.1:11434/v1"),
        ("127.0.0.1", "http://127.0.0.1:11434/v1"),
        ("gpu-box", "http://gpu-box:11434/v1"),
        (":8080", "http://127.0.0.1:8080/v1"),
        ("0.0.0.0", "http://127.0.0.1:11434/v1"),
        ("http://0.0.0.0:1234", "http://127.0.0.1:1234/v1"),
        ("[::]:11434", "http://[::1]:11434/v1"),
        ("[2001:db8::1]", "http://[2001:db8::1]:11434/v1"),
        ("http://host:9000", "http://host:9000/v1"),
        ("http://host:9000/", "http://host:9000/v1"),
        ("http://host:9000/v1/", "http://host:9000/v1"),
        ("https://ollama.example.com", "https://ollama.example.com/v1"),
        ("https://example.com/ollama", "https://example.com/ollama/v1"),
    ],
)
def test_ollama_host_forms(given: str, base_url: str) -> None:
    assert ollama_base_url(given) == base_url
    assert HOSTS["ollama"].address({"OLLAMA_HOST": f" {given} "}) == base_url


@pytest.mark.parametrize("given", ["ftp://host", "host:port", "http://user:pw@host", "http://[::"])
def test_an_impossible_ollama_host_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="is not an address such as"):
        ollama_base_url(given)


def test_ollama_without_a_variable_is_on_this_machine() -> None:
    assert HOSTS["ollama"].address({}) == "http://127.0.0.1:11434/v1"
