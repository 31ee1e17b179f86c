"""Every recorded anthropic-messages answer, replayed over real HTTP through a real server."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from conformance import expected
from conformance.expected import Recording, recordings
from conformance.harness import CHUNKINGS, Norms, Replaying, check_recording, replaying
from tellstream.core.events import Citation

pytestmark = pytest.mark.asyncio(loop_scope="module")

CODES = {529: "provider_unavailable"}


def error_code(recording: Recording) -> str:
    return CODES.get(recording.status) or expected.HTTP_CODES[recording.status]


def cited(citation: Citation) -> str | int | None:
    """The manifest lists addresses, and of documents the titles."""
    return citation.source if citation.source_type == "url" else citation.source_title


NORMS = Norms(
    expected.anthropic_messages_usage, expected.anthropic_messages_finish, error_code, cited
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def replayed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Replaying]:
    async with replaying(tmp_path_factory.mktemp("server"), "anthropic-messages") as replayed:
        yield replayed


@pytest.mark.parametrize("chunking", CHUNKINGS)
@pytest.mark.parametrize("recording", recordings("anthropic-messages"))
async def test_a_recorded_answer_comes_out_as_expected(
    recording: Recording, chunking: str, replayed: Replaying
) -> None:
    await check_recording(replayed, recording, chunking, NORMS)
