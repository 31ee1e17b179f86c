"""Every recorded gemini answer, replayed over real HTTP through a real server."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from conformance import expected
from conformance.expected import Recording, recordings
from conformance.harness import CHUNKINGS, Norms, Replaying, check_recording, replaying
from tellstream.core.events import Citation

pytestmark = pytest.mark.asyncio(loop_scope="module")

CODES = {403: "provider_auth", 503: "provider_unavailable"}


def error_code(recording: Recording) -> str:
    if "API key not valid" in recording.expected["error"]["message"]:
        return "provider_auth"  # said with 400
    return CODES.get(recording.status) or expected.HTTP_CODES[recording.status]


def cited(citation: Citation) -> str | int | None:
    """The manifest lists addresses; a book has none."""
    return citation.source if citation.source_type == "url" else None


def proven(recording: Recording) -> Recording:
    """A deviation from the manifest: an answer that breaks off is not a good one.

    This wire has no terminal marker, so a body without any finish reason is a truncated answer to
    us, where the manifest sees no error. What was said before is still expected.
    """
    said = recording.expected
    if said.get("finish_reason") or said.get("error"):
        return recording
    return replace(recording, expected={**said, "error": {"message": None}})


NORMS = Norms(expected.gemini_usage, expected.gemini_finish, error_code, cited)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def replayed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Replaying]:
    async with replaying(tmp_path_factory.mktemp("server"), "gemini") as replayed:
        yield replayed


@pytest.mark.parametrize("chunking", CHUNKINGS)
@pytest.mark.parametrize("recording", recordings("gemini"))
async def test_a_recorded_answer_comes_out_as_expected(
    recording: Recording, chunking: str, replayed: Replaying
) -> None:
    await check_recording(replayed, proven(recording), chunking, NORMS)
