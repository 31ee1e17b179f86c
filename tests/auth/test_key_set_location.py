"""Where keys are looked for: configured, or said by the configured issuer; never by a token."""

import json
from collections.abc import Mapping

import pytest

from support.issuers import Clock
from tellstream.auth.fetching import FetchError
from tellstream.auth.key_set_location import KeySetLocation, jwks_uri_of, metadata_urls

ISSUER = "https://login.example/realms/acme"
OPENID = ISSUER + "/.well-known/openid-configuration"
RFC_8414 = "https://login.example/.well-known/oauth-authorization-server/realms/acme"
KEYS = "https://keys.example/jwks"


class Pages:
    """A network of documents."""

    def __init__(self, **documents: object) -> None:
        self.documents: dict[str, bytes] = {}
        self.asked: list[str] = []

    def put(self, url: str, document: object) -> None:
        raw = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.documents[url] = raw

    async def get(self, url: str, max_bytes: int) -> bytes:
        self.asked.append(url)
        if url not in self.documents:
            raise FetchError("status 404")
        return self.documents[url]

    async def post(
        self, url: str, max_bytes: int, form: Mapping[str, str], authorization: str
    ) -> bytes:
        raise AssertionError(url)


@pytest.fixture
def pages() -> Pages:
    pages = Pages()
    pages.put(KEYS, b"the keys")
    return pages


def metadata(**changes: object) -> dict[str, object]:
    return {"issuer": ISSUER, "jwks_uri": KEYS} | changes


async def test_a_configured_address_is_asked_and_nothing_else(pages: Pages) -> None:
    location = KeySetLocation(ISSUER, KEYS, pages, Clock())
    assert await location.load() == b"the keys"
    assert pages.asked == [KEYS]


@pytest.mark.parametrize(("url", "tries"), [(OPENID, 1), (RFC_8414, 2)])
async def test_the_address_is_discovered_once(pages: Pages, url: str, tries: int) -> None:
    pages.put(url, metadata())
    location = KeySetLocation(ISSUER, None, pages, Clock())
    assert [await location.load() for _ in range(3)] == [b"the keys"] * 3
    assert pages.asked == [OPENID, RFC_8414][:tries] + [KEYS] * 3


@pytest.mark.parametrize(
    ("issuer", "urls"),
    [
        (ISSUER, (OPENID, RFC_8414)),
        (
            "https://h/",
            (
                "https://h/.well-known/openid-configuration",
                "https://h/.well-known/oauth-authorization-server",
            ),
        ),
        (
            "http://127.0.0.1:9/a/",
            (
                "http://127.0.0.1:9/a/.well-known/openid-configuration",
                "http://127.0.0.1:9/.well-known/oauth-authorization-server/a",
            ),
        ),
    ],
)
def test_where_metadata_is(issuer: str, urls: tuple[str, str]) -> None:
    assert metadata_urls(issuer) == urls


@pytest.mark.parametrize(
    "document",
    [
        metadata(issuer=ISSUER + "/"), metadata(issuer="https://evil.example"),
        metadata(issuer=[ISSUER]), metadata(issuer=None), {"jwks_uri": KEYS}, {"issuer": ISSUER},
        metadata(jwks_uri=None), metadata(jwks_uri=[KEYS]), metadata(jwks_uri=""),
        metadata(jwks_uri="http://keys.example/jwks"), metadata(jwks_uri="file:///etc/passwd"),
        metadata(jwks_uri="https://u:p@keys.example/jwks"), metadata(jwks_uri="/jwks"),
        metadata(jwks_uri="http://127.0.0.1:9/jwks"), metadata(jwks_uri="https://127.0.0.1/jwks"),
        metadata(jwks_uri="https://localhost/jwks"), metadata(jwks_uri="https://[::1]/jwks"),
        [], None, b"<html>", b'{"issuer": "' + ISSUER.encode() + b'", "issuer": "x"}',
    ],
)  # fmt: skip
async def test_metadata_that_is_not_believed(pages: Pages, document: object) -> None:
    pages.put(OPENID, document)
    with pytest.raises(FetchError, match=r"^metadata: "):
        await KeySetLocation(ISSUER, None, pages, Clock()).load()
    assert pages.asked == [OPENID, RFC_8414]


def test_an_issuer_on_this_machine_may_have_its_keys_there() -> None:
    raw = b'{"issuer": "http://127.0.0.1:1", "jwks_uri": "http://127.0.0.1:1/keys"}'
    assert jwks_uri_of(raw, "http://127.0.0.1:1") == "http://127.0.0.1:1/keys"


async def test_an_address_is_discovered_again_when_the_keys_are_gone(pages: Pages) -> None:
    pages.put(OPENID, metadata())
    location = KeySetLocation(ISSUER, None, pages, Clock())
    await location.load()
    del pages.documents[KEYS]
    pages.put(OPENID, metadata(jwks_uri=KEYS + "/new"))
    pages.put(KEYS + "/new", b"new keys")
    with pytest.raises(FetchError, match="status 404"):
        await location.load()
    assert await location.load() == b"new keys"


async def test_an_address_is_discovered_again_after_a_day(pages: Pages) -> None:
    pages.put(OPENID, metadata())
    clock = Clock()
    location = KeySetLocation(ISSUER, None, pages, clock)
    await location.load()
    clock.now += 24 * 3600 - 1
    await location.load()
    assert pages.asked.count(OPENID) == 1
    clock.now += 1
    await location.load()
    assert pages.asked.count(OPENID) == 2
