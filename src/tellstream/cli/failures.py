"""Expected failures as one clear line and an exit code, never a traceback."""

import functools
import sys
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

from tellstream.auth.keys import KeyFileError
from tellstream.auth.private_files import PrivateFileError
from tellstream.config import ConfigError
from tellstream.core.errors import ApiError
from tellstream.eventlog.base import LogSetupError
from tellstream.storage.base import StoreSetupError
from tellstream.telemetry.metrics_listener import MetricsSetupError
from tellstream.telemetry.traces import TraceSetupError

EXIT_FAILURE: Final = 1
EXIT_INTERRUPTED: Final = 130
"""128 + SIGINT, as shells report it."""

_P = ParamSpec("_P")
_R = TypeVar("_R")


class CliError(Exception):
    """Something the user can put right; the text says how."""


EXPECTED: Final = (
    CliError,
    ConfigError,
    KeyFileError,
    PrivateFileError,
    LogSetupError,
    StoreSetupError,
    MetricsSetupError,
    TraceSetupError,
    ApiError,
)


def one_line_errors(command: Callable[_P, _R]) -> Callable[_P, _R]:
    """Print expected failures of ``command`` on standard error and exit with 1."""

    @functools.wraps(command)
    def wrapped(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return command(*args, **kwargs)
        except EXPECTED as error:
            for line in str(error).splitlines():
                print(f"tellstream: {line}", file=sys.stderr)  # noqa: T201 - this is the output
            sys.exit(EXIT_FAILURE)
        except BrokenPipeError:
            raise
        except OSError as error:
            name = f"{error.filename}: " if error.filename else ""
            print(f"tellstream: {name}{error.strerror or error}", file=sys.stderr)  # noqa: T201 - the same
            sys.exit(EXIT_FAILURE)
        except KeyboardInterrupt:
            sys.exit(EXIT_INTERRUPTED)

    return wrapped
