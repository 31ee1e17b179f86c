"""Every recorded openai-responses answer, replayed over real HTTP through a real server."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from conformance import expected
from conformance.expected import Recording, recordings
from conformance.harness import CHUNKINGS, Norms, Replaying, check_recording, replaying

pytestmark = pytest.mark.asyncio(loop_scope="module")

# What the words of an error mean where its status means less.
CODES = {
    "context_length_exceeded": "context_length_exceeded",
    "invalid_api_key": "provider_auth",
    "rate_limit_exceeded": "provider_rate_limited",
}


def error_code(recording: Recording) -> str:
    error = recording.expected["error"]
    if "Incorrect API key" in error["message"]:
        return "provider_auth"  # xAI says so with 400
    return CODES.get(error["code"]) or expected.HTTP_CODES[recording.status]


NORMS = Norms(expected.openai_responses_usage, expected.openai_responses_finish, error_code)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def replayed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Replaying]:
    async with replaying(tmp_path_factory.mktemp("server"), "openai-responses") as replayed:
        yield replayed


@pytest.mark.parametrize("chunking", CHUNKINGS)
@pytest.mark.parametrize("recording", recordings("openai-responses"))
async def test_a_recorded_answer_comes_out_as_expected(
    recording: Recording, chunking: str, replayed: Replaying
) -> None:
    await check_recording(replayed, recording, chunking, NORMS)
