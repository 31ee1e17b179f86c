"""Usage as CSV (RFC 4180), for spreadsheets: a header line, then the rows of the JSON, flat.

Names in it come from callers and from their issuers. A spreadsheet takes a cell that begins with
``=``, ``+``, ``-`` or ``@`` for a formula, whoever wrote it; such a name gets an apostrophe in
front, which spreadsheets read as "text". JSON has it as it is.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

MEDIA_TYPE: Final = "text/csv; charset=utf-8; header=present"
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


def table(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Write rows; null is an empty field.

    Args:
        columns: in order; the first one holds names.
        rows: a value for each column.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(columns)
    for row in rows:
        name, *numbers = (row[column] for column in columns)
        writer.writerow((_harmless(name), *numbers))
    return out.getvalue().encode(errors="replace")


def prefers(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether the Accept fields name CSV, and JSON not as much.

    JSON is the default: ``*/*`` is no wish for CSV.
    """
    weights = {b"text/csv": 0.0, b"application/json": 0.0}
    for name, value in headers:
        if name != b"accept":
            continue
        for entry in value.lower().split(b","):
            media, *parameters = (part.strip() for part in entry.split(b";"))
            if media in weights:
                weights[media] = _weight(parameters)
    return weights[b"text/csv"] > weights[b"application/json"]


def _weight(parameters: Iterable[bytes]) -> float:
    for parameter in parameters:
        if parameter.startswith(b"q="):
            try:
                return min(1.0, max(0.0, float(parameter[2:])))
            except ValueError:
                return 0.0
    return 1.0


def _harmless(name: str) -> str:
    return f"'{name}" if name.startswith(_FORMULA) else name
