"""One administrative request: who asks for what; and the queries and pages of lists."""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

import msgspec

from tellstream.administration.actor import Actor
from tellstream.administration.acts import Administration
from tellstream.administration.problems import invalid
from tellstream.auth.tenants import MAX_TENANT
from tellstream.core.errors import RequestError

MAX_LIMIT: Final = 500
"""Rows in one answer."""
DEFAULT_LIMIT: Final = 100
MAX_FIELDS: Final = 16
"""Query parameters that are looked at; more are malformed."""
MAX_CURSOR_CHARS: Final = 400
"""Of a cursor, which holds at most a time and an id."""
MAX_TIME: Final = 1 << 53
NO_TENANT: Final = "none"
"""In ``?tenant=``: what belongs to no single tenant."""

_LIMIT: Final = re.compile(r"[1-9][0-9]{0,2}")
_TENANT: Final = re.compile(r"[1-9][0-9]{0,18}")
_ID: Final = re.compile(r"[A-Za-z0-9._~-]{1,100}")


class Page(NamedTuple):
    """A page of a list.

    Attributes:
        rows: as they are shown.
        cursor: where the next one begins; None: this is the last one.
    """

    rows: Sequence[Any]
    cursor: str | None = None


class Asked(NamedTuple):
    """What is asked for.

    Attributes:
        acts: what can be done.
        actor: who asks.
        own: the tenant of ``X-Tenant``.
        path: what stands for the ``{names}`` of the path.
        query: the query parameters.
        body: of the type that the endpoint names.
    """

    acts: Administration
    actor: Actor
    own: int
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: Any

    @property
    def tenant(self) -> int:
        """The tenant in the path.

        Raises:
            RequestError: ``not_found``, it is no tenant's number.
        """
        number = _tenant(self.path["id"])
        if number is None:
            raise RequestError("not_found")
        return number

    @property
    def whose(self) -> int:
        """The tenant of ``?tenant=``; without it, that of ``X-Tenant``.

        Raises:
            RequestError: ``validation_error``.
        """
        number = _tenant(self.query.get("tenant", str(self.own)))
        if number is None:
            raise invalid("tenant", "must be the number of a tenant")
        return number

    @property
    def limit(self) -> int:
        """How many rows, at most.

        Raises:
            RequestError: ``validation_error``.
        """
        text = self.query.get("limit", str(DEFAULT_LIMIT))
        if not _LIMIT.fullmatch(text) or int(text) > MAX_LIMIT:
            raise invalid("limit", f"must be a whole number from 1 to {MAX_LIMIT}")
        return int(text)


def tenants(given: Sequence[int] | None, own: int) -> frozenset[int]:
    """Give the tenants that somebody is to act for."""
    return frozenset([own] if given is None else given)


def query_fields(query_string: bytes, allowed: frozenset[str]) -> dict[str, str]:
    """Split a query, each name once.

    Raises:
        RequestError: ``invalid_request``, it is malformed or gives a parameter twice;
            ``validation_error``, it has one that is not allowed.
    """
    try:
        pairs = parse_qsl(
            query_string.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(query_string),
            errors="strict",
            max_num_fields=MAX_FIELDS,
        )
    except ValueError as error:
        raise RequestError("invalid_request", "The query is malformed.") from error
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise RequestError("invalid_request", "A query parameter is given twice.")
    if not fields.keys() <= allowed:
        names = ", ".join(sorted(allowed)) or "those of none"
        raise invalid("query", f"has a parameter that is not one of {names}")
    return fields


def written_cursor(*position: int | str) -> str:
    """Write where a list goes on."""
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).rstrip(b"=").decode()


def number_cursor(text: str | None) -> int | None:
    """Read a cursor that is one number.

    Raises:
        RequestError: ``validation_error``, it is none of ours.
    """
    if text is None:
        return None
    match _decoded(text):
        case [int(number)] if 0 <= number <= MAX_TENANT:
            return number
    raise _no_cursor()


def row_cursor(text: str | None) -> tuple[int, str] | None:
    """Read a cursor that is the time and the id of a row.

    Raises:
        RequestError: ``validation_error``, it is none of ours.
    """
    if text is None:
        return None
    match _decoded(text):
        case [int(at), str(row)] if 0 <= at < MAX_TIME and _ID.fullmatch(row):
            return at, row
    raise _no_cursor()


def _decoded(text: str) -> Any:
    if len(text) > MAX_CURSOR_CHARS or not text.isascii():
        return None
    try:
        padded = text + "=" * (-len(text) % 4)
        return msgspec.json.decode(base64.b64decode(padded, b"-_", validate=True))
    except (binascii.Error, ValueError):  # msgspec's errors are ValueErrors
        return None


def _no_cursor() -> RequestError:
    return invalid("cursor", "must be the cursor of an answer to the same query")


def _tenant(text: str) -> int | None:
    if not _TENANT.fullmatch(text) or int(text) > MAX_TENANT:
        return None
    return int(text)
