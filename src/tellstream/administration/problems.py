"""What is wrong with what somebody sent, field by field, without repeating it."""

from typing import Final

from pydantic import ValidationError

from tellstream.core.errors import RequestError

_WHOLE: Final = "body"
"""What a problem is said of that has no field of its own."""


def invalid(field: str, text: str) -> RequestError:
    """Make the error of one field."""
    return RequestError("validation_error", details=((field, text),))


def refusal(error: ValidationError) -> RequestError:
    """Make the error of everything that pydantic found."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    if any(problem["type"] == "json_invalid" for problem in problems):
        return RequestError("invalid_request", "The body is not valid JSON.")
    details: dict[tuple[str, str], None] = {}  # ordered, each once
    for problem in problems:
        steps, text = problem["loc"], problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":  # its name is input, too
            steps, text = steps[:-1], "has a field that is not known"
        details[".".join(map(str, steps)) or _WHOLE, text] = None
    return RequestError("validation_error", details=tuple(details))
