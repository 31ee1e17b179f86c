"""Tellstream as an AG-UI agent."""

from tellstream.protocols import ag_ui_request
from tellstream.protocols.ag_ui import AgUiEncoder
from tellstream.protocols.table import AG_UI
from tellstream.server.call import Call
from tellstream.server.following import follow_started
from tellstream.server.services import Services
from tellstream.server.starting import read_question, start


async def run(services: Services, call: Call) -> None:
    """Start a stream and tell it as a run."""
    question = await read_question(services, call)
    asked = ag_ui_request.parse(question.body, question.limits)
    attachment = await start(services, call, question, asked.chat)
    encoder = AgUiEncoder(
        attachment.key.stream_id,
        thread_id=asked.thread_id,
        run_id=asked.run_id,
        parent_run_id=asked.parent_run_id,
    )
    await follow_started(AG_UI, services, call, attachment, encoder)
