from typing import Any

import pytest

from tellstream.server.call import Call
from tellstream.server.client_address import ClientAddress


def address(trusted: list[str], peer: str | None, *forwarded: str) -> str:
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    scope: dict[str, Any] = {"headers": headers, "client": peer and (peer, 1), "method": "GET"}

    async def nothing(*_: Any) -> Any:
        raise AssertionError

    return ClientAddress(trusted)(Call(scope, nothing, nothing, "r"))


def test_without_trusted_proxies_the_peer_is_the_client() -> None:
    assert address([], "10.0.0.1", "1.2.3.4") == "10.0.0.1"
    assert address(["10.0.0.2"], "10.0.0.1", "1.2.3.4") == "10.0.0.1"
    assert address([], None) == ""


def test_a_trusted_proxy_is_believed() -> None:
    assert address(["10.0.0.0/8"], "10.0.0.1", "1.2.3.4") == "1.2.3.4"
    assert address(["10.0.0.0/8"], "10.0.0.1") == "10.0.0.1"
    assert address(["::1"], "::1", "2001:db8::1") == "2001:db8::1"


def test_what_the_client_itself_wrote_is_not() -> None:
    assert address(["10.0.0.0/8"], "10.0.0.1", "9.9.9.9, 1.2.3.4") == "1.2.3.4"
    assert address(["10.0.0.0/8"], "10.0.0.1", "9.9.9.9", "1.2.3.4, 10.0.0.2") == "1.2.3.4"
    assert address(["10.0.0.0/8"], "10.0.0.1", "9.9.9.9, junk\xff") == "10.0.0.1"
    assert address(["10.0.0.0/8"], "10.0.0.1", "") == "10.0.0.1"


def test_a_wrong_setting_is_refused() -> None:
    with pytest.raises(ValueError, match="nginx"):
        ClientAddress(["nginx"])
