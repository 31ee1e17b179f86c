"""How often a login may be tried, per account and per address (rule A14).

The generic cell rate algorithm with its state in the store: one number per key, changed by one
statement, so that all workers count together and a restart forgets nothing.
"""

import math
from ipaddress import IPv6Address, ip_address
from typing import Final, NamedTuple

import sqlalchemy as sa

from tellstream.auth.opaque import digest
from tellstream.auth.transactions import Transaction
from tellstream.storage.tables_oauth import LOGIN_ATTEMPTS


class Rate(NamedTuple):
    """A limit: ``burst`` tries at once, then one every ``seconds``."""

    burst: int
    seconds: float


ACCOUNT_RATE: Final = Rate(10, 30.0)
"""2,880 tries a day: hopeless even against a weak password, and an attacker who keeps an account
busy delays its owner by half a minute."""
ADDRESS_RATE: Final = Rate(50, 2.0)
"""Generous, since a whole office, or everybody behind a proxy, may share one address."""
_IPV6_PREFIX: Final = 64  # one customer's; the rest of the address is free to choose


def attempt(tx: Transaction, email: str, address: str) -> int:
    """Count one try; the address first, so that a blocked one cannot block accounts.

    Args:
        tx: the transaction.
        email: as typed, normalised or not; need not be anybody's.
        address: of the client.

    Returns:
        Seconds to wait before the next try can pass; 0: this one may.
    """
    for key, rate in (_address_key(address), ADDRESS_RATE), (_account_key(email), ACCOUNT_RATE):
        wait = _take(tx, key, rate)
        if wait:
            return wait
    return 0


def forget_account(tx: Transaction, email: str) -> None:
    """Forget the tries of an account, after one that succeeded."""
    tx.connection.execute(
        sa.delete(LOGIN_ATTEMPTS).where(LOGIN_ATTEMPTS.c.key == _account_key(email))
    )


def _take(tx: Transaction, key: str, rate: Rate) -> int:
    full_at, now = LOGIN_ATTEMPTS.c.full_at, tx.now
    following = sa.case((full_at > now, full_at), else_=now) + rate.seconds
    statement = tx.insert(LOGIN_ATTEMPTS).values(key=key, full_at=now + rate.seconds)
    taken = tx.write(
        statement.on_conflict_do_update(
            index_elements=["key"],
            set_={"full_at": following},
            where=following <= now + rate.burst * rate.seconds,
        )
    )
    if taken:
        return 0
    state = sa.select(full_at).where(LOGIN_ATTEMPTS.c.key == key)
    found: float = tx.connection.execute(state).scalar_one()
    return max(1, math.ceil(found - now - (rate.burst - 1) * rate.seconds))


def _account_key(email: str) -> str:
    return f"account:{digest(email)}"  # hashed: people type passwords into the wrong field


def _address_key(address: str) -> str:
    try:
        found = ip_address(address)
    except ValueError:
        return f"address:{address[:64]}"
    if isinstance(found, IPv6Address) and found.ipv4_mapped is None:
        network = int(found) >> (128 - _IPV6_PREFIX)
        return f"address:{network:x}/{_IPV6_PREFIX}"
    return f"address:{getattr(found, 'ipv4_mapped', None) or found}"
