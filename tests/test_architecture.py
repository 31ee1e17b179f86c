"""Who may import whom: ``cli -> server -> {rooms} -> */base -> core``, and nothing else."""

import ast
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).parents[1] / "src/tellstream"
PURE: Final = {"core"}
ROOMS: Final = {"streams", "auth", "protocols", "providers", "eventlog", "limits", "storage"}
# Each room sees itself, core, and the contracts (base.py) of the others.
CONTRACTS: Final = {
    "tellstream.providers.base",
    "tellstream.eventlog.base",
    "tellstream.limits.base",
    "tellstream.storage.base",
    "tellstream.storage.tables_oauth",
}
# Facts that are data: the table of hosts, read by the settings.
ROOT_MODULES: Final = {
    "setting_forms": set(),
    "settings": {"providers.hosts", "setting_forms"},
    "config": {"settings"},
    "catalog": {"settings", "config", "providers.hosts"},
    "telemetry": set(),
    "__init__": set(),
}
CORE_LIBRARIES: Final = {"msgspec"}
# What core must not touch: sockets, clocks, the environment, randomness.
IMPURE: Final = {"asyncio", "socket", "time", "os", "random", "secrets", "threading", "subprocess"}
# What reaches the network by itself; and the files that are the upstream client.
NETWORK: Final = {"aiohappyeyeballs", "aiohttp"}
UPSTREAM: Final = {"exchange", "http", "names", "pool"}


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def ours(path: Path) -> set[str]:
    return {name for name in imports(path) if name.startswith("tellstream.")}


def files(room: str) -> list[Path]:
    return sorted((SOURCE / room).rglob("*.py"))


def allowed(name: str, *prefixes: str) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


def test_core_imports_only_core_and_pure_libraries() -> None:
    for path in files("core"):
        for name in imports(path):
            top = name.split(".")[0]
            assert top not in IMPURE, f"{path}: {name}"
            if top == "tellstream":
                assert allowed(name, "tellstream.core"), f"{path}: {name}"
            elif top not in CORE_LIBRARIES:
                assert top in STDLIB, f"{path}: {name}"


def test_rooms_see_only_core_and_contracts() -> None:
    for room in ROOMS:
        for path in files(room):
            for name in ours(path):
                if not allowed(name, "tellstream.core", f"tellstream.{room}", *CONTRACTS):
                    raise AssertionError(f"{path} imports {name}")


def test_the_simulator_stands_alone() -> None:
    for path in files("providers/simulator"):
        for name in ours(path):
            assert allowed(name, "tellstream.core", "tellstream.providers.simulator"), path


def test_the_client_needs_only_core() -> None:
    for path in files("client"):
        for name in ours(path):
            assert allowed(name, "tellstream.core", "tellstream.client"), path


def test_administration_knows_no_way_to_ask_for_it() -> None:
    seen = ("core", "administration", "auth", "storage", "settings", "setting_forms")
    for path in files("administration"):
        for name in ours(path):
            assert allowed(name, *(f"tellstream.{room}" for room in seen)), f"{path}: {name}"


def test_the_server_does_not_know_the_command_line() -> None:
    for room in ("server", "administration", *ROOMS):
        for path in files(room):
            assert not any(allowed(name, "tellstream.cli") for name in ours(path)), path


def test_only_one_file_opens_upstream_connections() -> None:
    users = [p for p in SOURCE.rglob("*.py") if any(n.split(".")[0] in NETWORK for n in imports(p))]
    assert users == [SOURCE / "providers/pool.py"]


def test_nobody_goes_around_the_upstream_client() -> None:
    parts = {f"tellstream.providers.{name}" for name in UPSTREAM - {"http"}}
    for path in SOURCE.rglob("*.py"):
        if path.parent != SOURCE / "providers" or path.stem not in UPSTREAM:
            assert not any(allowed(name, *parts) for name in ours(path)), path


def test_dialects_are_sans_io_and_readable() -> None:
    for path in SOURCE.glob("providers/*.py"):
        if path.stem not in UPSTREAM:
            tops = {name.split(".")[0] for name in imports(path)}
            assert not tops & (IMPURE | NETWORK), path
            assert len(path.read_text().splitlines()) <= 350, path


def test_only_the_composition_root_names_concrete_adapters() -> None:
    concrete = (
        "tellstream.eventlog.memory",
        "tellstream.eventlog.redis",
        "tellstream.eventlog.sqlite",
        "tellstream.limits.memory",
        "tellstream.limits.redis",
        "tellstream.providers.http",
        "tellstream.storage.postgresql",
        "tellstream.storage.sqlite",
    )
    for path in SOURCE.rglob("*.py"):
        inside = str(path.relative_to(SOURCE).with_suffix("")).replace("/", ".")
        adapters = [name for name in concrete if not f"tellstream.{inside}".startswith(name)]
        if path != SOURCE / "server/app.py":
            assert not any(allowed(name, *adapters) for name in ours(path)), path


def test_root_modules_import_only_what_is_listed() -> None:
    for path in SOURCE.glob("*.py"):
        if path.stem in ROOT_MODULES:
            names = {f"tellstream.{name}" for name in ROOT_MODULES[path.stem]}
            for name in ours(path):
                assert allowed(name, "tellstream.core", *names), f"{path}: {name}"


def test_files_stay_readable() -> None:
    for path in SOURCE.rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 400, path


STDLIB: Final = set(__import__("sys").stdlib_module_names)
