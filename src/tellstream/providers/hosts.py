"""The table of provider hosts: data, where no code is needed.

A host is an endpoint that speaks one of our dialects. What it does differently from the plain
dialect is a field of its row here; a field exists only because some host documents that
difference. Adding a host that is compatible with chat completions is one row.

Invariant: rows are facts about hosts, never about this installation (keys and addresses come from
the configuration), and no other module knows them. This module does no I/O and decides nothing
about requests; the dialects and ``providers/http.py`` read the rows.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final, Literal, TypeAlias
from urllib.parse import urlsplit

Dialect: TypeAlias = Literal[
    "openai-chat", "openai-responses", "anthropic-messages", "gemini", "ollama"
]
ReasoningStyle: TypeAlias = Literal["effort", "object", "thinking", "none"]

_OLLAMA_PORT: Final = 11434
_EFFORT: Final = frozenset({"reasoning_effort"})
_TEMPERATURE: Final = frozenset({"temperature"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One row: what a host is and where it departs from its dialect.

    Attributes:
        name: the provider name that selects this row in the configuration.
        dialect: what it speaks unless the configuration says otherwise.
        base_url: address without a trailing slash, to which the dialect appends its path; None
            when there is none to assume and the user must give it.
        key_env: environment variable that holds its key by convention; None when it needs no key.
        address_env: environment variable that holds its address by convention, else None.
        auth_header: name of the request header that carries the key.
        auth_scheme: word before the key in that header; empty when the key stands alone.
        extra_headers: ``(name, value)`` pairs sent with every request.
        token_limit_field: request field of chat completions that limits the output tokens.
        usage_flag: whether usage must be asked for with ``stream_options.include_usage``; False
            for hosts that always send it (some refuse the field).
        completion_excludes_reasoning: whether its ``completion_tokens`` leave thinking tokens out,
            so that they must be added.
        drop_parameters: ``(model pattern, parameters)`` pairs: request parameters, by our names,
            that models matching the fnmatch pattern refuse.
        reasoning_style: how the effort is asked for. effort: ``reasoning_effort: "low"``; object:
            ``reasoning: {"effort": "low"}``; thinking: ``thinking: {"type": "enabled"}`` beside
            ``reasoning_effort``; none: it cannot be asked for, the parameter is dropped.
        responses_path: path of the Responses API under the base URL.
        stores_responses: whether it keeps a Responses answer unless told ``store: false``.
        encrypted_thinking: fnmatch patterns of the models that hand out their thinking encrypted
            when asked with ``include``; others answer 400.
        default_models: models offered when the configuration names none, the first by default.
        cancel_stops_billing: whether closing the connection ends what the host charges; None when
            not known, not uniform, or nothing is charged.
    """

    name: str
    dialect: Dialect = "openai-chat"
    base_url: str | None = None
    key_env: str | None = None
    address_env: str | None = None
    auth_header: str = "Authorization"
    auth_scheme: str = "Bearer"
    extra_headers: tuple[tuple[str, str], ...] = ()
    token_limit_field: str = "max_tokens"  # noqa: S105  (a request field, not a password)
    usage_flag: bool = True
    completion_excludes_reasoning: bool = False
    drop_parameters: tuple[tuple[str, frozenset[str]], ...] = ()
    reasoning_style: ReasoningStyle = "effort"
    responses_path: str = "/responses"
    stores_responses: bool = False
    encrypted_thinking: tuple[str, ...] = ()
    default_models: tuple[str, ...] = ()
    cancel_stops_billing: bool | None = None

    def dropped_parameters(self, model: str) -> frozenset[str]:
        """Return the request parameters, by our names, that ``model`` refuses here."""
        unknown = _EFFORT if self.reasoning_style == "none" else frozenset()
        return unknown.union(
            *(names for pattern, names in self.drop_parameters if fnmatchcase(model, pattern))
        )

    @property
    def on_cancel(self) -> Literal["cancel", "drain"]:
        """What to do with a call whose stream was cancelled.

        ``drain``: the whole answer is charged for anyway, so it is read on for its usage. Where
        nothing is known the call is cancelled: at worst the estimate is lower than the bill.
        """
        return "drain" if self.cancel_stops_billing is False else "cancel"

    def encrypts_thinking(self, model: str) -> bool:
        """Tell whether ``model`` hands out its thinking encrypted."""
        return any(fnmatchcase(model, pattern) for pattern in self.encrypted_thinking)

    def auth_headers(self, key: str) -> dict[str, str]:
        """Return the request header that carries ``key``."""
        return {self.auth_header: f"{self.auth_scheme} {key}".lstrip()}

    def is_announced(self, environ: Mapping[str, str]) -> bool:
        """Tell whether the environment alone is enough to use this host."""
        variable = self.key_env or self.address_env
        return bool(self.base_url and variable and environ.get(variable, "").strip())

    def address(self, environ: Mapping[str, str]) -> str | None:
        """Return the base URL to use when the configuration gives none.

        Raises:
            ValueError: when the variable ``address_env`` holds something that is not an address.
        """
        given = environ.get(self.address_env, "").strip() if self.address_env else ""
        return ollama_base_url(given) if given else self.base_url


def ollama_base_url(address: str) -> str:
    """Return the chat-completions base URL for a value of ``OLLAMA_HOST``.

    The forms are those of Ollama's own client: ``host``, ``host:port``, ``:port`` and URLs. A bare
    address means http and port 11434, a URL without port the port of its scheme. The address that
    a server listens on everywhere with means this machine.

    Raises:
        ValueError: when it is not an address.
    """
    bare = "://" not in address
    try:
        parts = urlsplit(f"http://{address}" if bare else address)
        port = parts.port
    except ValueError:
        raise ValueError("is not an address such as 127.0.0.1:11434") from None
    if parts.scheme not in ("http", "https") or "@" in parts.netloc or parts.query:
        raise ValueError("is not an address such as 127.0.0.1:11434")
    host = _reachable(parts.hostname or "127.0.0.1")
    if port is None and bare:
        port = _OLLAMA_PORT
    suffix = f":{port}" if port is not None else ""
    return f"{parts.scheme}://{host}{suffix}{parts.path.rstrip('/').removesuffix('/v1')}/v1"


def _reachable(hostname: str) -> str:
    """Return a host as a URL writes it, with loopback in place of the unspecified address."""
    try:
        address = ipaddress.ip_address(hostname)
    except ValueError:
        return hostname
    if address.version == 4:  # noqa: PLR2004  (the protocol's own number)
        return "127.0.0.1" if address.is_unspecified else hostname
    return "[::1]" if address.is_unspecified else f"[{hostname}]"


# Reasoning models answer 400 to a temperature (most: unless the effort is none), the others to an
# effort. Azure's names are those of deployments, usually called after the model.
_OPENAI_DROPS: Final = (
    ("o[0-9]*", _TEMPERATURE),
    ("gpt-[5-9]*", _TEMPERATURE),
    ("gpt-[34]*", _EFFORT),
)

# Reasoning models; gpt-5-chat is none. ([!c] and codex: all but chat.)
_OPENAI_ENCRYPTS: Final = (
    "o[1-9]*",
    "gpt-[5-9]",
    "gpt-[5-9].*",
    "gpt-[5-9]-[!c]*",
    "gpt-[5-9]-codex*",
)

# The first Claude models do not think; the latest choose their sampling themselves.
_CLAUDE_DROPS: Final = (
    *((f"claude-3-{name}*", _EFFORT) for name in ("5", "haiku", "opus", "sonnet")),
    *((f"claude-opus-4-{minor}*", _TEMPERATURE) for minor in "789"),
    *((f"claude-{name}-[5-9]*", _TEMPERATURE) for name in ("haiku", "sonnet", "opus")),
    ("claude-fable*", _TEMPERATURE),
    ("claude-mythos*", _TEMPERATURE),
)

_ROWS: Final = (
    Host(
        name="xai",
        base_url="https://api.x.ai/v1",
        key_env="XAI_API_KEY",
        completion_excludes_reasoning=True,
        # Only the models without a fixed mode (grok-3-mini, grok-4.3) take an effort.
        drop_parameters=tuple(
            (pattern, _EFFORT) for pattern in ("*-reasoning*", "grok-4", "grok-4-*", "grok-code*")
        ),
        stores_responses=True,
        encrypted_thinking=("*",),
        default_models=("grok-4-1-fast-non-reasoning",),
        cancel_stops_billing=True,
    ),
    Host(
        name="openai",
        base_url="https://api.openai.com/v1",
        key_env="OPENAI_API_KEY",
        token_limit_field="max_completion_tokens",  # noqa: S106  (a request field)
        drop_parameters=_OPENAI_DROPS,
        stores_responses=True,
        encrypted_thinking=_OPENAI_ENCRYPTS,
        default_models=("gpt-6-luna",),
        cancel_stops_billing=True,
    ),
    Host(
        name="anthropic",
        dialect="anthropic-messages",
        base_url="https://api.anthropic.com/v1",
        key_env="ANTHROPIC_API_KEY",
        auth_header="x-api-key",
        auth_scheme="",
        extra_headers=(("anthropic-version", "2023-06-01"),),
        drop_parameters=_CLAUDE_DROPS,
        default_models=("claude-haiku-4-5", "claude-sonnet-5"),
        cancel_stops_billing=True,
    ),
    Host(
        name="gemini",
        dialect="gemini",
        base_url="https://generativelanguage.googleapis.com/v1beta",
        key_env="GEMINI_API_KEY",
        auth_header="x-goog-api-key",
        auth_scheme="",
        # Models that do not think refuse to be told how much.
        drop_parameters=tuple(
            (pattern, _EFFORT)
            for pattern in ("gemini-1*", "gemini-2.0*", "gemini-2*image*", "gemma*")
        ),
        default_models=("gemini-flash-latest",),
        cancel_stops_billing=False,
    ),
    Host(
        name="mistral",
        base_url="https://api.mistral.ai/v1",
        key_env="MISTRAL_API_KEY",
        usage_flag=False,  # always sent; the field is a 422
        # Unknown fields are a 422, and the efforts it knows differ from model to model.
        reasoning_style="none",
        default_models=("mistral-small-latest",),
        cancel_stops_billing=False,
    ),
    Host(
        name="groq",
        base_url="https://api.groq.com/openai/v1",
        key_env="GROQ_API_KEY",
        drop_parameters=tuple(
            (pattern, _EFFORT)
            for pattern in ("llama*", "meta-llama/*", "moonshotai/*", "groq/*", "allam*")
        ),
        default_models=("openai/gpt-oss-120b",),
        cancel_stops_billing=False,
    ),
    Host(
        name="deepseek",
        base_url="https://api.deepseek.com",
        key_env="DEEPSEEK_API_KEY",
        reasoning_style="thinking",
        default_models=("deepseek-flash",),
        cancel_stops_billing=True,
    ),
    Host(
        name="openrouter",
        base_url="https://openrouter.ai/api/v1",
        key_env="OPENROUTER_API_KEY",
        usage_flag=False,  # always sent
        reasoning_style="object",
        stores_responses=True,
        encrypted_thinking=("*",),
        default_models=("openrouter/auto",),
    ),
    Host(
        name="ollama",
        base_url=f"http://127.0.0.1:{_OLLAMA_PORT}/v1",
        address_env="OLLAMA_HOST",
        default_models=("qwen3",),
    ),
    Host(
        name="perplexity",
        base_url="https://api.perplexity.ai",
        key_env="PERPLEXITY_API_KEY",
        usage_flag=False,  # on every chunk
        reasoning_style="none",
        responses_path="/v1/responses",
        default_models=("sonar",),
        cancel_stops_billing=False,
    ),
    Host(
        name="together",
        base_url="https://api.together.xyz/v1",
        key_env="TOGETHER_API_KEY",
        default_models=("openai/gpt-oss-120b",),
        cancel_stops_billing=True,
    ),
    Host(
        name="fireworks",
        base_url="https://api.fireworks.ai/inference/v1",
        key_env="FIREWORKS_API_KEY",
        usage_flag=False,  # always on the last chunk
        default_models=("accounts/fireworks/models/gpt-oss-120b",),
        cancel_stops_billing=True,
    ),
    Host(
        name="cerebras",
        base_url="https://api.cerebras.ai/v1",
        key_env="CEREBRAS_API_KEY",
        token_limit_field="max_completion_tokens",  # noqa: S106  (a request field)
        default_models=("gpt-oss-120b",),
    ),
    Host(
        name="azure",  # base_url = "https://RESOURCE.openai.azure.com/openai/v1"
        key_env="AZURE_OPENAI_API_KEY",
        auth_header="api-key",
        auth_scheme="",
        token_limit_field="max_completion_tokens",  # noqa: S106  (a request field)
        drop_parameters=_OPENAI_DROPS,
        stores_responses=True,
        encrypted_thinking=_OPENAI_ENCRYPTS,
        cancel_stops_billing=True,
    ),
    Host(name="vllm", base_url="http://127.0.0.1:8000/v1"),
    Host(name="llamacpp", base_url="http://127.0.0.1:8080/v1"),
    Host(name="lmstudio", base_url="http://127.0.0.1:1234/v1"),
)

# Anything that is not in the table: plain chat completions, address and models from the user.
GENERIC: Final = Host(name="generic")

# In the order in which zero configuration looks for keys.
HOSTS: Final[Mapping[str, Host]] = {row.name: row for row in _ROWS}

_BY_ADDRESS: Final = {row.base_url: row for row in _ROWS if row.base_url and row.key_env}


def host_for(name: str, base_url: str | None = None) -> Host:
    """Return the row of a provider: by its name, else by its public address, else GENERIC.

    The address counts so that a second account at a host, under a name of its own, is still read
    with that host's rules.
    """
    return HOSTS.get(name) or _BY_ADDRESS.get(base_url or "", GENERIC)
