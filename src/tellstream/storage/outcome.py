"""Waiting for work that goes on regardless of who waits."""

import asyncio
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

_Value = TypeVar("_Value")
_Given = ParamSpec("_Given")


class Outcome(asyncio.Future[_Value]):
    """A future of work that cannot be taken back.

    A task that is cancelled while it awaits one goes on waiting, and gets its ``CancelledError``
    when the work has happened or has failed. Whoever completes the future does so in bounded time.
    """

    def cancel(self, msg: Any | None = None) -> bool:
        """Refuse; the task then remembers its cancellation until it is woken."""
        del msg
        return False


async def in_thread(
    function: Callable[_Given, _Value], *values: _Given.args, **named: _Given.kwargs
) -> _Value:
    """Run a blocking function in a thread, to its end even when the task is cancelled meanwhile."""
    outcome: Outcome[_Value] = Outcome()
    running = asyncio.ensure_future(asyncio.to_thread(function, *values, **named))

    def done(_: object) -> None:
        error = running.exception()
        if error is None:
            outcome.set_result(running.result())
        else:
            outcome.set_exception(error)

    running.add_done_callback(done)
    return await outcome
