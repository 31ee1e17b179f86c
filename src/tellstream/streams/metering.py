"""What a stream used: what the provider said, completed by an estimate where it said too little."""

import json
from typing import Final

import msgspec

from tellstream.core.chat import ChatRequest
from tellstream.core.composer import Composer, Ending
from tellstream.core.errors import ProviderError
from tellstream.core.estimate import estimate
from tellstream.core.usage import Usage

TOKENS_PER_MESSAGE: Final = 4
"""Of framing, about."""


def prompt_tokens(chat: ChatRequest) -> int:
    """Estimate the tokens of a prompt."""
    texts = [chat.prompt, *(turn.content for turn in chat.history)]
    if chat.system:
        texts.append(chat.system)
    texts += [json.dumps(call.arguments) for turn in chat.history for call in turn.tool_calls]
    texts += [json.dumps(tool.parameters) + (tool.description or "") for tool in chat.tools]
    return sum(map(estimate, texts)) + TOKENS_PER_MESSAGE * len(texts)


def used(composer: Composer, prompt: int | None, ending: Ending) -> tuple[Usage, bool]:
    """Work out what a stream used.

    Some providers count along, or begin with a count and end with another: what came after the last
    one is added to it if the stream was cut by us. If the provider failed, its last count stands.

    Args:
        composer: of the stream.
        prompt: its tokens, estimated; None: no provider has read it, so nobody charges for it.
        ending: of the stream.

    Returns:
        The usage, and whether it is an estimate.
    """
    reported = composer.usage
    if reported is None:
        if prompt is None:
            return Usage(), False
        return Usage(prompt, composer.output.tokens), True
    said_all = composer.finish_seen or isinstance(ending.error, ProviderError)
    rest = 0 if said_all else composer.output.unreported_tokens
    if not rest:
        return reported, False
    total = reported.completion_tokens + rest
    return msgspec.structs.replace(reported, completion_tokens=total), True
