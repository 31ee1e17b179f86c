"""The forms of single settings: what a URL, an amount or a tenant's number looks like.

Each check says what is wrong in words that fit behind the key, without quoting the value, which may
be a secret.
"""

import re
from decimal import Decimal
from ipaddress import ip_address, ip_network
from typing import Annotated, Any, Final, TypeAlias
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from tellstream.core.prices import amount

MAX_TENANT: Final = 2**63 - 1  # the largest value of a signed 64-bit column


def _split_url(url: str) -> SplitResult:
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("must be ASCII without white space")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:  # its text would quote the URL
        raise ValueError("is not a valid URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an http or https URL")
    if "@" in parts.netloc:
        raise ValueError("must not hold a user name or password")
    if "?" in url or "#" in url:
        raise ValueError("must not have a query or a fragment")
    return parts


def trusted_url(url: str) -> str:
    """Take a URL that tokens are believed from: https, or on this machine."""
    parts = _split_url(url)
    if parts.scheme != "https" and not _is_loopback(parts.hostname or ""):
        raise ValueError("must be https, except on a loopback address")
    return url


def _is_loopback(hostname: str) -> bool:
    try:
        return ip_address(hostname).is_loopback
    except ValueError:
        return hostname == "localhost"


def base_url(url: str) -> str:
    """Take a URL that paths are put behind."""
    _split_url(url)
    return url.rstrip("/")


def tenant_id(text: Any) -> Any:
    """Take the number of a tenant, which is text as a key of TOML."""
    # ASCII digits only: int() also takes "+7", "1_0" and digits of other scripts.
    if re.fullmatch("[1-9][0-9]{0,18}", str(text)) and int(text) <= MAX_TENANT:
        return int(text)
    raise ValueError("a tenant id must be a decimal number from 1 to 2^63-1")


def form(pattern: str, otherwise: str) -> AfterValidator:
    """Accept text of one form; ``otherwise`` is what is said of any other."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(otherwise)
        return text

    return AfterValidator(check)


def listen(address: str) -> str:
    """Take an address to listen on."""
    match = re.fullmatch(r"(?:[^\s:\[\]]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})", address)
    if address and (not match or int(match[1]) > 65535):  # noqa: PLR2004  (the largest port)
        raise ValueError('must be "host:port" or empty')
    return address


def folder(path: Any) -> Any:
    """Take the path of a folder."""
    if isinstance(path, str) and (not path or "\0" in path):
        raise ValueError("must be the path of a folder")
    return path


def money(given: Any) -> Any:
    """Read an amount; a float counts as the decimal that was written."""
    if isinstance(given, bool) or not isinstance(given, int | float | str | Decimal):
        raise ValueError("must be an amount of money")  # noqa: TRY004 - pydantic takes it for a reason
    amount(given)
    return Decimal(str(given))


def network(text: str) -> str:
    """Take an address, or a network of them."""
    try:
        ip_network(text)
    except ValueError:
        raise ValueError("must be an address or a network, such as 10.0.0.0/8") from None
    return text


def not_empty(items: tuple[Any, ...]) -> tuple[Any, ...]:
    """Take at least one item."""
    if not items:
        raise ValueError("must not be empty")
    return items


TenantNumber: TypeAlias = Annotated[int, Field(ge=1, le=MAX_TENANT)]
ProviderName: TypeAlias = Annotated[
    str,
    form(
        "[a-z0-9][a-z0-9._-]{0,63}",
        "a provider name must be lower-case letters, digits, '.', '_' and '-'",
    ),
]
Target: TypeAlias = Annotated[str, form(r"[^/]+/\S(.*\S)?", 'must be "provider/model"')]
Money: TypeAlias = Annotated[Decimal, BeforeValidator(money)]
ARRAY: Final = Field(strict=False)  # TOML and JSON know lists, not tuples
NOT_EMPTY: Final = AfterValidator(not_empty)
