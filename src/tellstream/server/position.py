"""Where a reader wants to continue: ``Last-Event-ID``, else ``?after=``, else the beginning."""

import re
from typing import Final
from urllib.parse import parse_qs

from tellstream.core.errors import RequestError
from tellstream.server.asgi import RawHeaders

# Sequence numbers of a stream; a log holds some ten thousand.
_NUMBER: Final = re.compile(r"[0-9]{1,9}")


def position(headers: RawHeaders, query_string: bytes) -> int:
    """Read the sequence number of the last event that the reader has; 0 for none.

    Raises:
        RequestError: ``invalid_request``, it is not a number, or given twice.
    """
    given = [value.decode("latin-1") for name, value in headers if name == b"last-event-id"]
    if not given:
        query = parse_qs(query_string.decode("latin-1"), keep_blank_values=True)
        given = query.get("after", [])
    if not given:
        return 0
    if len(given) > 1 or not _NUMBER.fullmatch(given[0]):
        raise RequestError("invalid_request", "The position is not the id of an event.")
    return int(given[0])
