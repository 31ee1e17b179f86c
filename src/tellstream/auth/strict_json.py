"""JSON of untrusted origin, read so that two parsers cannot disagree about it (rule R11).

Duplicate names, NaN, other encodings than UTF-8 and too deep nesting are errors, all of them
``ValueError`` with a constant text: nothing that was read gets into a log. Schemas are not known.
"""

import json


def parse_object(raw: bytes) -> dict[str, object]:
    """Parse one JSON object.

    Raises:
        ValueError: not UTF-8, not JSON, not an object, duplicate names, nested too deeply.
    """
    try:
        value = json.loads(
            raw.decode("utf-8"), object_pairs_hook=_without_duplicates, parse_constant=_refuse
        )
    except RecursionError as error:
        raise ValueError("JSON is nested too deeply") from error
    except json.JSONDecodeError as error:
        # Its own text is safe, but the exception carries the whole document.
        raise ValueError("not JSON") from error
    except UnicodeDecodeError as error:
        raise ValueError("not UTF-8") from error
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - callers handle one kind of error
    return value


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a JSON name occurs twice")
    return members


def _refuse(_: str) -> None:
    raise ValueError("NaN and Infinity are not JSON")
