"""What a stream used, when the provider did not say.

The estimate is a calibrated count, not a tokeniser: over the recorded answers of many providers a
token holds about four characters of text, and a message costs a few tokens of framing.
"""

import json
from typing import Final

from tellstream.core.chat import ChatRequest
from tellstream.core.usage import Usage

CHARACTERS_PER_TOKEN: Final = 4
TOKENS_PER_MESSAGE: Final = 4


def estimate(chat: ChatRequest, output_characters: int) -> Usage:
    """Estimate the tokens of ``chat`` and of an answer of so many characters."""
    texts = [chat.prompt, *(turn.content for turn in chat.history)]
    if chat.system:
        texts.append(chat.system)
    texts += [json.dumps(call.arguments) for turn in chat.history for call in turn.tool_calls]
    texts += [json.dumps(tool.parameters) + (tool.description or "") for tool in chat.tools]
    characters = sum(map(len, texts))
    return Usage(
        prompt_tokens=tokens(characters) + TOKENS_PER_MESSAGE * len(texts),
        completion_tokens=tokens(output_characters),
    )


def tokens(characters: int) -> int:
    """Estimate the tokens of text of so many characters."""
    return -(-characters // CHARACTERS_PER_TOKEN)
