"""Every recorded ollama answer, replayed over real HTTP through a real server."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from conformance import expected
from conformance.expected import Recording, recordings
from conformance.harness import CHUNKINGS, Norms, Replaying, check_recording, replaying

pytestmark = pytest.mark.asyncio(loop_scope="module")


def error_code(recording: Recording) -> str:
    return expected.HTTP_CODES[recording.status]


NORMS = Norms(expected.ollama_usage, expected.finish_reason, error_code)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def replayed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Replaying]:
    async with replaying(tmp_path_factory.mktemp("server"), "ollama") as replayed:
        yield replayed


@pytest.mark.parametrize("chunking", CHUNKINGS)
@pytest.mark.parametrize("recording", recordings("ollama"))
async def test_a_recorded_answer_comes_out_as_expected(
    recording: Recording, chunking: str, replayed: Replaying
) -> None:
    await check_recording(replayed, recording, chunking, NORMS)
