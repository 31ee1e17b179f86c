"""No example of the documentation is without a test that executes it."""

from pathlib import Path
from typing import Final

import pytest

from support.pages import MARKDOWN, ROOT, Block, blocks, name

SHOWN: Final = {"text", "mermaid"}
"""Languages of blocks that only show something."""
EVERYWHERE: Final = {"toml": "tests/test_docs.py"}
"""Executed wherever they are: settings are loaded, and an offer is built of them."""
COMMANDS: Final = "tests/docs_examples/test_commands.py"
OTHERS: Final = "tests/clients/test_examples.py"
TUTORIAL: Final = "tests/docs_examples/test_page_in_your_app.py"
WORKERS: Final = "tests/docs_examples/test_two_workers.py"
ISSUER: Final = "tests/docs_examples/test_external_issuer.py"
PROXY: Final = "tests/e2e/test_nginx.py"
OBSERVE: Final = "tests/telemetry/test_observe_page.py"
CODE: Final = "tests/docs_examples/test_code_changes.py"
# Page: language: what executes the blocks of this language there.
EXECUTED: Final[dict[str, dict[str, str]]] = {
    "README.md": {"sh": "tests/test_readme.py", "console": "tests/test_readme.py"},
    "docs/howto/add-a-dialect.md": {"python": CODE},
    "docs/howto/add-a-host.md": {
        "python": CODE,
        "console": COMMANDS,
    },
    "docs/howto/administer.md": {"console": COMMANDS},
    "docs/howto/ag-ui.md": {"js": OTHERS},
    "docs/howto/behind-a-proxy.md": {"console": PROXY, "nginx": PROXY},
    "docs/howto/choose-an-event-log.md": {"conf": CODE},
    "docs/howto/configure-a-provider.md": {"console": COMMANDS},
    "docs/howto/event-source.md": {"js": OTHERS},
    "docs/howto/external-issuer.md": {"sh": ISSUER, "json": ISSUER},
    "docs/howto/get-tokens.md": {"console": COMMANDS, "python": COMMANDS},
    "docs/howto/limit-and-bill.md": {"sh": COMMANDS},
    "docs/howto/observe.md": {"console": OBSERVE, "yaml": OBSERVE},
    "docs/howto/openai-sdk.md": {"python": OTHERS, "js": OTHERS},
    "docs/howto/providers.md": {"console": COMMANDS},
    "docs/howto/resume-and-cancel.md": {"sh": COMMANDS},
    "docs/howto/test-with-the-simulator.md": {"console": COMMANDS, "python": COMMANDS},
    "docs/howto/two-workers.md": dict.fromkeys(("conf", "sh", "sql", "nginx", "python"), WORKERS),
    "docs/howto/use-the-javascript-client.md": {"js": "tests/web/test_js_client.py"},
    "docs/howto/use-the-python-client.md": {"python": "tests/client/test_real_server.py"},
    "docs/howto/vercel-ai-sdk.md": {"js": OTHERS, "sh": OTHERS},
    "docs/tutorial/first-stream.md": dict.fromkeys(
        # The console is `make setup`, which everybody who runs these tests has done.
        ("sh", "python", "console"),
        "tests/test_docs.py",
    ),
    "docs/tutorial/page-in-your-app.md": dict.fromkeys(("sh", "python", "html", "js"), TUTORIAL),
}


def is_executed(block: Block) -> bool:
    return block.language not in SHOWN and block.language not in EVERYWHERE


@pytest.mark.parametrize("path", MARKDOWN, ids=name)
def test_every_example_of_a_page_has_its_test(path: Path) -> None:
    assert all(block.language for block in blocks(path)), "a block says its language"
    found = {block.language for block in blocks(path) if is_executed(block)}
    assert found == set(EXECUTED.get(name(path), {}))


def test_the_tests_are_there_and_know_their_pages() -> None:
    for page, tests in EXECUTED.items():
        for test in {*tests.values(), *EVERYWHERE.values()}:
            assert (ROOT / test).is_file(), test
        stem = Path(page).stem
        for test in set(tests.values()) - {"tests/e2e/test_nginx.py"}:
            told = (ROOT / test).read_text(encoding="utf-8")
            assert stem in told or "DOCS" in told, f"{test} does not name {page}"
