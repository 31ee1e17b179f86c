"""A provider without a model: a server that speaks the wires of providers, paced, deterministic.

The path of a request chooses the wire (wires.py); the script language is the same on all of them.
What it says, how fast, and what goes wrong is chosen by the model name of the request (script.py).
It is the provider of a server without configuration, of the demo and the tests.

Invariant: the same request gets the same bytes on the same schedule, except for the times that
``stamp`` puts among them. It needs nothing from the rest of the project, and never calls out.

script -> answer (pieces) -> wire (frames) -> delivery (timed steps) -> playback (a transport)
"""

from tellstream.providers.simulator.journal import Record
from tellstream.providers.simulator.keys import SCRIPT_KEYS, Fault, Key
from tellstream.providers.simulator.script import (
    ALIASES,
    Alias,
    Script,
    ScriptError,
    UnknownModelError,
    parse_model,
)
from tellstream.providers.simulator.server import Simulator, serve_forever
from tellstream.providers.simulator.wires import IMPOSSIBLE, WIRES

__all__ = [
    "ALIASES",
    "IMPOSSIBLE",
    "SCRIPT_KEYS",
    "WIRES",
    "Alias",
    "Fault",
    "Key",
    "Record",
    "Script",
    "ScriptError",
    "Simulator",
    "UnknownModelError",
    "parse_model",
    "serve_forever",
]
