"""One worker of ``tellstream serve --workers N``; started by ``workers.py``, not by hand.

Arguments: the file descriptors of the listening socket, of the pipe to say "ready" on, and of the
pipe that ends with the parent; its number, from 0; then the configuration file, if there is one.
"""

import os
import signal
import socket
import sys
import threading
from pathlib import Path

from tellstream.cli.failures import one_line_errors
from tellstream.config import load_settings
from tellstream.server.app import build
from tellstream.server.dialects import build_offer
from tellstream.server.run import run
from tellstream.telemetry import configure_logging


@one_line_errors
def main(listener: int, ready: int, life: int, number: int, config: Path | None) -> None:
    """Serve until a signal or the parent's death."""
    redactor = configure_logging(sys.stderr)
    settings = load_settings(config, os.environ, Path.cwd())
    catalog = build_offer(settings, os.environ)
    redactor.hide(catalog.secrets)
    application = build(settings, catalog, worker=number)
    threading.Thread(target=_stop_with, args=(life,), daemon=True).start()
    run(
        application,
        socket.socket(fileno=listener),
        settings.streams.drain_seconds,
        lambda: _say(ready),
    )


def _say(ready: int) -> None:
    os.write(ready, b"1")
    os.close(ready)


def _stop_with(life: int) -> None:
    """Stop when the parent is gone: nobody would replace or stop this worker any more."""
    os.read(life, 1)  # nothing is ever written: this returns at its end
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    _listener, _ready, _life, _number, *_files = sys.argv[1:]
    main(int(_listener), int(_ready), int(_life), int(_number), Path(_files[0]) if _files else None)
