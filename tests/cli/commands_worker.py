"""Runs commands of ``tellstream``, each in a process of its own that has everything loaded.

One request a line on standard input, as JSON: arguments, folder, and the names of the files for
standard input, output and errors. The answer is the exit code. Loading takes a second or two, the
command itself a tenth of that.
"""

import json
import os
import sys
import traceback

import tellstream.server.app  # noqa: F401 - loaded before the fork
from tellstream.administration import acts  # noqa: F401 - the same
from tellstream.cli.main import main
from tellstream.server.admin import shown  # noqa: F401 - the same


def run(arguments: list[str], folder: str, files: list[str]) -> None:
    """Be ``tellstream`` with these arguments."""
    code: object = 0
    try:
        os.chdir(folder)
        for number, name in enumerate(files):
            flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            os.dup2(os.open(name, flags), number)
        sys.argv = ["tellstream", *arguments]
        main()
    except SystemExit as stopped:
        code = stopped.code
    except BaseException:  # noqa: BLE001 - as Python itself reports it
        traceback.print_exc()
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            run(*json.loads(line))
        status = os.waitpid(child, 0)[1]
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()
