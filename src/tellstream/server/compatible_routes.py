"""The routes for clients that people already have: OpenAI's, Vercel's, AG-UI's, and EventSource."""

from typing import Final

from tellstream.protocols.table import AG_UI, OPENAI, UI
from tellstream.server import ag_ui, openai_chat, tickets, ui_chat
from tellstream.server.route import Route

COMPATIBLE_ROUTES: Final = (
    Route(
        "POST",
        "/v1/streams/{id}/tickets",
        tickets.issue,
        "Get a ticket with which an EventSource can follow a stream",
        "chat",
    ),
    Route(
        "POST",
        "/v1/chat/completions",
        openai_chat.completions,
        "Ask as OpenAI's clients do",
        "chat",
        ("/openai/v1/chat/completions",),
        counts=True,
        protocols=(OPENAI,),
    ),
    Route(
        "GET",
        "/openai/v1/models",
        openai_chat.list_models,
        "The models this tenant may use, as OpenAI's clients want the list",
        "chat",
        protocols=(OPENAI,),
    ),
    Route(
        "POST",
        "/v1/ui/chat",
        ui_chat.chat,
        "Ask as useChat of Vercel's AI SDK does",
        "chat",
        counts=True,
        protocols=(UI,),
    ),
    Route(
        "GET",
        "/v1/ui/chat/{id}/stream",
        ui_chat.resume,
        "Resume the running stream of a chat",
        "chat",
        protocols=(UI,),
    ),
    Route(
        "POST",
        "/v1/ui/chat/{id}/stop",
        ui_chat.stop,
        "Cancel the running stream of a chat",
        "chat",
        protocols=(UI,),
    ),
    Route(
        "POST",
        "/v1/ag-ui",
        ag_ui.run,
        "Run as an AG-UI agent",
        "chat",
        counts=True,
        protocols=(AG_UI,),
    ),
)
