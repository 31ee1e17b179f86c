"""Which tenant a request selects: the ``X-Tenant`` header, and the range of tenant numbers.

The header only selects; ``Principal.act_for`` authorises. There is no default tenant.
"""

import re
from collections.abc import Collection, Sequence
from typing import Final

from tellstream.core.errors import RequestError

# The largest value of a signed 64-bit column.
MAX_TENANT: Final = 2**63 - 1

# ASCII digits only: int() and \d also take Arabic and full-width digits, spaces, "+7" and "1_0".
_TENANT: Final = re.compile(rb"[1-9][0-9]{0,18}")


def tenant_id(headers: Sequence[tuple[bytes, bytes]]) -> int:
    """Read the tenant number from raw ASGI headers.

    Returns:
        The number, 1..2^63-1.

    Raises:
        RequestError: 400 ``invalid_request``: none, several, or not a tenant number.
    """
    values = [value for name, value in headers if name.lower() == b"x-tenant"]
    if len(values) != 1:
        raise RequestError("invalid_request", "Exactly one X-Tenant header is required.")
    if not _TENANT.fullmatch(values[0]) or int(values[0]) > MAX_TENANT:
        raise RequestError("invalid_request", "X-Tenant must be a tenant number.")
    return int(values[0])


def lone_tenant(headers: Sequence[tuple[bytes, bytes]], tenants: Collection[int]) -> int | None:
    """Give the one tenant of a token, if the request selects none; else None.

    Only for protocols whose clients know of no tenants.
    """
    if len(tenants) != 1 or any(name.lower() == b"x-tenant" for name, _ in headers):
        return None
    return next(iter(tenants))
