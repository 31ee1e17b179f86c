"""The error object of OpenAI's wires: Chat Completions and Responses have the same one."""

from typing import Any, Final

from tellstream.providers.simulator.failure import Failure

# Where the status alone does not say it.
_TYPES: Final = {
    "rate_limit_exceeded": "requests",
    "insufficient_quota": "insufficient_quota",
}


def error_object(failure: Failure) -> dict[str, Any]:
    """Describe a failure."""
    kind = "server_error" if failure.status >= 500 else "invalid_request_error"  # noqa: PLR2004 - the class of a status
    return {
        "message": failure.message,
        "type": _TYPES.get(failure.code, kind),
        "param": None,
        "code": failure.code,
    }
