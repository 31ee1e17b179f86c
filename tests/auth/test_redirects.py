from urllib.parse import parse_qs, urlsplit

import pytest

from tellstream.auth.redirects import is_loopback, is_registered, registrable, with_parameters

REGISTERED = ("https://app.example/cb?x=1", "http://127.0.0.1:4000/cb", "http://[::1]/cb")


@pytest.mark.parametrize("uri", REGISTERED)
def test_a2_a_registered_uri_matches_itself(uri: str) -> None:
    assert is_registered(uri, REGISTERED)


@pytest.mark.parametrize(
    "uri", ["http://127.0.0.1/cb", "http://127.0.0.1:65535/cb", "http://[::1]:1/cb"]
)
def test_a2_on_a_loopback_address_the_port_may_differ(uri: str) -> None:
    assert is_registered(uri, REGISTERED)


@pytest.mark.parametrize(
    "uri",
    [
        "", "https://app.example/cb", "https://app.example/cb?x=1&y=2", "https://app.example/cb?x=1#",
        "https://app.example/cb?x=1/", "https://app.example/CB?x=1", "HTTPS://app.example/cb?x=1",
        "https://APP.example/cb?x=1", "https://app.example:443/cb?x=1", "http://app.example/cb?x=1",
        "https://app.example/cb/?x=1", "https://app.example/cb%2f?x=1", "https://app.example//cb?x=1",
        "https://app.example/../cb?x=1", "https://app.example\\@evil.example/cb?x=1",
        "https://app.example@evil.example/cb?x=1", "https://evil.example/cb?x=1",
        "https://app.example.evil.example/cb?x=1", "https://app.example/cb?x=1\n",
        " https://app.example/cb?x=1", "//app.example/cb?x=1", "/cb?x=1",
        "http://localhost:4000/cb", "http://127.0.0.2:4000/cb", "http://127.0.0.1:4000/cb/",
        "http://127.0.0.1:4000/cb?x", "http://127.0.0.1:4000/cb#f", "http://127.0.0.1:65536/cb",
        "http://127.0.0.1:0/cb", "http://127.0.0.1:04000/cb", "http://127.0.0.1:/cb",
        "http://127.0.0.1:4000@evil.example/cb", "http://u@127.0.0.1:4000/cb", "https://127.0.0.1:4000/cb",
        "http://127.1:4000/cb", "http://2130706433:4000/cb", "http://[0:0:0:0:0:0:0:1]/cb",
        "http://127.0.0.1.evil.example/cb", "http://127.0.0.1:4000\\cb", "http://127.0.0.1:٤000/cb",
    ],
)  # fmt: skip
def test_a2_nothing_else_matches(uri: str) -> None:
    assert not is_registered(uri, REGISTERED)


def test_a2_only_loopback_redirects_are_any_programs() -> None:
    assert is_loopback("http://127.0.0.1:1/")
    assert is_loopback("http://[::1]/cb")
    assert not is_loopback("https://127.0.0.1/")


@pytest.mark.parametrize(
    "uri", ["https://-a.example/", "https://./", "https://a.example/" + "a" * 2000]
)
def test_a2_what_no_browser_would_take_cannot_be_registered(uri: str) -> None:
    assert not registrable(uri)


@pytest.mark.parametrize("state", ['"<>&%+ #=', "ü\N{SNOWMAN}", "a" * 512, "%22", "a\tb"])
def test_a6_parameters_arrive_as_they_were(state: str) -> None:
    for uri in ("https://app.example/cb", "https://app.example/cb?x=1"):
        location = with_parameters(uri, {"state": state, "code": "c"})
        assert location.startswith(uri)
        assert location.isascii()
        query = parse_qs(urlsplit(location).query, strict_parsing=True)
        assert (query["state"], query["code"]) == ([state], ["c"])
        assert "+" not in location  # which is a blank for some and a plus for others
