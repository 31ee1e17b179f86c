import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tellstream.config import ConfigError, Settings, load_settings

SAMPLE = """
public_url = "http://127.0.0.1:8000"     # issuer and metadata come from here, never from Host
data_dir   = ".tellstream"

[store]
url = "sqlite"                            # or "postgresql://user:pw@host/db"
[eventlog]
url = "sqlite"                            # or "memory", or "redis://host:6379/0"
retention_seconds = 3600

[providers.xai]                           # a known name needs only its key
api_key = "env:XAI_API_KEY"
[providers.local]                         # anything else says what it speaks
dialect  = "openai-chat"
base_url = "http://127.0.0.1:8080/v1"
api_key  = "none"

[models."grok-4-1-fast-non-reasoning"]    # the name callers use
targets = ["xai/grok-4-1-fast-non-reasoning", "local/qwen3"]   # tried in order

[tenants.1]
name   = "Acme"
model  = "grok-4-1-fast-non-reasoning"    # default
models = ["*"]
system = "You are Acme's assistant."
[tenants.1.limits]
requests_per_minute = 60
concurrent_streams  = 20
tokens_per_day      = 1000000
prompt_chars        = 2000
history_messages    = 20

[streams]
on_disconnect = "continue"                # or "cancel"
detach_seconds = 60                       # nobody attached for this long -> cancel
heartbeat_seconds = 15
commit_seconds = 5                        # hold the response head at most this long
drain_seconds = 30
lease_seconds = 10                        # a silent producer is dead after this
[retries]                                 # before the first content event only
max = 2                                   # per target: at most 3 calls
[metrics]
listen = ""                               # e.g. "127.0.0.1:9464"; empty: no metrics listener
[timeouts]                                # seconds
connect = 5
headers = 30
first_token = 60
idle = 30
total = 600

[auth]
embedded = true
[[auth.issuers]]                          # external authorization servers
issuer = "https://login.example.com/realms/acme"
audience = "tellstream"
algorithms = ["RS256"]
tenant_claim = "tenants"
tenants = [1]
"""
SECRET = "sk-very-secret-0123456789"
KEY = {"XAI_API_KEY": SECRET}
LOCAL = 'dialect = "openai-chat"\nbase_url = "http://127.0.0.1:8080/v1"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def load(folder: Path, toml: str = "", **environ: str) -> Settings:
    (folder / "tellstream.toml").write_text(toml, "utf-8")
    return load_settings(None, environ, folder)


def refusal(folder: Path, toml: str = "", **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(folder, toml, **environ)
    assert str(caught.value).splitlines() == list(caught.value.problems)
    return str(caught.value)


# --- what loads --------------------------------------------------------------------------------


def test_the_documented_file_loads(folder: Path) -> None:
    loaded = load(folder, SAMPLE, **KEY)
    assert loaded.public_url == "http://127.0.0.1:8000"
    assert loaded.data_dir == folder / ".tellstream"
    key = loaded.providers["xai"].api_key
    assert key is not None
    assert key.get_secret_value() == SECRET
    local = loaded.providers["local"]
    assert (local.dialect, local.base_url) == ("openai-chat", "http://127.0.0.1:8080/v1")
    assert local.api_key is None
    assert loaded.models["grok-4-1-fast-non-reasoning"].targets == (
        "xai/grok-4-1-fast-non-reasoning",
        "local/qwen3",
    )
    tenant = loaded.tenants[1]
    assert (tenant.name, tenant.model) == ("Acme", "grok-4-1-fast-non-reasoning")
    assert (tenant.models, tenant.system) == (("*",), "You are Acme's assistant.")
    assert tenant.limits.model_dump() == {
        "requests_per_minute": 60,
        "subject_requests_per_minute": None,
        "concurrent_streams": 20,
        "subject_concurrent_streams": None,
        "tokens_per_day": 1_000_000,
        "budget_per_month": None,
        "prompt_chars": 2000,
        "history_messages": 20,
    }
    assert [issuer.model_dump() for issuer in loaded.auth.issuers] == [
        {
            "issuer": "https://login.example.com/realms/acme",
            "audience": "tellstream",
            "algorithms": ("RS256",),
            "tenant_claim": "tenants",
            "tenants": (1,),
            "jwks_uri": None,
            "typ_required": True,
            "scope_claim": "scope",
            "leeway_seconds": 30,
            "max_lifetime": 3600,
            "introspection_url": None,
            "introspection_client_id": None,
            "introspection_client_secret": None,
        }
    ]


def test_the_documented_values_are_the_defaults(folder: Path) -> None:
    documented = load(folder, SAMPLE, **KEY)
    defaults = load_settings(None, {}, folder / "nowhere")
    assert not defaults.providers
    assert not defaults.models
    assert not defaults.tenants
    assert defaults.public_url == documented.public_url
    assert defaults.auth.embedded
    assert not defaults.auth.issuers
    for table in ("store", "eventlog", "streams", "retries", "metrics", "timeouts"):
        assert getattr(defaults, table) == getattr(documented, table)


def test_a_named_file_wins_over_the_default_one(folder: Path) -> None:
    (folder / "other.toml").write_text("\ufeffretries.max = 7\r\n", "utf-8")
    (folder / "tellstream.toml").write_text("retries.max = 3")
    assert load_settings(Path("other.toml"), {}, folder).retries.max == 7
    assert load_settings(folder / "other.toml", {}, Path("/")).retries.max == 7
    assert load_settings(None, {}, folder).retries.max == 3


# --- the environment -----------------------------------------------------------------------------


def test_the_environment_wins_over_the_file(folder: Path) -> None:
    loaded = load(
        folder,
        SAMPLE,
        XAI_API_KEY="from-the-host",
        TELLSTREAM_EVENTLOG__URL="redis://cache:6379/1",
        TELLSTREAM_PROVIDERS__XAI__API_KEY=SECRET,
        TELLSTREAM_STREAMS__COMMIT_SECONDS="2",
        TELLSTREAM_STREAMS__ON_DISCONNECT="cancel",
        TELLSTREAM_TIMEOUTS__IDLE="0.5",
        TELLSTREAM_RETRIES__MAX="0",
        TELLSTREAM_AUTH__EMBEDDED="false",
        TELLSTREAM_TENANTS__1__NAME="1234",
        TELLSTREAM_TENANTS__1__LIMITS__TOKENS_PER_DAY="null",
        TELLSTREAM_TENANTS__1__MODELS='["grok-*"]',
        TELLSTREAM_DATA_DIR="/var/lib/tellstream",
        TELLSTREAM_METRICS__LISTEN="127.0.0.1:9464",
    )
    assert loaded.eventlog.url == "redis://cache:6379/1"
    assert loaded.eventlog.retention_seconds == 3600
    key = loaded.providers["xai"].api_key
    assert key is not None
    assert key.get_secret_value() == SECRET
    assert loaded.streams.commit_seconds == 2
    assert loaded.streams.on_disconnect == "cancel"
    assert loaded.timeouts.idle == 0.5
    assert loaded.retries.max == 0
    assert not loaded.auth.embedded
    assert loaded.tenants[1].name == "1234"
    assert loaded.tenants[1].limits.tokens_per_day is None
    assert loaded.tenants[1].limits.requests_per_minute == 60
    assert loaded.tenants[1].models == ("grok-*",)
    assert loaded.data_dir == Path("/var/lib/tellstream")
    assert loaded.metrics.listen == "127.0.0.1:9464"


def test_everything_can_come_from_the_environment(folder: Path) -> None:
    issuer = {"issuer": "https://login.example.com", "audience": "a", "tenants": [1]}
    environ = {
        "TELLSTREAM_PROVIDERS__LOCAL__DIALECT": "openai-chat",
        "TELLSTREAM_PROVIDERS__LOCAL__BASE_URL": "http://127.0.0.1:8080/v1/",
        "TELLSTREAM_MODELS__QWEN3__TARGETS": '["local/Qwen/qwen3"]',
        "TELLSTREAM_TENANTS__1": '{"name": "Acme"}',
        "TELLSTREAM_TENANTS__1__MODEL": "qwen3",
        "TELLSTREAM_AUTH__ISSUERS": json.dumps([issuer]),
    }
    loaded = load_settings(None, environ, folder)
    assert loaded.providers["local"].base_url == "http://127.0.0.1:8080/v1"
    assert loaded.models["qwen3"].targets == ("local/Qwen/qwen3",)
    assert (loaded.tenants[1].name, loaded.tenants[1].model) == ("Acme", "qwen3")
    assert loaded.auth.issuers[0].issuer == "https://login.example.com"
    assert loaded.auth.issuers[0].algorithms == ("RS256",)


def test_a_variable_finds_a_name_of_the_file_in_any_case(folder: Path) -> None:
    toml = f'[providers.local]\n{LOCAL}[models.Qwen3]\ntargets = ["local/a"]'
    loaded = load(folder, toml, TELLSTREAM_MODELS__QWEN3__TARGETS='["local/b"]')
    assert {name: model.targets for name, model in loaded.models.items()} == {"Qwen3": ("local/b",)}


def test_what_kubernetes_sets_for_a_service_is_not_ours(folder: Path) -> None:
    load(
        folder,
        TELLSTREAM_SERVICE_HOST="10.0.0.7",
        TELLSTREAM_SERVICE_PORT="8000",
        TELLSTREAM_SERVICE_PORT_HTTP="8000",
        TELLSTREAM_PORT="tcp://10.0.0.7:8000",
        TELLSTREAM_PORT_8000_TCP="tcp://10.0.0.7:8000",
        TELLSTREAM_PORT_8000_TCP_ADDR="10.0.0.7",
        TELLSTREAM_REDIS_SERVICE_HOST="10.0.0.8",
    )
    load(folder, TELLSTREAM_PORT="8000")  # resembles none of our keys
    message = refusal(folder, TELLSTREAM_STOR="sqlite")
    assert message.startswith("environment: stor: unknown key")


# --- what is refused, and how it is said ---------------------------------------------------------


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        # Unknown keys, anywhere.
        ("zzz = 1", "zzz: unknown key"),
        ("publik_url = 1", 'publik_url: unknown key; did you mean "public_url"?'),
        (
            "[streams]\ncomit_seconds = 5",
            'streams.comit_seconds: unknown key; did you mean "commit_seconds"?',
        ),
        (
            "[tenants.1.limits]\nprompt_char = 1",
            'tenants.1.limits.prompt_char: unknown key; did you mean "prompt_chars"?',
        ),
        ('"a.b\\n" = 1', '"a.b\\n": unknown key'),
        # Wrong types.
        ("store = 3", "store: must be a table"),
        ("providers = []", "providers: must be a table"),
        ("tenants.1 = true", "tenants.1: must be a table"),
        ("data_dir = 3", "data_dir: must be a string"),
        ('data_dir = ""', "data_dir: must be the path of a folder"),
        ("public_url = 3", "public_url: must be a string"),
        ('retries.max = "2"', "retries.max: must be a whole number"),
        ("retries.max = 2.5", "retries.max: must be a whole number"),
        ("auth.embedded = 1", "auth.embedded: must be true or false"),
        ('streams.commit_seconds = "5"', "streams.commit_seconds: must be a number"),
        ("streams.commit_seconds = true", "streams.commit_seconds: must be a number"),
        ('models.a.targets = "x/y"', "models.a.targets: must be an array"),
        ("tenants.1.models = [1]", "tenants.1.models.0: must be a string"),
    ],
)
def test_a_refusal_names_the_file_the_key_and_the_reason(
    folder: Path, toml: str, message: str
) -> None:
    assert refusal(folder, toml) == f"tellstream.toml: {message}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a = 1\nb == 2\n", "tellstream.toml: line 2: Invalid value"),
        (b"a = [1", "tellstream.toml: end of document: Unclosed array"),
        (b"a = '\xff'", "tellstream.toml: is not UTF-8"),
        (b"a = " + b"[" * 100_000, "tellstream.toml: is nested too deeply"),
        (b"a = " + b"9" * 5000, "tellstream.toml: holds a number with too many digits"),
    ],
)
def test_a_file_that_is_not_toml(folder: Path, content: bytes, message: str) -> None:
    (folder / "tellstream.toml").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_settings(None, {}, folder)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing.toml", "No such file or directory"),
        (".", "Is a directory"),
        ("a\0b", "not a path"),
    ],
)
def test_a_file_that_cannot_be_read(folder: Path, name: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(Path(name), {}, folder)
    assert str(caught.value) == f"{name}: cannot be read: {reason}"


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("STREAMS__COMMIT_SECONDS", "soon", "streams.commit_seconds: must be a number"),
        ("STREAMS__COMMIT_SECONDS", "", "streams.commit_seconds: must be a number"),
        ("STREAMS__COMMIT_SECONDS", "NaN", "streams.commit_seconds: must be a finite number"),
        (
            "STREAMS__COMIT_SECONDS",
            "2",
            'streams.comit_seconds: unknown key; did you mean "commit_seconds"?',
        ),
        ("DATADIR", "/x", 'datadir: unknown key; did you mean "data_dir"?'),
        ("DATA_DIR", "", "data_dir: must be the path of a folder"),
        ("PUBLIC_URL__X", "1", "public_url: is not a table, so TELLSTREAM_PUBLIC_URL__X has no"),
        ("TENANTS__X__NAME", "a", "tenants.x: a tenant id must be a decimal number"),
        ("TENANTS__1__MODELS", "*", "tenants.1.models: must be an array"),
        ("TENANTS__1__MODELS", "[" * 100_000, "tenants.1.models: must be an array"),
        ("PROVIDERS__XAI__API_KEY", "env:NOPE", "providers.xai.api_key: the environment variable"),
    ],
)
def test_a_refused_variable_is_said_to_come_from_the_environment(
    folder: Path, variable: str, value: str, message: str
) -> None:
    environ = {f"TELLSTREAM_{variable}": value}
    said = refusal(folder, 'public_url = "https://h"', **environ)
    assert said.startswith(f"environment: {message}")
    assert "\n" not in said


def test_every_problem_has_its_own_line(folder: Path) -> None:
    said = refusal(folder, "retries.max = 99\nstore.urll = 1", TELLSTREAM_TIMEOUTS__IDLE="never")
    assert said.splitlines() == [
        'tellstream.toml: store.urll: unknown key; did you mean "url"?',
        "tellstream.toml: retries.max: must be less than or equal to 10",
        "environment: timeouts.idle: must be a number",
    ]


# --- secrets -------------------------------------------------------------------------------------


def test_a_key_is_never_printed(folder: Path) -> None:
    loaded = load(folder, SAMPLE, **KEY)
    for text in (repr(loaded), str(loaded), f"{loaded.providers}", loaded.model_dump_json()):
        assert SECRET not in text
    assert "api_key" not in repr(loaded)


@pytest.mark.parametrize(
    "toml",
    [
        f'[providers.xai]\napi_key = "{SECRET} x"',
        f'[providers.xai]\napi_key = "env:{SECRET}"',
        f'[providers.xai]\napi_key = ["{SECRET}"]',
        f'[providers.xai]\napi_key = "{SECRET}',
        f'[providers.xai]\napi_key = "{SECRET}"\ndialect = "x"',
        f'providers = "{SECRET}"',
        f'[providers.openai]\napi_key = "none"\nbase_url = "https://u:{SECRET}@h/v1"',
        f'[providers.openai]\napi_key = "none"\nbase_url = "https://[{SECRET}"',
        f'store.url = "mysql://u:{SECRET}@h"',
        f'eventlog.url = "redi://u:{SECRET}@h"',
    ],
)
def test_a_refusal_never_shows_a_value(folder: Path, toml: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(folder, toml)
    assert SECRET not in f"{caught.value} {caught.value!r}"
    assert caught.value.__cause__ is None


def test_a_key_from_a_file_may_end_with_a_line_break(folder: Path) -> None:
    loaded = load(folder, SAMPLE, XAI_API_KEY=f"{SECRET}\n")
    key = loaded.providers["xai"].api_key
    assert key is not None
    assert key.get_secret_value() == SECRET


# --- anything at all -----------------------------------------------------------------------------

KEYS = """
    public_url data_dir store url eventlog providers xai api_key base_url dialect models targets
    tenants 1 limits prompt_chars streams commit_seconds auth issuers issuer x
"""
words = st.sampled_from(KEYS.split())
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["none", "env:A", "xai/m", "sqlite", "https://h", "https://[", "10" * 300])
)
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=4),
    max_leaves=12,
)


def toml_value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {toml_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    return json.dumps(value) if not isinstance(value, float) else repr(value)


def survives(folder: Path, content: bytes, environ: dict[str, str]) -> None:
    (folder / "tellstream.toml").write_bytes(content)
    try:
        load_settings(None, environ, folder)
    except ConfigError as error:
        problems = error.problems
        lines = str(error).splitlines()
    else:
        return
    assert problems
    assert lines == list(problems)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@given(
    content=st.binary(max_size=60)
    | st.text(max_size=60).map(lambda t: t.encode("utf-8", "replace"))
)
@example(content=b'"a\\u2028b" = 1')
def test_no_bytes_do_worse_than_a_config_error(scratch: Path, content: bytes) -> None:
    survives(scratch, content, {})


@settings(max_examples=300)
@given(tree=st.dictionaries(words, trees, max_size=5))
@example(tree={"streams": {"commit_seconds": 10**400}, "retries": {"max": 10**4000}})
def test_no_values_do_worse_than_a_config_error(scratch: Path, tree: dict[str, Any]) -> None:
    lines = [f"{json.dumps(key)} = {toml_value(value)}" for key, value in tree.items()]
    survives(scratch, "\n".join(lines).encode("utf-8", "replace"), {"A": "key"})


@settings(max_examples=300)
@given(
    names=st.lists(st.lists(words, min_size=1, max_size=4), max_size=5),
    values=st.lists(trees.map(json.dumps) | st.text(max_size=8), min_size=5, max_size=5),
)
def test_no_variables_do_worse_than_a_config_error(
    scratch: Path, names: list[list[str]], values: list[str]
) -> None:
    keys = ["TELLSTREAM_" + "__".join(levels).upper() for levels in names]
    survives(scratch, b"retries.max = 1", dict(zip(keys, values, strict=False)))
