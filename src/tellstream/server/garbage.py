"""How often the cyclic garbage collector of Python looks at what.

Nearly everything here dies by its reference count. What is in cycles (a failed task and its
traceback) is little, so looking for it every few hundred objects, and among all that a server has
loaded, costs CPU (7 % of short requests, measured) and pauses that readers see.
"""

import gc
from typing import Final

YOUNG: Final = 20_000
"""New objects between two looks at the young ones: some ten milliseconds of a busy server."""
MIDDLE: Final = 20
"""Looks at the young ones between two looks at the middle-aged ones."""
OLD: Final = 50
"""The same for the old ones. Python itself waits until a quarter as many are new."""


def calm() -> None:
    """Leave out what was loaded for good, and look seldom; call it once everything has started."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
