"""Answers of the model ``replay``, some of which come in parts, each when a test lets it go.

So "in the middle of an answer" is a place and not a moment, however busy the machine is.
"""

import asyncio
import json
from types import TracebackType
from typing import Self

from support.replay import Answer, ReplayProvider

MODEL = "recorded"


def delta(text: str) -> bytes:
    body = {"id": "1", "model": "m", "choices": [{"index": 0, "delta": {"content": text}}]}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def end(tokens: int) -> bytes:
    """Say that the answer is over, and how many tokens were written."""
    stop = {
        "id": "1",
        "model": "m",
        "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
    }
    usage = {"prompt_tokens": 5, "completion_tokens": tokens}
    used = {"id": "1", "model": "m", "choices": [], "usage": usage}
    said = [json.dumps(stop), json.dumps(used), "[DONE]"]
    return b"".join(b"data: " + text.encode() + b"\n\n" for text in said)


class Held:
    """An answer in parts of so many words.

    Args:
        replay: the provider.
        counts: words of each part.
    """

    def __init__(self, replay: ReplayProvider, *counts: int) -> None:
        texts = [b"".join(delta(f"word{n} ") for n in range(count)) for count in counts]
        texts[-1] += end(sum(counts))
        self._gate = asyncio.Semaphore(0)
        self._left = len(texts)
        replay.answers[MODEL] = Answer(b"", chunking=lambda _: iter(texts), gate=self._gate)

    def __enter__(self) -> Self:
        self.go()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        while self._left:  # nothing stays in the provider
            self.go()

    def go(self) -> None:
        """Let the next part go; the first one goes by itself."""
        self._left -= 1
        self._gate.release()
