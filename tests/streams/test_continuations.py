from tellstream.core.chat import ChatRequest, Replay, ToolUse, Turn
from tellstream.streams.continuations import KEEP_SECONDS, MAX_BYTES, Continuations

REPLAY = Replay("anthropic-messages", ({"type": "thinking", "signature": "s"},))
CHAT = ChatRequest(
    "go on",
    (
        Turn("user", "x"),
        Turn("assistant", "", (ToolUse("call_1", "f", {}),)),
        Turn("tool", "1", tool_id="call_1"),
    ),
)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def restored(kept: Continuations, tenant: int = 1, subject: str = "s") -> Replay | None:
    return kept.restore(tenant, subject, CHAT).history[1].replay


def test_what_belongs_to_a_call_comes_back_with_its_result() -> None:
    kept = Continuations(Clock())
    kept.remember(1, "s", ["call_1"], REPLAY)
    assert restored(kept) == REPLAY
    assert kept.restore(1, "s", CHAT).history[0] == CHAT.history[0]


def test_another_tenant_or_subject_gets_nothing() -> None:
    kept = Continuations(Clock())
    kept.remember(1, "s", ["call_1"], REPLAY)
    assert restored(kept, tenant=2) is None
    assert restored(kept, subject="t") is None


def test_it_is_forgotten_in_time() -> None:
    clock = Clock()
    kept = Continuations(clock)
    kept.remember(1, "s", ["call_1"], REPLAY)
    clock.now += KEEP_SECONDS + 1
    assert restored(kept) is None


def test_too_much_is_not_kept() -> None:
    kept = Continuations(Clock())
    kept.remember(1, "s", ["call_1"], Replay("gemini", ({"x": "y" * MAX_BYTES},)))
    assert restored(kept) is None
