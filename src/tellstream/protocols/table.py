"""The table of output protocols: what ``?protocol=`` may name, and what routes speak."""

from typing import Final

from tellstream.protocols import ag_ui, openai_chat, ui_message
from tellstream.protocols.base import OutputProtocol
from tellstream.protocols.transcoder import DONE

NATIVE: Final = OutputProtocol("native")
OPENAI: Final = OutputProtocol(
    "openai", openai_chat.ChunkEncoder, terminal=DONE, error=openai_chat.error, lone_tenant=True
)
UI: Final = OutputProtocol(
    "ui", ui_message.UiEncoder, headers=(("x-vercel-ai-ui-message-stream", "v1"),), terminal=DONE
)
AG_UI: Final = OutputProtocol("ag-ui", ag_ui.AgUiEncoder)

PROTOCOLS: Final = {row.name: row for row in (NATIVE, OPENAI, UI, AG_UI)}
