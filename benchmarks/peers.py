"""Other gateways, in front of the same provider.

nginx passes bytes on and does nothing else: it is the floor. LiteLLM's proxy and Portkey's gateway
are what people use; they come from the registries, in the versions of ``peers/``, into ``build/``.
Each runs as one process with the fewest features: no keys of its own, no database, no logs.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.gateways import Gateway, Running, Site, openai
from benchmarks.processes import HOST, free_port, running
from benchmarks.wire import BUILD

_PINNED: Final = Path(__file__).parent / "peers"

# --- nginx ---------------------------------------------------------------------------------------

_NGINX_CONFIG: Final = """\
daemon off;
worker_processes 1;
worker_rlimit_nofile {files};
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections {files}; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_requests 1000000000;
  upstream provider {{
    server {host}:{provider};
    keepalive 4096;
    keepalive_requests 1000000000;
  }}
  server {{
    listen {host}:{port} backlog=4096;
    location / {{
      proxy_pass http://provider;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
}}
"""
_NGINX_FILES: Final = 10_000
"""Connections: two per stream, for 4,000 streams."""
_SBIN: Final = "/usr/sbin:/usr/local/sbin"
"""Where Debian keeps nginx; it is not on everyone's PATH."""


def _nginx_program() -> str | None:
    return shutil.which("nginx") or shutil.which("nginx", path=_SBIN)


@contextmanager
def _nginx(site: Site) -> Iterator[Running]:
    port = free_port()
    config = site.folder / "nginx.conf"
    values = {"folder": site.folder, "host": HOST, "port": port, "provider": site.provider}
    config.write_text(_NGINX_CONFIG.format(files=_NGINX_FILES, **values))
    line = [str(_nginx_program()), "-p", str(site.folder), "-c", str(config)]
    with running(line, "nginx", port, site.folder, site.placement.server) as server:
        yield openai(port, server)


def _nginx_prepare() -> str | None:
    return None if _nginx_program() else "nginx is not on PATH (Debian: nginx)"


def _nginx_facts() -> dict[str, str]:
    said = subprocess.run(
        [str(_nginx_program()), "-v"], capture_output=True, text=True, check=False
    )
    return {"nginx": said.stderr.strip().rpartition("/")[2]}


# --- from the registries -------------------------------------------------------------------------


_INSTALL_SECONDS: Final = 900.0
"""Of one command: LiteLLM's 120 packages take minutes on a slow line."""


def _install(folder: Path, pinned: Path, lines: list[list[str]]) -> str | None:
    """Run some commands, unless they have been since ``pinned`` changed; say what went wrong."""
    done = folder / "installed"
    if done.exists() and done.stat().st_mtime > pinned.stat().st_mtime:
        return None
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    print(f"installing {folder.name} into {folder} ...", file=sys.stderr)
    for line in lines:
        try:
            ran = subprocess.run(
                line,
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=_INSTALL_SECONDS,
                check=False,
            )
        except OSError as error:
            return f"{line[0]}: {error.strerror}"
        except subprocess.TimeoutExpired:
            return f"{Path(line[0]).name} did not end within {_INSTALL_SECONDS:g} s"
        if ran.returncode:
            return f"{Path(line[0]).name} failed: {(ran.stderr or ran.stdout).strip()[-300:]}"
    done.touch()
    return None


_LITELLM: Final = BUILD / "litellm"
_LITELLM_PINNED: Final = _PINNED / "litellm.txt"
_LITELLM_SETTINGS: Final = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # it would ask the internet at each start
    "LITELLM_LOG": "ERROR",
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_MASTER_KEY": "sk-benchmark",  # it does not start without one
}


@contextmanager
def _litellm(site: Site) -> Iterator[Running]:
    port = free_port()
    provider = {"api_base": f"http://{HOST}:{site.provider}/v1", "api_key": "none"}
    models = [
        {"model_name": model, "litellm_params": {"model": f"openai/{model}", **provider}}
        for model in site.models
    ]
    config = site.folder / "litellm.yaml"
    config.write_text(json.dumps({"model_list": models}))  # JSON is YAML
    where = ("--config", str(config), "--host", HOST, "--port", str(port))
    line = [str(_LITELLM / "bin" / "litellm"), *where, "--telemetry", "False"]
    cpus, settings = site.placement.server, _LITELLM_SETTINGS
    with running(line, "litellm", port, site.folder, cpus, settings) as server:
        yield openai(port, server, {"Authorization": "Bearer sk-benchmark"})


def _litellm_prepare() -> str | None:
    options = ["-q", "--disable-pip-version-check", "--require-hashes", "-r", str(_LITELLM_PINNED)]
    lines = [
        [sys.executable, "-m", "venv", str(_LITELLM)],
        [str(_LITELLM / "bin" / "pip"), "install", *options],
    ]
    return _install(_LITELLM, _LITELLM_PINNED, lines)


def _litellm_facts() -> dict[str, str]:
    pinned = _LITELLM_PINNED.read_text().splitlines()
    versions = (line.split()[0].split("==")[1] for line in pinned if line.startswith("litellm=="))
    return {"litellm": next(versions)}


_PORTKEY: Final = BUILD / "portkey"
_PORTKEY_PINNED: Final = _PINNED / "portkey"
_PORTKEY_PACKAGE: Final = "@portkey-ai/gateway"


@contextmanager
def _portkey(site: Site) -> Iterator[Running]:
    port = free_port()
    program = _PORTKEY / "node_modules" / _PORTKEY_PACKAGE / "build" / "start-server.js"
    line = ["node", str(program), f"--port={port}", "--headless"]
    cpus, settings = site.placement.server, {"NODE_ENV": "production"}
    headers = {
        "Authorization": "Bearer none",
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": f"http://{HOST}:{site.provider}/v1",
    }
    with running(line, "portkey", port, site.folder, cpus, settings) as server:
        yield openai(port, server, headers)


def _portkey_prepare() -> str | None:
    if shutil.which("node") is None:
        return "node is not on PATH (Debian: nodejs and npm)"
    files = [
        str(_PORTKEY_PINNED / name) for name in ("package.json", "package-lock.json", ".npmrc")
    ]
    lines = [["cp", *files, "."], ["npm", "ci"]]
    return _install(_PORTKEY, _PORTKEY_PINNED / "package-lock.json", lines)


def _portkey_facts() -> dict[str, str]:
    pinned = json.loads((_PORTKEY_PINNED / "package.json").read_text())
    said = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False)
    return {"portkey": pinned["dependencies"][_PORTKEY_PACKAGE], "node": said.stdout.strip()}


PEERS: Final = {
    peer.name: peer
    for peer in (
        Gateway("nginx", _nginx, _nginx_prepare, _nginx_facts),
        Gateway("litellm", _litellm, _litellm_prepare, _litellm_facts),
        Gateway("portkey", _portkey, _portkey_prepare, _portkey_facts),
    )
}
