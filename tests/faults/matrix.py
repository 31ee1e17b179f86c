"""The fault matrix: what a provider may do wrong, and what must come of it in every dialect.

One table. ``test_matrix.py`` runs each row against each dialect over real HTTP, and ``page.py``
writes it into the documentation.
"""

from typing import Final, NamedTuple

# Where the simulator speaks each dialect, below its address.
BASES: Final = {
    "openai-chat": "/v1",
    "openai-responses": "/v1",
    "anthropic-messages": "/v1",
    "gemini": "/v1beta",
    "ollama": "",
}
# Dialects in which the finish reason and the terminal marker are one frame: without it, nothing
# proves the end.
ONE_FRAME: Final = frozenset({"openai-responses", "ollama"})
WORDS: Final = 12
CUT_AT: Final = 6
"""Frames sent before a fault in the middle: some text has arrived in every dialect."""


class Outcome(NamedTuple):
    """What the caller sees: an HTTP error, or a stream and how it ended.

    Attributes:
        status: of the response.
        code: the error's code; empty if the stream ended well.
        finish: the stream's finish reason; empty for an HTTP error.
    """

    status: int
    code: str
    finish: str

    def __str__(self) -> str:
        """Say it in words."""
        if not self.finish:
            return f"HTTP {self.status} `{self.code}`"
        return f"`{self.finish}`" + (f", `{self.code}`" if self.code else "")


def refused(status: int, code: str) -> Outcome:
    return Outcome(status, code, "")


def failed(code: str) -> Outcome:
    return Outcome(200, code, "Error")


def ended(finish: str = "Stop") -> Outcome:
    return Outcome(200, "", finish)


class Row(NamedTuple):
    """One fault.

    Attributes:
        fault: in words.
        when: ``before`` or ``after`` the first content event.
        targets: the model's targets: simulator scripts, or ``!`` for a port nobody listens on.
        outcome: what must come of it.
        calls: requests that reach the provider.
        one_frame: the outcome in the dialects of ``ONE_FRAME``, if it is another one.
        requests: how often the caller asks; each must end so.
        unsaid: a dialect that cannot say this, and why.
    """

    fault: str
    when: str
    targets: tuple[str, ...]
    outcome: Outcome
    calls: int = 1
    one_frame: Outcome | None = None
    requests: int = 1
    unsaid: tuple[str, str] = ("", "")

    def expected(self, dialect: str) -> Outcome:
        """The outcome in one dialect."""
        return self.one_frame if self.one_frame and dialect in ONE_FRAME else self.outcome

    @property
    def name(self) -> str:
        """A name for the test."""
        return f"{self.fault}, {self.when}"


def _sim(options: str) -> tuple[str, ...]:
    return (f"sim:words={WORDS},{options}",)


UNAVAILABLE: Final = refused(503, "provider_unavailable")
TIMEOUT: Final = refused(504, "provider_timeout")
PROTOCOL: Final = refused(502, "provider_protocol")
TRUNCATED: Final = refused(502, "upstream_truncated")

ROWS: Final = (
    Row("connection refused", "before", ("!",), UNAVAILABLE, calls=0),
    Row("reset before the headers", "before", _sim("fault=reset,at=-1"), UNAVAILABLE, calls=3),
    Row("no answer", "before", _sim("fault=stall,at=-1"), TIMEOUT),
    Row("first token too late", "before", _sim("first_ms=5000"), TIMEOUT),
    Row("429, Retry-After in seconds, then success", "before",
        _sim("status=429,retry_after=1,times=1"), ended(), calls=2),
    Row("429, Retry-After as a date, then success", "before",
        _sim("status=429,retry_after=date:1,times=1"), ended(), calls=2),
    Row("429, Retry-After too long to wait", "before", _sim("status=429,retry_after=60"),
        refused(503, "provider_rate_limited")),
    Row("429, account empty", "before", _sim("status=429,code=insufficient_quota"),
        refused(502, "provider_quota"),
        unsaid=("ollama", "its errors are a text without a code")),
    Row("500 once", "before", _sim("status=500,times=1"), ended(), calls=2),
    Row("503", "before", _sim("status=503"), UNAVAILABLE, calls=3),
    Row("529", "before", _sim("status=529"), UNAVAILABLE, calls=3),
    Row("400, context too long", "before", _sim("status=400,code=context_length_exceeded"),
        refused(422, "context_length_exceeded")),
    Row("400, other", "before", _sim("status=400"), refused(422, "provider_rejected")),
    Row("401", "before", _sim("status=401"), refused(502, "provider_auth")),
    Row("content filter on the prompt", "before", _sim("status=400,code=content_filter"),
        refused(422, "content_filtered")),
    Row("content filter on the answer", "after", _sim("finish=content_filter"),
        ended("ContentFilter")),
    Row("HTML with status 200", "before", _sim("body=html"), PROTOCOL),
    Row("redirect", "before", _sim("redirect=1"), PROTOCOL),
    Row("gzip", "before", _sim("gzip=1"), PROTOCOL),
    Row("stall", "before", _sim("fault=stall,at=0"), TIMEOUT),
    Row("stall", "after", _sim(f"fault=stall,at={CUT_AT}"), failed("provider_timeout")),
    Row("reset", "before", _sim("fault=reset,at=0"), TRUNCATED, calls=3),
    Row("reset", "after", _sim(f"fault=reset,at={CUT_AT}"), failed("upstream_truncated")),
    Row("cut", "before", _sim("fault=eof,at=0"), TRUNCATED, calls=3),
    Row("cut", "after", _sim(f"fault=eof,at={CUT_AT}"), failed("upstream_truncated")),
    Row("body ends early", "after", _sim(f"fault=end,at={CUT_AT}"), failed("upstream_truncated")),
    Row("malformed line", "before", _sim("fault=garble,at=0"), ended()),
    Row("malformed line", "after", _sim(f"fault=garble,at={CUT_AT}"), ended()),
    Row("invalid UTF-8", "before", _sim("fault=badutf8,at=0"), ended()),
    Row("invalid UTF-8", "after", _sim(f"fault=badutf8,at={CUT_AT}"), ended()),
    Row("2 MiB event", "before", _sim("fault=hugeevent,at=0"), PROTOCOL),
    Row("2 MiB event", "after", _sim(f"fault=hugeevent,at={CUT_AT}"), failed("provider_protocol")),
    Row("endless stream", "after", ("sim:fault=endless,delay_ms=2",), failed("provider_timeout")),
    Row("no terminal marker", "after", _sim("done=0"), ended(),
        one_frame=failed("upstream_truncated")),
    Row("double finish", "after", _sim("fault=dupfinish"), ended()),
    Row("content after the finish reason", "after", _sim("fault=afterfinish"), ended()),
    Row("content after the terminal marker", "after", _sim("fault=afterdone"), ended()),
    Row("usage missing", "after", _sim("usage=none"), ended()),
    Row("error frame", "before", _sim("fault=error,at=0"), UNAVAILABLE, calls=3),
    Row("error frame", "after", _sim(f"fault=error,at={CUT_AT}"), failed("provider_unavailable")),
    Row("error frame after the finish reason", "after", _sim("fault=errorafter"),
        failed("provider_unavailable")),
    Row("first target down, a second configured", "before", ("!", *_sim("seed=1")), ended()),
    Row("every second call fails", "before", _sim("flap=2"), ended(), calls=7, requests=4),
)  # fmt: skip
