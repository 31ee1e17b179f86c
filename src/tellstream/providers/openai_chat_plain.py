"""The plain chunk: what nearly every chunk of a ``chat.completion`` stream is.

One choice with a piece of text or thinking and nothing else. These types describe exactly that:
every member that means more must be null, so any other chunk fails to decode here and takes the
general path. Decoding into them costs a tenth of looking at each member in turn.
"""

from typing import Final, Literal

import msgspec


class _Delta(msgspec.Struct, gc=False):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: None = None
    refusal: None = None
    tool_calls: None = None
    function_call: None = None
    annotations: None = None
    images: None = None
    executed_tools: None = None


class _Choice(msgspec.Struct, gc=False):
    delta: _Delta
    index: Literal[0] = 0
    finish_reason: None = None
    usage: None = None


class _Chunk(msgspec.Struct, gc=False):
    choices: tuple[_Choice]
    usage: None = None
    error: None = None
    citations: None = None
    search_results: None = None
    x_groq: None = None


_decode: Final = msgspec.json.Decoder(_Chunk).decode


def plain_delta(data: bytes) -> tuple[str, str] | None:
    """Decode a plain chunk into its thinking and text (either may be empty).

    Returns:
        None if the chunk is not plain, or not JSON.
    """
    try:
        delta = _decode(data).choices[0].delta
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return delta.reasoning_content or delta.reasoning or "", delta.content or ""
