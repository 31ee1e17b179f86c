"""Reading the configuration: a TOML file, the environment, and what is wrong with them, in words.

Precedence: the defaults of ``settings.py``, then the file, then ``TELLSTREAM_`` variables with
``__`` between the levels (``TELLSTREAM_STREAMS__COMMIT_SECONDS=2``; arrays and tables as JSON).

Invariant: nothing in the file or under the prefix is ignored: an unknown key is an error, and
every error is one line with its source, its key and the reason, never a secret's value. This
module does not decide what is offered with the settings (``catalog.py``).
"""

import json
import re
import tomllib
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError

from tellstream.settings import Key, Problem, Settings, contradictions, suggestion

__all__ = ["ConfigError", "Settings", "dotted", "load_settings"]

DEFAULT_FILE: Final = "tellstream.toml"
ENV_PREFIX: Final = "TELLSTREAM_"


class ConfigError(Exception):
    """The configuration cannot be used; its text has one line per problem."""

    def __init__(self, problems: Collection[str]) -> None:
        self.problems = tuple(" ".join(problem.splitlines()) for problem in problems)
        super().__init__("\n".join(self.problems))


def load_settings(path: Path | None, environ: Mapping[str, str], cwd: Path) -> Settings:
    """Read the settings from a file and the environment.

    Args:
        path: the file; None takes ``tellstream.toml`` of ``cwd`` if there is one.
        environ: the environment, for overrides and for keys given as ``env:NAME``.
        cwd: the folder that a relative ``data_dir`` is in.

    Raises:
        ConfigError: for everything that is wrong with them, all of it at once.
    """
    label, tree = _read_file(path, cwd)
    from_environment, found = _overlay(tree, environ)
    try:
        context = {"environ": environ, "cwd": cwd}
        settings = Settings.model_validate(tree, context=context)
    except ValidationError as error:
        found += [_explain(detail) for detail in error.errors(include_url=False)]
    else:
        found += contradictions(settings)
    if not found:
        return settings

    def source(key: Key) -> str:
        overridden = any(key[: len(k)] == k or k[: len(key)] == key for k in from_environment)
        return label if label and not overridden else "environment"

    raise ConfigError([f"{source(key)}: {dotted(key)}: {reason}" for key, reason in found])


def _read_file(path: Path | None, cwd: Path) -> tuple[str, dict[str, Any]]:
    """Return the file's name as the user knows it (empty: no file) and its content."""
    label = str(path or DEFAULT_FILE)
    try:
        content = (cwd / label).read_bytes()
    except FileNotFoundError as error:
        if path is None:
            return "", {}
        raise ConfigError([f"{label}: cannot be read: {error.strerror}"]) from None
    except (OSError, ValueError) as error:  # ValueError: not a possible path
        reason = getattr(error, "strerror", "") or "not a path"
        raise ConfigError([f"{label}: cannot be read: {reason}"]) from None
    try:
        return label, tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        problem = "is not UTF-8"
    except RecursionError:
        problem = "is nested too deeply"
    except tomllib.TOMLDecodeError as error:
        reason, _, place = str(error).removesuffix(")").partition(" (at ")
        problem = f"{place.partition(',')[0]}: {reason}"  # "line 3" or "end of document"
    except ValueError:
        problem = "holds a number with too many digits"
    raise ConfigError([f"{label}: {problem}"])


# What Kubernetes puts into every pod beside a Service called tellstream or tellstream-something.
_KUBERNETES: Final = re.compile(
    r"\w+_SERVICE_(HOST|PORT\w*)=.*|\w+_PORT=\w+://.*|\w+_PORT_\d+_(TCP|UDP|SCTP)\w*=.*"
)


def foreign_variables(environ: Mapping[str, str]) -> list[str]:
    """Name the variables that have our prefix but are not taken for ours."""
    return sorted(
        name
        for name, value in environ.items()
        if name.startswith(ENV_PREFIX) and "__" not in name and _is_foreign(name, value)
    )


def _is_foreign(name: str, value: str) -> bool:
    """Whether a variable without a table only happens to share our prefix.

    Others name things after us, too; but what looks like one of our keys is a misspelt one.
    """
    key = name.removeprefix(ENV_PREFIX).lower()
    if key in Settings.model_fields:
        return bool(_KUBERNETES.fullmatch(f"{name}={value}"))
    return bool(_KUBERNETES.fullmatch(f"{name}={value}")) or not get_close_matches(
        key, Settings.model_fields, n=1
    )


def _overlay(tree: dict[str, Any], environ: Mapping[str, str]) -> tuple[list[Key], list[Problem]]:
    """Put the environment's values into ``tree``; return their keys and what does not fit.

    Sorted names put a whole table before the keys in it.
    """
    keys: list[Key] = []
    problems: list[Problem] = []
    for name in sorted(name for name in environ if name.startswith(ENV_PREFIX)):
        if "__" not in name and _is_foreign(name, environ[name]):
            continue
        node: Any = tree
        kind: Any = Settings
        key: Key = ()
        *tables, last = name.removeprefix(ENV_PREFIX).lower().split("__")
        for level in tables:
            spelled = _as_spelled(node, level)
            key, kind, node = (*key, spelled), _member(kind, spelled), node.setdefault(spelled, {})
            if not isinstance(node, dict):
                problems.append((key, f"is not a table, so {name} has no place in it"))
                break
        else:
            spelled = _as_spelled(node, last)
            key = (*key, spelled)
            node[spelled] = _decode(_member(kind, spelled), environ[name])
        keys.append(key)
    return keys, problems


def _as_spelled(table: Mapping[str, Any], level: str) -> str:
    """Variables have no case: a name that the file already has is spelled as there."""
    return next((name for name in table if name.lower() == level), level)


def _member(kind: Any, name: str) -> Any:
    """Return the type of a member of a table type; None if there is none."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        field = kind.model_fields.get(name)
        return field.annotation if field else None
    return get_args(kind)[1] if get_origin(kind) is Mapping else None


def _decode(kind: Any, text: str) -> Any:
    """Read a variable: as it is where text is wanted, as JSON elsewhere."""
    kinds = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    if any(k in (str, Path, SecretStr) or get_origin(k) in (Literal, Annotated) for k in kinds):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text  # which the type then refuses


_REASONS: Final = {
    "missing": "is required",
    "model_type": "must be a table",
    "dict_type": "must be a table",
    "tuple_type": "must be an array",
    "string_type": "must be a string",
    "path_type": "must be a string",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "string_too_short": "must not be empty",
    "string_unicode": "must be Unicode text",
}


def _explain(detail: Any) -> Problem:
    key = tuple(str(level) for level in detail["loc"] if level != "[key]")
    if detail["type"] == "extra_forbidden":
        table: Any = Settings
        for level in key[:-1]:
            table = _member(table, level) or table
        return key, f"unknown key{suggestion(key[-1], getattr(table, 'model_fields', ()))}"
    if detail["type"] == "value_error":
        return key, str(detail["ctx"]["error"])
    return key, _REASONS.get(detail["type"]) or re.sub(r"^\w+ should", "must", detail["msg"])


def dotted(key: Key) -> str:
    """Write a key as TOML does."""
    return ".".join(k if re.fullmatch("[A-Za-z0-9_-]+", k) else json.dumps(k) for k in key)
