"""Where outbound connections may go: addresses are judged, not their spelling."""

import socket

import pytest

from tellstream.auth.addresses import check_url, is_loopback_host, may_connect

PUBLIC = [
    "8.8.8.8", "93.184.215.14", "2606:4700::1111", "2001:4860:4860::8888", "::ffff:8.8.8.8",
    "64:ff9b::808:808",  # NAT64 of 8.8.8.8
    "2002:808:808::1",  # 6to4 of 8.8.8.8
]  # fmt: skip
INTERNAL = [
    "127.0.0.1", "127.8.0.1", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1",
    "169.254.169.254", "168.63.129.16", "192.0.0.192", "192.0.0.9", "192.0.2.1", "192.88.99.1",
    "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
    "::", "::1", "fe80::1", "fe80::1%lo", "fc00::1", "fd12::1", "fec0::1", "ff02::1", "ff0e::1",
    "2001:db8::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "::10.0.0.1", "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe", "64:ff9b:1::808:808", "2002:7f00:1::", "2002:a00:1::1",
    "2001:0:808:808::80ff:fffe",  # Teredo of 127.0.0.1
    "2001:0:808:808::f5ff:fffe",  # Teredo of 10.0.0.1
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    assert may_connect("login.example", address)
    assert not may_connect("127.0.0.1", address)


@pytest.mark.parametrize("address", INTERNAL)
def test_addresses_that_a_name_must_not_lead_to(address: str) -> None:
    assert not may_connect("login.example", address)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_an_explicit_loopback_host_leads_to_this_machine_only(host: str) -> None:
    assert is_loopback_host(host)
    assert may_connect(host, "127.0.0.1")
    assert may_connect(host, "::1")
    assert not may_connect(host, "10.0.0.1")


@pytest.mark.parametrize(
    "host", ["0x7f.1", "2130706433", "017700000001", "127.1", "0", "localhost.", "localhost.x"]
)
def test_other_spellings_of_loopback_are_names(host: str) -> None:
    assert not is_loopback_host(host)
    try:
        found = {str(row[4][0]) for row in socket.getaddrinfo(host, 443)}
    except OSError:
        return  # leads nowhere on this machine
    assert not any(may_connect(host, address) for address in found)


@pytest.mark.parametrize(
    "url",
    [
        "https://h",
        "https://h:8443/p?q=1",
        "http://127.0.0.1:1/p",
        "http://localhost",
        "http://[::1]:1",
    ],
)
def test_urls_to_fetch(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "", "h", "//h", "http://h", "http://10.0.0.1", "http://127.0.0.1.example", "ftp://h",
        "file:///etc/passwd", "https://", "https:///p", "https://u@h", "https://u:p@h", "https://h#f",
        "https://h\\@evil", "https://h\\evil",
        "https://h /", "https://h\n/", "\thttps://h", "https://h:x", "https://h:70000",
        "https://[::1", "https://\u2460\u2461", "http://127.1", "http://0x7f.1",
    ],
)  # fmt: skip
def test_urls_that_are_not_fetched(url: str) -> None:
    with pytest.raises(ValueError, match="the address") as caught:
        check_url(url)
    assert caught.value.__cause__ is None
