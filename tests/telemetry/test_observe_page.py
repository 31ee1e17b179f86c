"""docs/howto/observe.md is true: its table, its commands, its rules."""

import asyncio
import importlib
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from tellstream.telemetry.metrics import PrometheusObserver
from tellstream.telemetry.metrics_listener import MetricsListener, metrics_address
from tellstream.telemetry.metrics_table import CONFIGURED, FIXED, METRICS, OTHER, ClosedSets
from tellstream.telemetry.traces import wanted_exporter

PAGE: Final = Path(__file__).parents[2] / "docs/howto/observe.md"
TEXT: Final = PAGE.read_text(encoding="utf-8")
BEGIN: Final = "<!-- metrics: drawn from src/tellstream/telemetry/metrics_table.py -->\n"
END: Final = "<!-- end of metrics -->"
SECONDS: Final = 30


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    return [line.removeprefix("$ ") for block in blocks("console") for line in block.splitlines()]


def documents() -> list[Any]:
    yaml: Any = importlib.import_module("yaml")
    return [yaml.safe_load(block) for block in blocks("yaml")]


def table() -> str:
    """Draw the table of the page."""
    rows = ["| metric | kind | labels | what |", "| --- | --- | --- | --- |"]
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        rows.append(f"| `{metric.scraped}` | {metric.kind} | {labels} | {metric.help} |")
    return "\n" + "\n".join(rows) + "\n\n"


def test_the_table_is_that_of_the_code() -> None:
    before, _, rest = TEXT.partition(BEGIN)
    shown, _, after = rest.partition(END)
    assert before
    assert after
    assert shown == table(), f"put this between the marks:\n{table()}"


def names_in(expression: str) -> dict[str, set[str]]:
    """The metrics of a query, each with the labels it is selected or grouped by."""
    return {
        name: set(re.findall(r"(\w+)(?:=~|!=|=)\"", selector))
        for name, selector in re.findall(r"(tellstream_\w+)(?:\{([^}]*)\})?", expression)
    }


def test_alerts_ask_for_metrics_and_labels_that_there_are() -> None:
    known: dict[str, set[str]] = {}
    for metric in METRICS:
        known[metric.scraped] = set(metric.labels)
        if metric.kind == "histogram":
            known[f"{metric.name}_bucket"] = {*metric.labels, "le"}
    (groups,) = [group for document in documents() for group in document.get("groups", [])]
    asked = 0
    for rule in groups["rules"]:
        expression = rule["expr"]
        assert expression.count("(") == expression.count(")"), rule["alert"]
        for name, labels in names_in(expression).items():
            asked += 1
            assert labels <= known[name], rule["alert"]
            for grouped in re.findall(r"by \(([^)]*)\)", expression):
                assert set(grouped.replace(" ", "").split(",")) <= known[name] | {"instance"}
    assert asked >= 7


def test_alerts_select_values_that_there_are() -> None:
    for label, values in re.findall(r'(\w+)=~?"([^"]+)"', "".join(blocks("yaml"))):
        if label in FIXED:
            assert set(values.split("|")) <= set(FIXED[label]), label


def test_the_scraped_addresses_are_those_of_the_workers() -> None:
    (listen,) = re.findall(r'listen = "([^"]+)"', "".join(blocks("toml")))
    (jobs,) = [
        document["scrape_configs"] for document in documents() if "scrape_configs" in document
    ]
    targets = jobs[0]["static_configs"][0]["targets"]
    assert targets == [
        "{}:{}".format(*metrics_address(listen, worker)) for worker in range(len(targets))
    ]
    assert f"--workers {len(targets)}" in TEXT


async def test_the_command_shows_the_metrics() -> None:
    (command,) = [command for command in commands() if command.startswith("curl")]
    sets = ClosedSets({label: [OTHER] for label in CONFIGURED})
    watched = PrometheusObserver(sets, "1.2.3")
    listener = MetricsListener(watched.exposition)
    await listener.start("127.0.0.1", 0)
    try:
        here = command.replace("9464", str(listener.port))
        shown = await run(shlex.split(here))
    finally:
        await listener.close()
    assert "\ntellstream_streams_running 0.0\n" in shown
    assert "\nprocess_open_fds " in shown


async def run(command: list[str]) -> str:
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    async with asyncio.timeout(SECONDS):
        output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode()


def test_the_variables_turn_traces_on() -> None:
    (command,) = [command for command in commands() if command.startswith("OTEL")]
    environ = dict(word.split("=", 1) for word in shlex.split(command) if "=" in word)
    assert wanted_exporter(environ) == "otlp"


@pytest.mark.parametrize("variable", re.findall(r"`(OTEL_\w+)`", TEXT))
def test_every_variable_is_one_that_is_read(variable: str) -> None:
    ours = (PAGE.parents[2] / "src/tellstream/telemetry/traces.py").read_text()
    theirs: Any = importlib.import_module("opentelemetry.sdk.environment_variables")
    assert variable in ours or hasattr(theirs, variable)
