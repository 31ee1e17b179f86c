"""The output of OpenAI Responses: events that open items, fill their parts and close them again.

Invariant: events are numbered from 0 without gaps, and every item is opened once and closed once,
with all that was said in it (an endless one is never closed, so nothing of it is kept). Thinking is
a reasoning item with one summary part; parallel calls interleave, each at its own output index.
"""

from base64 import b64encode
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import msgspec

from tellstream.providers.simulator.answer import (
    Delta,
    Refusal,
    Text,
    Thinking,
    ToolArguments,
    ToolStart,
    Turn,
)
from tellstream.providers.simulator.wire import Frame

_encode: Final = msgspec.json.Encoder().encode


class _Form(NamedTuple):
    """How a kind of words is written: its events, where in the item they go, the part they fill."""

    event: str
    part_event: str
    place: str
    key: str
    part: dict[str, Any]
    extra: dict[str, Any]


TEXT_EVENT: Final = "response.output_text"
_LOGPROBS: Final[dict[str, Any]] = {"logprobs": []}
_TEXT: Final = {"type": "output_text", "annotations": []} | _LOGPROBS
_THINKING: Final = _Form(
    "response.reasoning_summary_text",
    "response.reasoning_summary_part",
    "summary_index",
    "text",
    {"type": "summary_text"},
    {},
)
_CONTENT: Final = ("response.content_part", "content_index")
_FORMS: Final[dict[type, _Form]] = {
    Thinking: _THINKING,
    Text: _Form(TEXT_EVENT, *_CONTENT, "text", _TEXT, _LOGPROBS),
    Refusal: _Form("response.refusal", *_CONTENT, "refusal", {"type": "refusal"}, {}),
}


def event(kind: str, number: int, fields: dict[str, Any]) -> bytes:
    """Write one event."""
    data = _encode({"type": kind} | fields | {"sequence_number": number})
    return b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"


class _Open(msgspec.Struct, frozen=True):
    """An item that is being said: where its events belong, its texts or fragments so far."""

    begun: _Form | ToolStart
    id: str
    place: dict[str, Any]
    said: list[str]


class Output:
    """Numbers events, opens and closes items around what is said; ``items`` are the closed ones."""

    def __init__(self, turn: Turn, *, keep: bool) -> None:
        self.items: list[dict[str, Any]] = []
        self.number = 0
        self._digest = turn.digest
        self._keep = keep
        self._count = 0
        self._words: _Open | None = None
        self._calls: dict[int, _Open] = {}

    def event(self, kind: str, fields: dict[str, Any], tokens: int = 0) -> Frame:
        """Write the next event."""
        self.number += 1
        return Frame(event(kind, self.number - 1, fields), tokens)

    def say(self, piece: Delta) -> Iterator[Frame]:
        """Write a delta, opening and closing what it takes."""
        if isinstance(piece, ToolStart):
            yield from self._close_words("completed")
            self._calls[piece.index] = call = self._begin(piece)
            yield self._added(call, 1)
        elif isinstance(piece, ToolArguments):
            call = self._calls[piece.index]
            call.said.append(piece.fragment)
            delta = call.place | {"delta": piece.fragment}
            yield self.event("response.function_call_arguments.delta", delta, 1)
        else:
            form = _FORMS[type(piece)]
            if self._words is None or self._words.begun is not form:
                yield from self._close_words("completed")
                self._words = self._begin(form)
                yield self._added(self._words)
                yield self._part_event("added", form, self._words, "")
            if self._keep:
                self._words.said.append(piece.text)
            delta = self._words.place | {"delta": piece.text} | form.extra
            yield self.event(f"{form.event}.delta", delta, 1)

    def close(self, status: str) -> Iterator[Frame]:
        """Close what is open, as completed or incomplete."""
        yield from self._close_words(status)
        for call in self._calls.values():
            arguments = {"arguments": "".join(call.said)}
            kind = "response.function_call_arguments.done"
            yield self.event(kind, call.place | arguments)
            yield self._done(call, status)
        self._calls.clear()

    def _close_words(self, status: str) -> Iterator[Frame]:
        words, self._words = self._words, None
        if words is not None and isinstance(words.begun, _Form):
            form, text = words.begun, "".join(words.said)
            done = words.place | {form.key: text} | form.extra
            yield self.event(f"{form.event}.done", done)
            yield self._part_event("done", form, words, text)
            yield self._done(words, status)

    def _begin(self, begun: _Form | ToolStart) -> _Open:
        kind = "fc" if isinstance(begun, ToolStart) else "rs" if begun is _THINKING else "msg"
        name = f"{kind}_{self._digest}{self._count}"
        place: dict[str, Any] = {"item_id": name, "output_index": self._count}
        if isinstance(begun, _Form):
            place[begun.place] = 0
        self._count += 1
        return _Open(begun, name, place, [])

    def _added(self, item: _Open, tokens: int = 0) -> Frame:
        fields = self._whole(item, "in_progress")
        return self.event("response.output_item.added", fields, tokens)

    def _done(self, item: _Open, status: str) -> Frame:
        fields = self._whole(item, status)
        self.items.append(fields["item"])
        return self.event("response.output_item.done", fields)

    def _whole(self, item: _Open, status: str) -> dict[str, Any]:
        output_index = item.place["output_index"]
        return {"output_index": output_index, "item": _item(self._digest, item, status)}

    def _part_event(self, what: str, form: _Form, item: _Open, text: str) -> Frame:
        fields = item.place | {"part": form.part | {form.key: text}}
        return self.event(f"{form.part_event}.{what}", fields)


def _item(digest: str, item: _Open, status: str) -> dict[str, Any]:
    begun, text = item.begun, "".join(item.said)
    identity = {"id": item.id}
    if isinstance(begun, ToolStart):
        call = {"arguments": text, "call_id": begun.id, "name": begun.name}
        return identity | {"type": "function_call", "status": status} | call
    parts = [] if status == "in_progress" else [begun.part | {begun.key: text}]
    if begun is _THINKING:
        kept = b64encode(f"encrypted {digest}".encode()).decode()
        return identity | {"type": "reasoning", "summary": parts, "encrypted_content": kept}
    return identity | {
        "type": "message",
        "status": status,
        "content": parts,
        "role": "assistant",
    }
