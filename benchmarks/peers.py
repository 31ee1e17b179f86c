"""Other gateways, in front of the same provider: nginx, which only passes bytes on, and two that are used."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.gateways import Gateway, Running, Site, openai
from benchmarks.processes import HOST, free_port, running

_NGINX_CONFIG: Final = """\
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 10000; }}
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
_SBIN: Final = "/usr/sbin:/usr/local/sbin"
"""Where Debian keeps nginx; it is not on everyone's PATH."""


def _nginx_program() -> str | None:
    return shutil.which("nginx") or shutil.which("nginx", path=_SBIN)


@contextmanager
def _nginx(site: Site) -> Iterator[Running]:
    port = free_port()
    config = site.folder / "nginx.conf"
    config.write_text(
        _NGINX_CONFIG.format(folder=site.folder, host=HOST, port=port, provider=site.provider)
    )
    program = _nginx_program()
    assert program is not None
    line = [program, "-p", str(site.folder), "-c", str(config)]
    with running(line, "nginx", port, site.folder, site.placement.server) as server:
        yield openai(port, server)


def _nginx_missing() -> str | None:
    return None if _nginx_program() else "nginx is not on PATH (Debian: nginx)"


def _nginx_facts() -> dict[str, str]:
    said = subprocess.run(
        [str(_nginx_program()), "-v"], capture_output=True, text=True, check=False
    )
    return {"nginx": said.stderr.strip().rpartition("/")[2]}


NGINX: Final = Gateway("nginx", _nginx, _nginx_missing, _nginx_facts)
PEERS: Final = {peer.name: peer for peer in (NGINX,)}
