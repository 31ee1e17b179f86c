"""axe-core, the accessibility checker, from its npm package; never a part of this repository."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from playwright.async_api import Page

PACKAGE = "axe-core@4.11.0"
WORST = {"serious", "critical"}


def axe_script(folder: Path) -> str | None:
    """Get it into a folder; None if there is no npm, or no network."""
    npm = shutil.which("npm")
    if npm is None:
        return None
    arguments = [npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund", PACKAGE]
    done = subprocess.run(arguments, capture_output=True, check=False, timeout=90)
    script = folder / "node_modules/axe-core/axe.min.js"
    return script.read_text() if done.returncode == 0 and script.exists() else None


async def problems(page: Page, script: str, *, only: Sequence[str] = ()) -> list[str]:
    """Name the serious problems of what is on the page now; ``only`` of some rules."""
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(script)
    rules = {"runOnly": list(only)} if only else {}
    found: Any = await page.evaluate(
        "options => axe.run(document, options)", {"resultTypes": ["violations"], **rules}
    )
    return [
        f"{one['id']}: {one['help']}: {json.dumps([node['html'][:120] for node in one['nodes']])}"
        for one in found["violations"]
        if one["impact"] in WORST
    ]
