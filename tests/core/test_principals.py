import dataclasses

import pytest

from tellstream.core.errors import RequestError
from tellstream.core.principals import Ctx, InsufficientScopeError, Principal

PRINCIPAL = Principal(frozenset({1, 7}), "user", "app", frozenset({"chat"}), 2_000_000_000, "j")


def test_act_for_narrows_to_one_tenant() -> None:
    assert PRINCIPAL.act_for(7) == Ctx(7, "user", "app", frozenset({"chat"}))


@pytest.mark.parametrize("tenant", [0, 2, 8, -1, 2**63])
def test_every_other_tenant_is_the_same_403(tenant: int) -> None:
    with pytest.raises(RequestError) as caught:
        PRINCIPAL.act_for(tenant)
    assert (caught.value.code, caught.value.status) == ("forbidden", 403)
    assert str(tenant) not in caught.value.message


def test_a_scope_that_is_there_is_enough() -> None:
    PRINCIPAL.act_for(1).require("chat")


@pytest.mark.parametrize("scope", ["cha", "chatter", "chat ", "CHAT", "", "usage", "chat usage"])
def test_r12_scope_is_exact_membership(scope: str) -> None:
    with pytest.raises(InsufficientScopeError) as caught:
        PRINCIPAL.act_for(1).require(scope)
    assert (caught.value.code, caught.value.status) == ("insufficient_scope", 403)
    assert caught.value.scope == scope


@pytest.mark.parametrize(
    ("value", "field"), [(PRINCIPAL, "subject"), (PRINCIPAL.act_for(1), "tenant")]
)
def test_identity_cannot_be_changed(value: object, field: str) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, field, "other")
