import pytest

from tellstream.auth.tenants import MAX_TENANT, tenant_id
from tellstream.core.errors import RequestError


@pytest.mark.parametrize("number", [1, 7, 101, MAX_TENANT])
def test_a_tenant_number_is_read(number: int) -> None:
    assert tenant_id([(b"x-tenant", str(number).encode())]) == number


@pytest.mark.parametrize(
    "value",
    [
        b"", b"0", b"01", b"-1", b"+7", b" 7", b"7 ", b"7\n", b"1_0", b"7.0", b"0x7", b"1,2",
        b"1e3",
        b"abc", "\u0667".encode(), "\uff17".encode(), "\u00b2".encode(), b"\xb2", b"\xff",
        str(MAX_TENANT + 1).encode(), b"9" * 19, b"9" * 20, b"9" * 5000,
    ],
)  # fmt: skip
def test_everything_else_is_400(value: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        tenant_id([(b"x-tenant", value)])
    assert (caught.value.code, caught.value.status) == ("invalid_request", 400)


@pytest.mark.parametrize("values", [[], [b"1", b"1"], [b"1", b"2"]])
def test_exactly_one_header(values: list[bytes]) -> None:
    with pytest.raises(RequestError) as caught:
        tenant_id([(b"x-tenant", value) for value in values])
    assert caught.value.code == "invalid_request"


def test_the_name_is_case_insensitive_in_both_roles() -> None:
    assert tenant_id([(b"X-Tenant", b"7"), (b"x-tenants", b"8")]) == 7
    with pytest.raises(RequestError):
        tenant_id([(b"X-Tenant", b"7"), (b"x-tenant", b"7")])
