"""What the authorization server reports to an auditor, in the audit log of the store."""

from typing import Final

from tellstream.auth.transactions import AuthEvent, Transaction, log_event
from tellstream.storage import audit

_REFUSED: Final = frozenset({"login.refused", "consent.denied"})
# Somebody showed a credential that was used before: one of the two who had it is a thief.
_FAILED: Final = frozenset({"code.replayed", "refresh_token.replayed"})


def record(tx: Transaction, event: AuthEvent) -> None:
    """Record an event in the log and, with what it tells of, in the store."""
    log_event(tx, event)
    outcome: audit.Outcome = "done"
    if event.name in _REFUSED:
        outcome = "refused"
    elif event.name in _FAILED:
        outcome = "failed"
    audit.append(
        tx.connection,
        None,
        audit.AuditEvent(
            at=int(tx.now),
            act=event.name,
            object=event.client or event.user,
            outcome=outcome,
            subject=event.user,
            client=event.client,
            details={"why": event.detail} if event.detail else {},
        ),
    )
