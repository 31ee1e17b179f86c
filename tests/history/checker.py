"""Judges a history: is all that anybody saw a contiguous piece of one log with one ending?

Pure. ``check`` returns every contradiction it finds, a sentence each; an empty list is a pass.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from history.facts import Cancelled, History, How, RequestFacts, StreamFacts, View
from tellstream.core import events as ev
from tellstream.core import grammar
from tellstream.core.errors import GrammarError
from tellstream.core.frames import KEEP_ALIVE, decode_frame
from tellstream.core.ids import ALPHABET, EVENT_PREFIX
from tellstream.core.usage import FinishReason

RETRY: Final = b"retry: 1000\n"
"""What a server says that is about to stop."""
LOST: Final = {
    404: "is unknown",
    409: "is shorter than what was seen",
    410: "is gone",
}
"""Statuses that must not be, of a stream that exists and at a position that was seen."""
SAID: Final = (ev.TextDelta, ev.ThinkingDelta, ev.ToolCallDelta)
"""What a model says; all else may be the closing of what was open."""
SLACK_SECONDS: Final = 0.1
"""Between two processes' looks at one clock."""


class Body(NamedTuple):
    """A response body, taken apart.

    Attributes:
        frames: the whole ones.
        rest: the beginning of another.
        advised: the server said when to come back.
    """

    frames: list[bytes]
    rest: bytes
    advised: bool


class Log(NamedTuple):
    """A log, taken apart, for what the other checks need of it."""

    frames: list[bytes]
    events: list[ev.Event]

    @property
    def end(self) -> ev.StreamEnd | None:
        """Its ending."""
        last = self.events[-1] if self.events else None
        return last if isinstance(last, ev.StreamEnd) else None

    @property
    def content(self) -> bool:
        """Whether anything was said."""
        return any(event.type not in ev.NON_CONTENT for event in self.events)

    @property
    def error(self) -> str:
        """The code it failed with."""
        failures = [e for e in self.events if isinstance(e, ev.Error) and not e.recoverable]
        return failures[0].error_type if failures else ""


def check(history: History) -> list[str]:
    """Return what contradicts the promises."""
    logs = {facts.stream_id: read_log(facts.log) for facts in history.streams}
    problems = []
    for facts in history.streams:
        log = logs[facts.stream_id]
        found = (*_log(facts, log), *_views(facts, log, calm=history.calm), *_account(facts, log))
        problems += [f"{facts.stream_id}: {problem}" for problem in found]
        if history.workers_kept and log.content and log.error == "worker_lost":
            problems.append(f"{facts.stream_id}: ended as worker_lost, but no worker was lost")
    for request in history.requests:
        problems += [f"{request.name}: {p}" for p in _request(request, logs, history)]
    return problems


def ending(body: bytes) -> str:
    """Say how a log ends: with which error, or else for which reason."""
    log = read_log(body)
    return log.error or (str(log.end.finish_reason) if log.end else "not")


def take_apart(body: bytes) -> Body:
    """Split a body into frames; comments and advice stand between them, and only there."""
    frames, block, advised = [], b"", False
    lines = body.split(b"\n")
    last = lines.pop()
    for line in lines:
        if not block and line + b"\n" == KEEP_ALIVE:
            continue
        if not block and line + b"\n" == RETRY:
            advised = True
            continue
        block += line + b"\n"
        if not line:
            frames.append(block)
            block = b""
    return Body(frames, block + last, advised)


def read_log(body: bytes) -> Log:
    """Take a log apart, as far as it can be read."""
    frames = take_apart(body).frames
    events = []
    for frame in frames:
        try:
            events.append(decode_frame(frame)[1])
        except (ValueError, msgspec.DecodeError):
            break
    return Log(frames, events)


def number_of(frame: bytes) -> int | None:
    """Read a frame's sequence number."""
    first = frame.partition(b"\n")[0].removeprefix(b"id: ")
    return int(first) if first.isdigit() else None


# --- the log -------------------------------------------------------------------------------------


def _log(facts: StreamFacts, log: Log) -> Iterator[str]:
    numbers = [number_of(frame) for frame in log.frames]
    if numbers != list(range(1, len(numbers) + 1)):
        wrong = next(n for n, number in enumerate(numbers, 1) if number != n)
        yield f"the log's frame {wrong} has number {numbers[wrong - 1]}"
    if take_apart(facts.log).rest:
        yield "the log stops within a frame"
    if len(log.events) < len(log.frames):
        yield f"the log's frame {len(log.events) + 1} is not a native frame"
    ids = [event.id for event in log.events]
    if ids != sorted(set(ids)):
        yield "the ids of the log's events do not rise"
    yield from _grammar(log)
    if facts.text is not None:
        yield from _said(facts.text, log)


def _grammar(log: Log) -> Iterator[str]:
    ends = [n for n, event in enumerate(log.events, 1) if isinstance(event, ev.StreamEnd)]
    if not ends:
        yield "the log has no stream_end"
    elif len(ends) > 1:
        yield f"the log has {len(ends)} stream_ends"
    elif ends[0] != len(log.frames):
        yield "the log goes on after stream_end"
    else:
        try:
            grammar.check(log.events)
        except GrammarError as error:
            yield f"the log is not grammatical: {error.reason or error}"


def _said(text: str, log: Log) -> Iterator[str]:
    said = "".join(event.delta for event in log.events if isinstance(event, ev.TextDelta))
    if not text.startswith(said):
        yield f"the text is not the model's: {said[-60:]!r}"
    elif log.end is not None and log.end.finish_reason is FinishReason.STOP and said != text:
        yield f"it ends with Stop after {len(said)} of {len(text)} characters"


# --- what readers saw ----------------------------------------------------------------------------


def _views(facts: StreamFacts, log: Log, *, calm: bool) -> Iterator[str]:
    for view in facts.views:
        found = _status(view, log, calm=calm) if view.how is How.STATUS else _body(view, log, calm)
        for problem in found:
            yield f"{view.reader} from {view.asked}: {problem}"
    for reader in facts.unended:
        yield f"{reader}: never came to the end"


def _status(view: View, log: Log, *, calm: bool) -> Iterator[str]:
    if view.start and view.code == log.error and not log.content:
        return  # it failed early: the status says what the log says
    if view.status == 204:
        if view.asked < len(log.frames):
            yield f"204 although the log has {len(log.frames)} frames"
    elif view.status in LOST and not view.start:
        yield f"{view.status}: the stream {LOST[view.status]}"
    elif view.status != 503 or view.code != "service_unavailable":
        yield f"unexpected status {view.status} {view.code}"
    elif calm:
        yield "503 although no server was disturbed"


def _body(view: View, log: Log, calm: bool) -> Iterator[str]:
    body = take_apart(view.body)
    problem = next(_pieces(view, body, log), None)
    if problem is not None:
        yield problem  # what follows from it would only confuse
        return
    head = view.asked + len(body.frames)
    if view.how is How.HUNG:
        yield f"still open at {head}, long after the end"
    if view.how is How.CLEAN and body.rest:
        yield f"a clean end within frame {head + 1}"
    elif view.how is How.CLEAN and not body.advised:
        if head < len(log.frames):
            yield f"a clean end at {head}, before the stream's"
        elif not body.frames:
            yield "200 although it is at the end already"
    if calm and body.advised:
        yield "told to come back by a server that does not stop"
    if calm and view.how is How.BROKEN:
        yield f"broken off at {head} although no server was disturbed"


def _pieces(view: View, body: Body, log: Log) -> Iterator[str]:
    """Compare what was seen with the log, frame by frame."""
    for expected, frame in enumerate(body.frames, view.asked + 1):
        number = number_of(frame)
        if number is None:
            yield f"where frame {expected} should be: {frame[:60]!r}"
        elif number != expected:
            yield _misplaced(number, expected, view.asked + 1)
        elif number > len(log.frames):
            yield f"saw frame {number}, but the log ends with {len(log.frames)}"
        elif frame != log.frames[number - 1]:
            yield f"frame {number} is another than the log's: {frame[-60:]!r}"
    head = view.asked + len(body.frames)
    following = log.frames[head] if head < len(log.frames) else b""
    if not any(whole.startswith(body.rest) for whole in (following, KEEP_ALIVE, RETRY)):
        yield f"the beginning of frame {head + 1} is another than the log's: {body.rest[-60:]!r}"


def _misplaced(number: int, expected: int, first: int) -> str:
    if expected == first:
        return f"begins with frame {number} instead of {first}"
    if number < expected:
        return f"frame {number} again, after {expected - 1}"
    return f"a gap: frame {number} after {expected - 1}"


# --- what the servers say of it ------------------------------------------------------------------


def _account(facts: StreamFacts, log: Log) -> Iterator[str]:
    end, state = log.end, facts.state
    if end is None:
        return  # said already
    if state is None:
        yield "it has no state"
        return
    usage = msgspec.to_builtins(end.usage)
    if state["id"] != facts.stream_id or state["state"] != "finished":
        yield f"its state is that of {state['id']}, {state['state']}"
    if state["finish_reason"] != end.finish_reason:
        yield f"its state says {state['finish_reason']}, its log {end.finish_reason}"
    if state["usage"] != usage:
        yield f"its state says {state['usage']}, its log {usage}"
    if facts.rows is not None:
        yield from rows_differ(facts.rows, usage, estimated=state["estimated"])
    for cancel in facts.cancels:
        yield from _cancel(cancel, state, log)


def rows_differ(rows: Sequence[Mapping[str, Any]], usage: Any, *, estimated: bool) -> Iterator[str]:
    """Compare what the usage report says of a stream with what the stream said."""
    count = sum(row["streams"] for row in rows)
    if count != 1 or len(rows) != 1:
        yield f"it has {count} settled usage rows"
        return
    row = rows[0]
    counted = {name: row[name] for name in usage} if usage is not None else None
    if counted != usage:
        yield f"its usage row says {counted}, its log {usage}"
    if row["estimated_streams"] != int(estimated):
        yield f"its usage row counts {row['estimated_streams']} estimated, its state {estimated}"


def _cancel(cancel: Cancelled, state: Any, log: Log) -> Iterator[str]:
    """After 202 the ending is the one that was told; if none was, at least nothing more is said."""
    reason = state["finish_reason"]
    told = cancel.state["finish_reason"]
    if cancel.state["state"] == "finished" and told != reason:
        yield f"a cancel was told {told}, but it ended with {reason}"
    late = max((said_at(event) for event in log.events if isinstance(event, SAID)), default=0.0)
    if late > cancel.at + SLACK_SECONDS:
        yield f"it said more {late - cancel.at:.3f} s after a cancel was acknowledged"


def said_at(event: ev.Event) -> float:
    """When an event was composed, in Unix seconds, as the ULID in its id tells."""
    milliseconds = 0
    for character in event.id.removeprefix(EVENT_PREFIX)[:10]:
        milliseconds = milliseconds << 5 | ALPHABET.index(character)
    return milliseconds / 1000


# --- what was asked ------------------------------------------------------------------------------


def _request(request: RequestFacts, logs: dict[str, Log], history: History) -> Iterator[str]:
    for view in request.refusals:
        if view.how is How.STATUS:
            found = _status(view, Log([], []), calm=history.calm)
        else:
            broken = history.calm and view.how is not How.CUT
            found = iter([f"{view.how} without an answer"] if broken else [])
        yield from (f"{view.reader}: {problem}" for problem in found)
    streams = dict.fromkeys(request.streams)
    # A key is free again when its stream has ended before anything was said.
    kept = [s for s in streams if s not in logs or logs[s].content]
    if len(kept) > 1 or (request.key is None and len(streams) > 1):
        yield f"one request made {len(streams)} streams: {', '.join(streams)}"
    named = {stream for each in history.requests for stream in each.streams}
    unnamed = [s for s, log in logs.items() if s not in named and not log.content]
    streams_at_most = max(len(streams), 1)
    if request.key is not None:
        streams_at_most += len(unnamed)
    if len(request.calls) > streams_at_most * request.most_calls:
        yield f"{len(request.calls)} calls of the provider for {len(streams)} streams"
    if any(call.state == "running" for call in request.calls):
        yield "a call of the provider is still open after the end"
    if len(streams) == 1 and len(request.calls) == 1:
        facts = next((f for f in history.streams if f.stream_id in streams), None)
        yield from _counted(request, facts)


def _counted(request: RequestFacts, facts: StreamFacts | None) -> Iterator[str]:
    """What the provider said it counted is what is owed."""
    if facts is None or facts.state is None or not facts.state["usage"]:
        return
    (call,), usage = request.calls, facts.state["usage"]
    counted = call.prompt_tokens, call.completion_tokens
    owed = usage["prompt_tokens"], usage["completion_tokens"]
    if not facts.state["estimated"] and counted != owed:
        yield f"the provider counted {counted} tokens, its state says {owed}"
