"""Errors of the OAuth endpoints: RFC 6749 sections 4.1.2.1 and 5.2, RFC 8707 section 2.

They have a body of their own, ``{"error", "error_description"}``, because OAuth clients read that
one, and are therefore no ``ChatError``. Descriptions are constants, never an echo of the request.
"""

from typing import Final

# Code to HTTP status; everything is 400 except failed client authentication.
STATUSES: Final = {
    "invalid_request": 400,
    "invalid_client": 401,
    "invalid_grant": 400,
    "unauthorized_client": 400,
    "unsupported_grant_type": 400,
    "invalid_scope": 400,
    "invalid_target": 400,
    # These two only ever go to a redirect URI, where there is no status.
    "access_denied": 400,
    "unsupported_response_type": 400,
}


class OAuthError(Exception):
    """A refusal of an OAuth endpoint.

    Args:
        code: a key of ``STATUSES``.
        description: ASCII without quotes and backslashes (RFC 6749 appendix A.8), for developers.

    Raises:
        KeyError: when ``code`` is not in the table (a bug).
    """

    def __init__(self, code: str, description: str) -> None:
        super().__init__(f"{code}: {description}")
        self.status = STATUSES[code]
        self.code = code
        self.description = description
