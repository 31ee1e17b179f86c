"""The site of docs/howto/behind-a-proxy.md: a client, nginx, Tellstream, a provider.

nginx.conf, the settings and the command are taken out of the page; only addresses, paths and, where
a test says so, a timeout are replaced. Each replacement must hit, so the page and the tests cannot
drift apart.
"""

import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
import tomllib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import aiohttp
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from support.ports import free_port
from support.processes import servers
from tellstream.providers.simulator import Simulator

NGINX: Final = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
PAGE: Final = Path(__file__).parents[2] / "docs/howto/behind-a-proxy.md"
NAME: Final = "chat.example.com"
SECONDS: Final = 60.0
SCRIPTS: Final = {
    "words": "sim:words=20,delay_ms=20",
    "long": "sim:words=120,delay_ms=20",
    "stalls": "sim:words=9,fault=stall,at=4",
    "silent": "sim:words=1,delay_ms=1400",
    "endless": "sim:fault=endless,delay_ms=5",
}


def block(language: str, label: str = "") -> str:
    """Take a code block out of the page."""
    opening = re.escape(f"```{language} {label}".rstrip())
    found = re.findall(rf"^{opening}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"the page has no block {opening}"
    return str(found[0])


def replaced(text: str, changes: dict[str, str]) -> str:
    """Replace each key, which must be there exactly once."""
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def until(condition: Callable[[], bool], said: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, said
        time.sleep(0.02)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Nginx:
    """nginx with the page's configuration; may be stopped and started again."""

    def __init__(self, folder: Path, upstream: str, changes: dict[str, str]) -> None:
        folder.mkdir()
        self.port = free_port()
        self.errors = folder / "error.log"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        certify(folder)
        temporary = "".join(
            f" {name}_temp_path {folder}/{name};"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        # Changes first: their keys are words of the page.
        text = replaced(block("nginx"), changes)
        text = replaced(
            text,
            {
                "http {\n": f"http {{ access_log off;{temporary}\n",
                "server 127.0.0.1:8000;": upstream,
                "listen 443 ": f"listen 127.0.0.1:{self.port} ",
                "/etc/ssl/chat.example.com.pem": str(folder / "certificate.pem"),
                "/etc/ssl/chat.example.com.key": str(folder / "key.pem"),
            },
        )
        (folder / "nginx.conf").write_text(text)

    def start(self) -> None:
        assert NGINX is not None
        # Workers of root become nobody, who may not enter the test's folder.
        user = " user root;" if os.geteuid() == 0 else ""
        options = f"daemon off; pid {self._folder}/pid; error_log {self.errors} warn;{user}"
        self._process = subprocess.Popen(
            [NGINX, "-p", self._folder, "-c", "nginx.conf", "-e", self.errors, "-g", options],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        process = self._process
        until(
            lambda: process.poll() is not None or listens(self.port), "nginx does not listen"
        )  # fmt: skip
        assert process.poll() is None, self.errors.read_text()

    def reload(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(SECONDS)
            self._process = None


def certify(folder: Path) -> None:
    """Write a certificate that vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "certificate.pem").write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
    )  # fmt: skip
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / "key.pem").write_bytes(private)


@dataclass
class Site:
    """A client of https://chat.example.com, and what is behind it."""

    url: str
    session: aiohttp.ClientSession
    options: dict[str, Any]
    simulator: Simulator
    nginx: Nginx

    def chat(self, model: str, path: str = "/v1/chat/stream") -> Any:
        body = {"prompt": "x", "model": model}
        return self.session.post(self.url + path, json=body, **self.options)

    def events(self, stream_id: str, after: int) -> Any:
        headers = {"Last-Event-ID": str(after)}
        path = f"{self.url}/v1/streams/{stream_id}/events"
        return self.session.get(path, headers=headers, **self.options)

    def get(self, path: str, **options: Any) -> Any:
        return self.session.get(self.url + path, **self.options, **options)


@asynccontextmanager
async def site(
    folder: Path,
    *arguments: str,
    log: str = "memory",
    changes: dict[str, str] | None = None,
    upstream: str = "server {address};",
    **streams: str | float,
) -> AsyncIterator[Site]:
    """Run the page's server behind the page's nginx.

    Args:
        folder: for all files.
        arguments: of ``tellstream serve``.
        log: replaces the address of the event log.
        changes: of the page's nginx.conf.
        upstream: the server of nginx's upstream; ``{address}`` is Tellstream's.
        streams: settings of ``[streams]``.
    """
    tables = tomllib.loads(block("toml"))
    assert tables["eventlog"]["url"].startswith("redis://")
    tables["eventlog"]["url"] = log
    async with Simulator() as simulator, AsyncExitStack() as stack:
        provider = {"dialect": "openai-chat", "base_url": f"{simulator.url}/v1", "api_key": "none"}
        processes = await stack.enter_async_context(
            servers(
                folder,
                **tables,
                providers={"sim": provider},
                models={name: {"targets": [f"sim/{script}"]} for name, script in SCRIPTS.items()},
                streams={"drain_seconds": 0.2, **streams},
            )
        )
        server = await processes.start(*arguments)
        stack.push_async_callback(server.stop)
        address = server.url.removeprefix("http://")
        nginx = Nginx(folder / "nginx", upstream.format(address=address), changes or {})
        stack.callback(nginx.stop)
        nginx.start()
        trusted = ssl.create_default_context(cafile=folder / "nginx/certificate.pem")
        session = await stack.enter_async_context(
            aiohttp.ClientSession(
                headers=processes.headers(), timeout=aiohttp.ClientTimeout(SECONDS)
            )
        )
        options = {"ssl": trusted, "server_hostname": NAME}
        yield Site(f"https://127.0.0.1:{nginx.port}", session, options, simulator, nginx)
