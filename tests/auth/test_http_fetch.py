"""Outbound requests of the authentication code, over real sockets: what is refused, how soon."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from support.issuers import CLIENT, INTROSPECTION_PATH, JWKS_PATH, Answer, LocalIssuer, local_issuer
from tellstream.auth.fetching import Fetch, FetchError
from tellstream.auth.http_fetch import HttpFetch

LIMIT = 1000


@pytest.fixture
async def issuer() -> AsyncIterator[LocalIssuer]:
    async with local_issuer() as issuer:
        yield issuer


@asynccontextmanager
async def fetching(
    *addresses: str, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[HttpFetch, list[str]]]:
    """Give a fetcher whose names all lead to ``addresses``, and the names that were looked up."""
    asked: list[str] = []

    async def lead(host: str, port: int) -> list[str]:
        asked.append(host)
        return list(addresses) or [host]

    fetch = HttpFetch(tls, lead)
    try:
        yield fetch, asked
    finally:
        await fetch.close()


async def refusal(url: str, fetch: Fetch) -> str:
    with pytest.raises(FetchError) as caught:
        await fetch.get(url, LIMIT)
    return str(caught.value)


async def test_a_document_is_fetched(issuer: LocalIssuer) -> None:
    fetch = HttpFetch()  # with the system's own resolver
    issuer.scripted["/x"] = Answer(b"a document")
    try:
        assert await fetch.get(issuer.url + "/x", LIMIT) == b"a document"
        assert await fetch.get(issuer.url.replace("127.0.0.1", "localhost") + "/x", LIMIT)
    finally:
        await fetch.close()


async def test_a_form_is_sent_with_its_credentials(issuer: LocalIssuer) -> None:
    async with fetching() as (fetch, _):
        url = issuer.url + INTROSPECTION_PATH
        credentials = "Basic dGVsbCtzdHJlYW06czNjcmV0JTNBJTJCJTI1"
        assert await fetch.post(url, LIMIT, {"token": "a+b c&d"}, credentials)
        assert issuer.asked == [{"token": "a+b c&d"}]
        with pytest.raises(FetchError, match="status 401") as caught:
            await fetch.post(url, LIMIT, {"token": CLIENT}, "Basic planted")
        assert "planted" not in repr(caught.value)


@pytest.mark.parametrize(
    "status", [201, 204, 301, 302, 303, 307, 308, 304, 400, 401, 404, 429, 500]
)
async def test_only_200_is_an_answer_and_no_redirect_is_followed(
    status: int, issuer: LocalIssuer
) -> None:
    headers = {"Location": issuer.url + JWKS_PATH, "Retry-After": "0"}
    issuer.scripted["/x"] = Answer(b"" if status in (204, 304) else b"x", status, headers)
    async with fetching() as (fetch, _):
        assert await refusal(issuer.url + "/x", fetch) == f"status {status}"
    assert issuer.requests == ["/x"]


async def test_a_document_has_a_largest_size(issuer: LocalIssuer) -> None:
    async with fetching() as (fetch, _):
        issuer.scripted["/x"] = Answer(b"x" * LIMIT)
        assert len(await fetch.get(issuer.url + "/x", LIMIT)) == LIMIT
        issuer.scripted["/x"] = Answer(b"x" * (LIMIT + 1))
        assert await refusal(issuer.url + "/x", fetch) == "the document is too large"
        issuer.scripted["/x"] = Answer(b"x" * 10_000_000, seconds=60)  # cut long before its end
        assert await refusal(issuer.url + "/x", fetch) == "the document is too large"


async def test_a_compressed_document_is_not_unpacked(issuer: LocalIssuer) -> None:
    issuer.scripted["/x"] = Answer(b"x", headers={"Content-Encoding": "gzip"})
    async with fetching() as (fetch, _):
        assert await refusal(issuer.url + "/x", fetch) == "the body is encoded"


async def test_a_slow_body_ends_with_the_total(
    issuer: LocalIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tellstream.auth.http_fetch.TOTAL_SECONDS", 0.1)
    issuer.scripted["/x"] = Answer(b"xx", seconds=60)
    async with fetching() as (fetch, _):
        async with asyncio.timeout(5):
            assert await refusal(issuer.url + "/x", fetch) == "no answer in time"


async def test_a_slow_resolver_ends_with_the_total(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tellstream.auth.http_fetch.TOTAL_SECONDS", 0.1)

    async def never(_host: str, _port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    fetch = HttpFetch(resolve=never)
    async with asyncio.timeout(5):
        assert await refusal("https://login.example", fetch) == "no answer in time"
    await fetch.close()


async def test_a_connection_that_breaks_is_a_failure() -> None:
    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with fetching() as (fetch, _):
        assert await refusal(f"http://127.0.0.1:{port}/", fetch) == "the connection failed"
        server.close()
        await server.wait_closed()
        assert await refusal(f"http://127.0.0.1:{port}/", fetch) == "no connection"


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1"]
)
async def test_a_name_that_leads_inside_is_not_connected_to(
    address: str, issuer: LocalIssuer
) -> None:
    port = issuer.url.rpartition(":")[2]
    async with fetching("93.184.215.14", address) as (fetch, asked):  # every address counts
        reason = await refusal(f"https://login.example:{port}/", fetch)
    assert reason == "the name leads to an address that is not public"
    assert asked == ["login.example"]
    assert issuer.requests == []


@pytest.mark.parametrize(
    "url", ["http://login.example/", "https://u:p@h/", "file:///x", "https://"]
)
async def test_other_addresses_are_not_even_looked_up(url: str) -> None:
    async with fetching("127.0.0.1") as (fetch, asked):
        assert (await refusal(url, fetch)).startswith("the address")
    assert asked == []


async def test_a_name_that_leads_nowhere() -> None:
    async def nowhere(_host: str, _port: int) -> list[str]:
        raise OSError("no such name")

    fetch = HttpFetch(resolve=nowhere)
    assert await refusal("https://login.example", fetch) == "the connection failed"
    await fetch.close()
    fetch = HttpFetch()  # the system's resolver refuses a label of 70 characters
    url = f"https://{'x' * 70}.example"
    assert await refusal(url, fetch) == "the name cannot be resolved"
    await fetch.close()


async def test_a_name_is_resolved_once_and_its_next_address_is_tried(issuer: LocalIssuer) -> None:
    issuer.scripted["/x"] = Answer(b"x")
    async with fetching("127.0.0.2", "127.0.0.1") as (fetch, asked):  # nobody listens at the first
        assert await fetch.get(issuer.url.replace("127.0.0.1", "localhost") + "/x", LIMIT) == b"x"
    assert asked == ["localhost"]


async def test_the_connection_goes_to_an_address_that_was_judged(issuer: LocalIssuer) -> None:
    async with fetching("127.0.0.2") as (fetch, _):  # what the name leads to by now is another
        url = issuer.url.replace("127.0.0.1", "localhost")
        assert await refusal(url, fetch) == "no connection"
    assert issuer.requests == []


async def test_no_proxy_of_the_environment_is_used(
    issuer: LocalIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    issuer.scripted["/x"] = Answer(b"x")
    async with fetching() as (fetch, _):
        assert await fetch.get(issuer.url + "/x", LIMIT) == b"x"


# TLS: the connection goes to an address, the certificate must be the name's.


class TlsServer:
    """An https server with a certificate for ``localhost``; remembers names and Host headers."""

    def __init__(self, certificate: Path) -> None:
        self.names: list[str | None] = []
        self.hosts: list[str] = []
        self.connections = 0
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate)
        self.context.sni_callback = lambda _socket, name, _context: self.names.append(name)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        self.hosts += [line[6:] for line in lines if line.lower().startswith("host: ")]
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()
        await reader.read()  # until the client closes
        writer.close()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = tmp_path / "server.pem"
    file.write_bytes(private + made.public_bytes(pem))
    return file


@pytest.fixture
async def tls(certificate: Path) -> AsyncIterator[tuple[TlsServer, Callable[[str], str]]]:
    server = TlsServer(certificate)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=server.context)
    port = listener.sockets[0].getsockname()[1]
    yield server, lambda host: f"https://{host}:{port}/"
    listener.close()
    await listener.wait_closed()


async def test_the_certificate_must_be_that_of_the_configured_name(
    tls: tuple[TlsServer, Callable[[str], str]], certificate: Path
) -> None:
    server, url = tls
    trusted = ssl.create_default_context(cafile=str(certificate))
    async with fetching("127.0.0.1", tls=trusted) as (fetch, _):
        for _ in range(2):
            assert await fetch.get(url("localhost"), LIMIT) == b"ok"
        assert server.hosts == [url("localhost")[8:-1]] * 2
        assert server.names == ["localhost"] * 2
        assert server.connections == 2  # none is used twice: the pool does not know names
        assert await refusal(url("127.0.0.1"), fetch) == "no connection"  # another name's
    async with fetching("127.0.0.1") as (fetch, _):
        assert await refusal(url("localhost"), fetch) == "no connection"  # nobody vouches for it
    assert len(server.hosts) == 2
