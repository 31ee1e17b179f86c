"""The rows of a usage report as they are shown: nested in JSON, flat in tables."""

from collections.abc import Mapping
from typing import Any, Final

from tellstream.core.usage import FinishReason
from tellstream.storage.base import COST_UNITS, By, Totals
from tellstream.storage.first_token import BOUNDS, FirstToken

COUNTS: Final = (
    "streams",
    "prompt_tokens",
    "completion_tokens",
    "cache_read_input_tokens",
    "cache_write_input_tokens",
    "thought_tokens",
    "estimated_streams",
)
"""Shown as they are."""
TIMES: Final = ("streams", "mean", "p50", "p95", "max")
"""Shown of the times to the first token, besides the counts in classes."""
MORE: Final = "more"
"""The name of the class beyond the last of ``BOUNDS``."""


def shown(by: By, row: Totals) -> dict[str, Any]:
    """Make the object of a row.

    Args:
        by: what it stands for.
        row: the sums.
    """
    return {
        by: row.key,
        **{name: getattr(row, name) for name in COUNTS},
        "cost": None if row.cost is None else decimal(row.cost),
        "finish_reasons": {reason.value: count for reason, count in row.finish_reasons.items()},
        "first_token_ms": None if row.first_token is None else _times(row.first_token),
    }


def columns(by: By) -> list[str]:
    """Name the columns of a table, in order: the counts in classes are only in the objects."""
    ends = [f"finish_reasons.{reason.value}" for reason in FinishReason]
    return [by, *COUNTS, "cost", *ends, *(f"first_token_ms.{name}" for name in TIMES)]


def flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """Make what ``columns`` names of what ``shown`` made: no stream is 0, no time is null."""
    ends, times = row["finish_reasons"], row["first_token_ms"] or {"streams": 0}
    plain = {name: value for name, value in row.items() if not isinstance(value, dict)}
    plain.pop("first_token_ms", None)
    return (
        plain
        | {f"finish_reasons.{reason.value}": ends.get(reason, 0) for reason in FinishReason}
        | {f"first_token_ms.{name}": times.get(name) for name in TIMES}
    )


def decimal(cost: int) -> str:
    """Write a cost as an exact decimal number."""
    return f"{cost // COST_UNITS}.{cost % COST_UNITS:09d}"


def _times(first: FirstToken) -> dict[str, Any]:
    names = [*map(str, BOUNDS), MORE]
    return {
        "streams": first.streams,
        "mean": first.mean,
        "p50": first.quantile(0.5),
        "p95": first.quantile(0.95),
        "max": first.most,
        "counts": {name: count for name, count in zip(names, first.counts, strict=True) if count},
    }
