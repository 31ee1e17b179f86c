"""A look into a server from within: on SIGUSR1 it counts its tasks and objects, into a file.

Python imports a module of this name by itself when its folder is on PYTHONPATH, so the server is
the real one, started by the real command, and need not know of this.
"""

import asyncio
import gc
import json
import os
import signal
from collections import Counter
from pathlib import Path
from types import FrameType

FILE = os.environ.get("SOAK_LOOK")


def look(_number: int, _frame: FrameType | None) -> None:
    """Count what there is once garbage is collected."""
    gc.collect()
    tasks = Counter(task.get_coro().__qualname__ for task in asyncio.all_tasks())  # type: ignore[union-attr]
    kinds = Counter(map(type, gc.get_objects()))
    objects = {f"{kind.__module__}.{kind.__qualname__}": count for kind, count in kinds.items()}
    assert FILE is not None
    whole = Path(f"{FILE}.new")
    whole.write_text(json.dumps({"tasks": tasks, "objects": objects}))
    whole.rename(FILE)


if FILE is not None:
    signal.signal(signal.SIGUSR1, look)
