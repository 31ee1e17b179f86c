"""Rules R3..R13. ``Forge`` signs whatever it is told to with the right key, so that each refusal
can only come from the rule; the reason of each refusal names that rule."""

import base64
import hmac
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from tellstream.auth.issuers import Issuer, KeySource, embedded_issuer
from tellstream.auth.keys import SigningKeys
from tellstream.auth.signatures import UnknownKeyError
from tellstream.auth.tokens import TokenVerifier, sign_token
from tellstream.core.errors import RequestError, ServerError
from tellstream.core.principals import Principal

NOW = 1_800_000_000
HERE = "http://127.0.0.1:8000"
THERE = "https://login.example/realms/acme"
ABSENT = object()  # as a claim's or header's value: leave it out

EC = ECKey.generate_key("P-256")
RSA = RSAKey.generate_key(2048)
OKP = OKPKey.generate_key("Ed25519")
KEYS = SigningKeys([EC])

JsonObject = dict[str, Any]


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def raw_token(header: bytes, payload: bytes, key: Key = EC, algorithm: str = "ES256") -> str:
    """Sign any bytes as header and payload."""
    unsigned = f"{b64(header)}.{b64(payload)}"
    signature = JWSRegistry.algorithms[algorithm].sign(unsigned.encode(), key)
    return f"{unsigned}.{b64(signature)}"


def claims(**changes: object) -> JsonObject:
    good: JsonObject = {
        "iss": HERE, "aud": HERE, "sub": "user-1", "client_id": "app-1", "jti": "id-1",
        "exp": NOW + 600, "iat": NOW, "scope": "chat usage", "tenants": [1, 7],
    }  # fmt: skip
    return {name: value for name, value in (good | changes).items() if value is not ABSENT}


def header(**changes: object) -> JsonObject:
    good: JsonObject = {"alg": "ES256", "typ": "at+jwt", "kid": EC.thumbprint()}
    return {name: value for name, value in (good | changes).items() if value is not ABSENT}


def forge(head: JsonObject, body: JsonObject, key: Key = EC) -> str:
    algorithm = head["alg"] if head.get("alg") in JWSRegistry.algorithms else "ES256"
    return raw_token(json.dumps(head).encode(), json.dumps(body).encode(), key, algorithm)


def verifier(*issuers: Issuer) -> TokenVerifier:
    return TokenVerifier([embedded_issuer(HERE, KEYS), *issuers])


class JwkSet:
    """The key source of an external issuer."""

    def __init__(self, **keys: Key) -> None:
        self.by_kid = keys
        self.asked: list[str | None] = []

    def keys(self, kid: str | None) -> Sequence[Key]:
        self.asked.append(kid)
        if kid is None:
            return list(self.by_kid.values())
        return [self.by_kid[kid]] if kid in self.by_kid else []


def external(source: KeySource, *algorithms: str, **options: Any) -> Issuer:
    return Issuer(
        issuer=THERE,
        audience="tellstream",
        key_source=source,
        algorithms=frozenset(algorithms or ("RS256",)),
        **options,
    )


def external_claims(**changes: object) -> JsonObject:
    return claims(**{"iss": THERE, "aud": "tellstream", **changes})


def accept(token: str, *issuers: Issuer, now: float = NOW) -> Principal:
    return verifier(*issuers).verify(token, now)


def refuse(token: str, rule: str, *issuers: Issuer, now: float = NOW) -> RequestError:
    with pytest.raises(RequestError) as caught:
        verifier(*issuers).verify(token, now)
    assert caught.value.code == "invalid_token"
    assert caught.value.status == 401
    assert caught.value.message == "The access token is not valid."
    assert (caught.value.reason or "").startswith(rule), caught.value.reason
    return caught.value


# What passes


def test_a_good_token_gives_its_principal() -> None:
    assert accept(forge(header(), claims())) == Principal(
        frozenset({1, 7}), "user-1", "app-1", frozenset({"chat", "usage"}), NOW + 600, "id-1"
    )


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ({"typ": "application/at+jwt"}, {}),
        ({"typ": "AT+JWT"}, {}),
        ({"kid": ABSENT}, {}),
        ({"x5t": "eA", "x5t#S256": "eA", "nonce": "n"}, {}),
        ({}, {"aud": [HERE]}),
        ({}, {"aud": ["https://other.example", HERE]}),
        ({}, {"exp": NOW + 600.5, "iat": NOW - 0.5, "nbf": NOW}),
        ({}, {"iat": NOW + 30, "nbf": NOW + 30}),
        ({}, {"iat": NOW - 629, "exp": NOW - 29}),
        ({}, {"client_id": ABSENT, "azp": "app-1"}),
        ({}, {"scope": ABSENT}),
        ({}, {"tenants": ABSENT}),
        ({}, {"unknown": {"nested": [1, None, "x"]}}),
    ],
)
def test_what_else_is_a_good_token(head: JsonObject, body: JsonObject) -> None:
    principal = accept(forge(header(**head), claims(**body)))
    assert (principal.subject, principal.client) == ("user-1", "app-1")


def test_a_token_without_tenants_may_act_for_none() -> None:
    assert accept(forge(header(), claims(tenants=ABSENT))).tenants == frozenset()


# The gate


@pytest.mark.parametrize("size", [8193, 100_000])
def test_gate_length(size: int) -> None:
    token = forge(header(), claims(pad="x" * size))
    refuse(token, "gate: token is too long")


def test_gate_length_limit_is_not_lower() -> None:
    pad = 8192 - len(forge(header(), claims(pad="")))
    token = forge(header(), claims(pad="x" * (pad * 3 // 4)))
    assert 8180 < len(token) <= 8192
    accept(token)


@pytest.mark.parametrize(
    "change", ["{}.", ".{}", "{}.x", "{} ", "{}\n", " {}", "{}=", "{}\u00e9", "{}\x00"]
)
def test_gate_shape(change: str) -> None:
    refuse(change.format(forge(header(), claims())), "gate")


@pytest.mark.parametrize("index", [0, 1, 2])
def test_gate_empty_parts(index: int) -> None:
    parts = forge(header(), claims()).split(".")
    parts[index] = ""
    refuse(".".join(parts), "gate")


def test_gate_only_one_spelling_of_a_token() -> None:
    # The last character of a 64-byte signature has four unused bits.
    token = forge(header(), claims())
    for last in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_":
        if last != token[-1]:
            refuse(token[:-1] + last, "R4")


@pytest.mark.parametrize("part", [0, 1])
def test_gate_only_one_spelling_of_a_part(part: int) -> None:
    texts = [json.dumps(header(kid=ABSENT)), json.dumps(claims())]
    texts[part] += " " * ((1 - len(texts[part])) % 3)  # the last character has four unused bits
    spelled = [b64(text.encode()) for text in texts]
    spelled[part] = spelled[part][:-1] + chr(ord(spelled[part][-1]) + 1)
    unsigned = ".".join(spelled)
    signature = JWSRegistry.algorithms["ES256"].sign(unsigned.encode(), EC)
    refuse(f"{unsigned}.{b64(signature)}", "R4")


@pytest.mark.parametrize("raw", [b"[]", b'"x"', b"1", b"null", b"{", b"\xff", b""])
def test_gate_header_is_an_object(raw: bytes) -> None:
    refuse(raw_token(raw or b" ", json.dumps(claims()).encode()), "")


# R3: the issuer comes from the table


@pytest.mark.parametrize(
    "issuer",
    [
        "http://127.0.0.1:9999", HERE + "/", HERE.upper(), HERE + "/x", HERE[:-1], "", None, 1,
        True, {}, [HERE], [HERE, "x"], {"iss": HERE}, ABSENT,
    ],
)  # fmt: skip
def test_r3_r9_unknown_issuers(issuer: object) -> None:
    refuse(forge(header(), claims(iss=issuer)), "R3")


def test_r3_no_key_source_is_asked_for_an_unknown_issuer() -> None:
    source = JwkSet(k=RSA)
    refuse(forge(header(), claims(iss="https://evil.example")), "R3", external(source))
    assert source.asked == []


def test_r3_each_issuer_has_its_own_keys() -> None:
    source = JwkSet(k=RSA)
    row = external(source, "RS256", "ES256")
    token = forge(header(alg="RS256", kid="k"), external_claims(), RSA)
    assert accept(token, row).subject == "user-1"
    refuse(forge(header(), external_claims()), "R7", row)  # our key, their name
    refuse(forge(header(alg="RS256", kid="k"), claims(), RSA), "R4", row)  # their key, our name


def test_r3_one_row_per_issuer() -> None:
    with pytest.raises(ValueError, match="twice"):
        verifier(external(JwkSet()), external(JwkSet()))


# R4: algorithms


@pytest.mark.parametrize(
    "name",
    [
        "none",
        "None",
        "NONE",
        "nOnE",
        "",
        None,
        1,
        [],
        ["ES256"],
        {},
        True,
        ABSENT,
        "es256",
        "ES256 ",
        "ES384",
        "RS256",
        "HS256",
    ],
)
@pytest.mark.parametrize("signed", [True, False])
def test_r4_other_algorithms(name: object, signed: bool) -> None:
    token = raw_token(json.dumps(header(alg=name)).encode(), json.dumps(claims()).encode())
    refuse(token if signed else token[: token.rindex(".") + 1] + "AA", "R4")


def test_r4_none_without_signature() -> None:
    token = forge(header(alg="none"), claims())
    refuse(token[: token.rindex(".") + 1], "gate")


def secrets_made_of(key: ECKey | RSAKey) -> list[bytes]:
    """Give every public text of a key that a careless verifier might use as an HMAC secret."""
    public = key.as_dict(private=False)
    pem, der = serialization.Encoding.PEM, serialization.Encoding.DER
    texts = [
        key.as_pem(private=False),
        key.as_pem(private=False).strip(),
        key.as_der(private=False),
        str(public.get("x") or public.get("n")).encode(),
        b"",
    ]
    for document in (public, {"keys": [public]}):
        texts += [
            json.dumps(document).encode(),
            json.dumps(document, separators=(",", ":")).encode(),
        ]
    if isinstance(key, RSAKey):
        pkcs1 = serialization.PublicFormat.PKCS1
        texts += [key.public_key.public_bytes(encoding, pkcs1) for encoding in (pem, der)]
    return texts


def hmac_token(head: JsonObject, body: JsonObject, secret: bytes) -> str:
    unsigned = f"{b64(json.dumps(head).encode())}.{b64(json.dumps(body).encode())}"
    signature = hmac.digest(secret, unsigned.encode(), f"sha{head['alg'][2:]}")
    return f"{unsigned}.{b64(signature)}"


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_r4_public_keys_are_no_hmac_secrets(algorithm: str) -> None:
    row = external(JwkSet(k=RSA))
    for secret in secrets_made_of(EC):
        refuse(hmac_token(header(alg=algorithm), claims(), secret), "R4")
    for secret in secrets_made_of(RSA):
        token = hmac_token(header(alg=algorithm, kid="k"), external_claims(), secret)
        refuse(token, "R4", row)


@pytest.mark.parametrize("algorithms", [[], ["HS256"], ["none"], ["RS256", "HS512"], ["RS1"]])
def test_r4_rows_cannot_allow_more(algorithms: list[str]) -> None:
    with pytest.raises(ValueError, match="algorithms"):
        Issuer(issuer=THERE, audience="a", key_source=JwkSet(), algorithms=frozenset(algorithms))


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [("RS256", RSA), ("PS256", RSA), ("ES256", EC), ("Ed25519", OKP), ("EdDSA", OKP)],
)
@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # where this test signs
def test_r4_every_algorithm_of_the_table_works(algorithm: str, key: Key) -> None:
    token = forge(header(alg=algorithm, kid="k"), external_claims(), key)
    assert accept(token, external(JwkSet(k=key), algorithm)).subject == "user-1"
    other = "RS256" if algorithm != "RS256" else "ES256"
    refuse(token, "R4", external(JwkSet(k=key), other))


@pytest.mark.parametrize(
    "members",
    [{"use": "enc"}, {"alg": "PS256"}, {"key_ops": ["encrypt"]}, {"key_ops": []}],
)
def test_r4_keys_made_for_something_else(members: JsonObject) -> None:
    key = RSAKey.import_key({**RSA.as_dict(private=False), **members})
    token = forge(header(alg="RS256", kid="k"), external_claims(), RSA)
    refuse(token, "R7", external(JwkSet(k=key)))


def test_r4_keys_of_another_kind() -> None:
    p384 = ECKey.generate_key("P-384")
    for key in (p384, EC, OKP, OctKey.generate_key(256)):
        row = external(JwkSet(k=key), "RS256", "PS256")
        refuse(forge(header(alg="RS256", kid="k"), external_claims(), RSA), "R7", row)
    row = external(JwkSet(k=p384), "ES256")
    refuse(forge(header(kid="k"), external_claims()), "R7", row)


def test_r4_the_signature_must_be_that_keys() -> None:
    other = ECKey.generate_key("P-256")
    refuse(forge(header(), claims(), other), "R4")
    parts = forge(header(), claims()).split(".")
    changed = b64(json.dumps(claims(tenants=[8])).encode())
    refuse(f"{parts[0]}.{changed}.{parts[2]}", "R4")
    for signature in (b"\0" * 64, b"\xff" * 64, b"\0" * 63, b"x", b"\0" * 700):
        refuse(f"{parts[0]}.{parts[1]}.{b64(signature)}", "R4")


# R5: header


@pytest.mark.parametrize(
    "extra",
    [
        {"crit": ["exp"]}, {"crit": []}, {"crit": ["b64"], "b64": True}, {"b64": True},
        {"b64": False},
        {"crit": ["b64"], "b64": False}, {"jwk": EC.as_dict(private=False)},
        {"jku": "http://127.0.0.1:9/jwks"},
        {"x5u": "http://127.0.0.1:9/cert"}, {"x5c": ["MIIB"]}, {"enc": "A128GCM"}, {"zip": "DEF"},
        {"cty": "JWT"},
        {"unknown": 1}, {"jwk": None}, {"": ""},
    ],
)  # fmt: skip
def test_r5_headers_that_want_to_be_obeyed(extra: JsonObject) -> None:
    refuse(forge(header(**extra), claims()), "R5")


def test_r5_a_key_in_the_header_is_not_used() -> None:
    attacker = ECKey.generate_key("P-256")
    public = attacker.as_dict(private=False)
    for kid in (EC.thumbprint(), attacker.thumbprint(), ABSENT):
        refuse(forge(header(jwk=public, kid=kid), claims(), attacker), "R5")


# R6: strength


def test_r6_a_short_rsa_key() -> None:
    with pytest.warns(match="2048"):
        weak = RSAKey.generate_key(1024)
    token = forge(header(alg="RS256", kid="k"), external_claims(), weak)
    refuse(token, "R7", external(JwkSet(k=weak)))


# R7: kid


@pytest.mark.parametrize("kid", [None, 1, True, [], {}, "x" * 129, "x" * 350])
def test_r7_kid_is_a_short_string(kid: object) -> None:
    refuse(forge(header(kid=kid), claims()), "R7: kid")


def test_r7_a_huge_kid() -> None:
    refuse(forge(header(kid="x" * 10_000), claims()), "gate")


@pytest.mark.parametrize(
    "kid", ["", "../../etc/passwd", "' OR 1=1 --", '"', "\x00", "other", "\ud800"]
)
def test_r7_kid_is_only_looked_up(kid: str) -> None:
    caught = refuse(forge(header(kid=kid), claims()), "R7")
    assert isinstance(caught, UnknownKeyError)
    assert caught.issuer.issuer == HERE


def test_r7_no_kid_only_where_there_is_no_choice() -> None:
    other = ECKey.generate_key("P-256")
    token = forge(header(kid=ABSENT), external_claims())
    # The second usable key makes a choice; unusable ones do not.
    refuse(token, "R7", external(JwkSet(a=EC, b=other), "ES256"))
    refuse(token, "R7", external(JwkSet(), "ES256"))
    accept(token, external(JwkSet(a=EC, b=RSA, c=OKP), "ES256"))


def test_a_key_source_without_keys_is_not_the_tokens_fault() -> None:
    class Down:
        def keys(self, kid: str | None) -> Sequence[Key]:
            raise ServerError("service_unavailable", retry_after=5)

    with pytest.raises(ServerError):
        accept(forge(header(alg="RS256"), external_claims(), RSA), external(Down()))


# R8: typ


@pytest.mark.parametrize(
    "kind",
    [
        ABSENT, None, "", "JWT", "jwt", "logout+jwt", "secevent+jwt", "dpop+jwt",
        "oauth-authz-req+jwt", "at+jwt ", "application/jwt", "x/at+jwt", "at", 1, True, [],
        ["at+jwt"], {},
    ],
)  # fmt: skip
def test_r8_other_kinds_of_token(kind: object) -> None:
    refuse(forge(header(typ=kind), claims()), "R")


@pytest.mark.parametrize("kind", [ABSENT, "JWT", "jwt", "logout+jwt", "dpop+jwt"])
def test_r8_named(kind: object) -> None:
    refuse(forge(header(typ=kind), claims()), "R8")


def loose(**options: Any) -> Issuer:
    return external(JwkSet(k=RSA), strict_type=False, **options)


@pytest.mark.parametrize("kind", [ABSENT, "JWT", "jwt", "at+jwt", "application/at+jwt"])
def test_r8_a_loose_issuer(kind: object) -> None:
    accept(forge(header(alg="RS256", kid="k", typ=kind), external_claims(), RSA), loose())


@pytest.mark.parametrize("kind", ["", "logout+jwt", "secevent+jwt", "dpop+jwt", "application/jwt"])
def test_r8_loose_is_not_anything(kind: object) -> None:
    token = forge(header(alg="RS256", kid="k", typ=kind), external_claims(), RSA)
    refuse(token, "R8", loose())


@pytest.mark.parametrize("kind", ["JWT", ABSENT, "at+jwt"])
@pytest.mark.parametrize(
    "extra", [{"nonce": "n"}, {"at_hash": "h"}, {"events": {}}, {"nonce": None}]
)
def test_r8_id_and_logout_tokens_of_a_loose_issuer(kind: object, extra: JsonObject) -> None:
    token = forge(header(alg="RS256", kid="k", typ=kind), external_claims(**extra), RSA)
    refuse(token, "R8", loose())


# R9: iss, aud, sub, client_id, jti


@pytest.mark.parametrize(
    "audience",
    [
        ABSENT, None, "", HERE + "/", HERE + "/v1", HERE[:-1], HERE.upper(), "x" + HERE,
        f"{HERE} {HERE}", 1, True,
        {}, {HERE: 1}, {"aud": HERE}, [], [[HERE]], ["x"], [HERE, 1], [HERE, None], [1],
        [HERE + "/"],
    ],
)  # fmt: skip
def test_r9_audience(audience: object) -> None:
    refuse(forge(header(), claims(aud=audience)), "R9: aud")


@pytest.mark.parametrize("name", ["sub", "client_id", "jti"])
@pytest.mark.parametrize(
    "value",
    [
        ABSENT, None, "", 1, True, [], ["x"], {}, "x" * 256, "a\nb", "a\x00", "\ud800", "\x7f",
    ],
)  # fmt: skip
def test_r9_required_strings(name: str, value: object) -> None:
    refuse(forge(header(), claims(**{name: value})), "R9")


@pytest.mark.parametrize("name", ["exp", "iat"])
def test_r9_required_times(name: str) -> None:
    refuse(forge(header(), claims(**{name: ABSENT})), f"R10: {name} is missing")


def test_r9_azp_does_not_repair_a_bad_client_id() -> None:
    refuse(forge(header(), claims(client_id=None, azp="app-1")), "R9")
    assert accept(forge(header(), claims(azp="other"))).client == "app-1"


# R10: times


NUMBERS = [
    "true", "false", "null", '"1800000300"', "NaN", "Infinity", "-Infinity", "1e400", "-1e400",
    "1e308", "-1", "9" * 400, "9" * 5000, "[]", "[1800000300]", "{}", "18000003000000000",
]  # fmt: skip


@pytest.mark.parametrize("name", ["exp", "iat", "nbf"])
@pytest.mark.parametrize("number", NUMBERS)
def test_r10_times_are_numbers(name: str, number: str) -> None:
    payload = json.dumps(claims(**{name: "PLACE"})).replace('"PLACE"', number)
    refuse(raw_token(json.dumps(header()).encode(), payload.encode()), "")


@pytest.mark.parametrize("name", ["exp", "iat", "nbf"])
@pytest.mark.parametrize("value", [True, None, str(NOW + 300), [], {}, -1, 2**53, 1e300])
def test_r10_named(name: str, value: object) -> None:
    refuse(forge(header(), claims(**{name: value})), f"R10: {name}")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iat": NOW - 630, "exp": NOW - 30}, "R10: token has expired"),
        ({"iat": 0, "exp": 600}, "R10: token has expired"),
        ({"iat": NOW + 31}, "R10: token is not valid yet"),
        ({"nbf": NOW + 31}, "R10: token is not valid yet"),
        ({"iat": NOW + 31, "nbf": NOW}, "R10: token is not valid yet"),
        ({"exp": NOW + 3601}, "R10: token lives too long"),
        ({"iat": 0}, "R10: token lives too long"),
        ({"iat": NOW + 10, "exp": NOW + 10}, "R10: token lives too long"),
        ({"iat": NOW + 10, "exp": NOW + 5}, "R10: token lives too long"),
    ],
)
def test_r10_time(changes: JsonObject, reason: str) -> None:
    refuse(forge(header(), claims(**changes)), reason)


def test_r10_the_longest_lifetime_is_the_rows() -> None:
    row = external(JwkSet(k=RSA), max_lifetime=100)
    head = header(alg="RS256", kid="k")
    accept(forge(head, external_claims(exp=NOW + 100), RSA), row)
    refuse(forge(head, external_claims(exp=NOW + 101), RSA), "R10", row)


# R11: parsing


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"tenants": [1, 7]', '"tenants": [1], "tenants": [8]'),
        ('"tenants": [1, 7]', '"tenants": [1], "\\u0074enants": [8]'),
        ('"sub": "user-1"', '"sub": "user-1", "sub": "user-1"'),
        ('"jti": "id-1"', '"jti": "id-1", "x": {"a": 1, "a": 2}'),
    ],
)
def test_r11_duplicate_claims(old: str, new: str) -> None:
    payload = json.dumps(claims())
    assert old in payload
    token = raw_token(json.dumps(header()).encode(), payload.replace(old, new).encode())
    refuse(token, "a JSON name occurs twice")


def test_r11_duplicate_header_names() -> None:
    head = json.dumps(header()).replace("{", '{"alg": "none", ', 1)
    refuse(raw_token(head.encode(), json.dumps(claims()).encode()), "a JSON name occurs twice")


@pytest.mark.parametrize("depth", [30_000, 2_500])
@pytest.mark.parametrize("before", ["", '{"aud":'])
@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_r11_nesting(depth: int, before: str, opening: str) -> None:
    payload = before + opening * depth
    for whole in (payload, payload + "1" + ("]" if opening == "[" else "}") * depth):
        refuse(raw_token(json.dumps(header()).encode(), whole.encode()), "")
        refuse(raw_token(whole.encode(), json.dumps(claims()).encode()), "")


@pytest.mark.parametrize("codec", ["utf-16", "utf-32", "utf-8-sig"])
def test_r11_utf8_only(codec: str) -> None:
    refuse(raw_token(json.dumps(header()).encode(), json.dumps(claims()).encode(codec)), "not")
    refuse(raw_token(json.dumps(header()).encode(codec), json.dumps(claims()).encode()), "not")


# R12: scope


@pytest.mark.parametrize(
    ("scope", "granted"),
    [
        ("", set()), (" ", set()), ("chat", {"chat"}), (" chat  usage ", {"chat", "usage"}),
        ("chat\tusage", {"chat\tusage"}), ("chat\nusage", {"chat\nusage"}),
        ("chat\u00a0x", {"chat\u00a0x"}), ("chatter", {"chatter"}), ("chat,usage", {"chat,usage"}),
    ],
)  # fmt: skip
def test_r12_scope_is_split_on_spaces(scope: str, granted: set[str]) -> None:
    assert accept(forge(header(), claims(scope=scope))).scopes == frozenset(granted)


@pytest.mark.parametrize("scope", [1, True, {}, [], ["chat"]])
def test_r12_scope_is_a_string(scope: object) -> None:
    refuse(forge(header(), claims(scope=scope)), "R12")


def test_r12_scp_only_where_configured() -> None:
    head = header(alg="RS256", kid="k")
    row = external(JwkSet(k=RSA), scope_claim="scp")
    token = forge(head, external_claims(scp=["chat", "a b"], scope="admin"), RSA)
    assert accept(token, row).scopes == {"chat", "a b"}
    wrong: list[object] = ["chat", [1], [None], {}, 1]
    for bad in wrong:
        refuse(forge(head, external_claims(scp=bad), RSA), "R12", row)
    assert accept(forge(header(), claims(scp=["admin"]))).scopes == {"chat", "usage"}


# R13: bound tokens


@pytest.mark.parametrize("cnf", [{"jkt": "x"}, {"x5t#S256": "x"}, {}, None])
def test_r13_bound_tokens(cnf: object) -> None:
    refuse(forge(header(), claims(cnf=cnf)), "R13")


# Tenants


@pytest.mark.parametrize(
    "value", [None, 1, "1", {}, ["1"], [0], [-1], [2**63], [1.0], [True], [[1]], [1, None]]
)
def test_tenants_are_numbers(value: object) -> None:
    refuse(forge(header(), claims(tenants=value)), "tenant claim")


def test_a_bound_issuer_cannot_act_for_others() -> None:
    token = forge(header(alg="RS256", kid="k"), external_claims(org=[7, 8], tenants=[9]), RSA)
    row = external(JwkSet(k=RSA), tenant_claim="org", tenants=frozenset({7, 9}))
    assert accept(token, row).tenants == {7}


# The cache


def test_a_verified_token_is_remembered_for_30_seconds() -> None:
    source = JwkSet(k=RSA)
    gate = verifier(external(source))
    token = forge(header(alg="RS256", kid="k"), external_claims(exp=NOW + 3600), RSA)
    for now in (NOW, NOW + 1, NOW + 29.9):
        gate.verify(token, now)
    assert source.asked == ["k"]
    gate.verify(token, NOW + 30)
    assert source.asked == ["k", "k"]


def test_a_removed_key_dies_within_30_seconds() -> None:
    source = JwkSet(k=RSA)
    gate = verifier(external(source))
    token = forge(header(alg="RS256", kid="k"), external_claims(), RSA)
    gate.verify(token, NOW)
    source.by_kid.clear()
    with pytest.raises(UnknownKeyError):
        gate.verify(token, NOW + 30)


def test_a_remembered_token_still_expires() -> None:
    gate = verifier()
    token = forge(header(), claims(exp=NOW + 1))
    gate.verify(token, NOW + 30.5)
    with pytest.raises(RequestError) as caught:
        gate.verify(token, NOW + 31)
    assert caught.value.reason == "R10: token has expired"


def test_refusals_are_not_remembered_as_good() -> None:
    gate = verifier()
    token = forge(header(), claims(nbf=NOW + 100))
    for _ in range(2):
        with pytest.raises(RequestError):
            gate.verify(token, NOW)
    gate.verify(token, NOW + 100)


# Arbitrary input


def outcome(token: str) -> str:
    try:
        verifier().verify(token, NOW)
    except RequestError as error:
        return error.code
    return "verified"


@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_any_text_is_an_invalid_token(token: str) -> None:
    refuse(token, "")


PART = st.text("abcXYZ019-_", min_size=1) | st.binary().map(b64)


@given(st.tuples(PART, PART, PART).map(".".join))
def test_any_three_parts_are_an_invalid_token(token: str) -> None:
    refuse(token, "")


@given(st.data())
def test_any_other_text_than_the_signed_one_is_invalid(data: st.DataObject) -> None:
    token = forge(header(), claims())
    start = data.draw(st.integers(0, len(token)))
    end = data.draw(st.integers(start, min(len(token), start + 3)))
    changed = token[:start] + data.draw(st.text(max_size=4)) + token[end:]
    if changed != token:
        refuse(changed, "")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*claims(), "nbf", "azp", "cnf", "x"]), JSON))
def test_any_signed_claims_are_verified_or_invalid(changes: JsonObject) -> None:
    assert outcome(forge(header(), claims() | changes)) in {"verified", "invalid_token"}


@given(st.dictionaries(st.sampled_from(["alg", "typ", "kid", "x5t", "nonce", "crit", "b64"]), JSON))
def test_any_signed_header_is_verified_or_invalid(changes: JsonObject) -> None:
    head = json.dumps(header() | changes).encode()
    token = raw_token(head, json.dumps(claims()).encode())
    assert outcome(token) in {"verified", "invalid_token"}


@given(st.binary(), st.binary())
def test_any_signed_bytes_are_invalid(head: bytes, payload: bytes) -> None:
    refuse(raw_token(head, payload), "")
    refuse(raw_token(json.dumps(header()).encode(), payload), "")


# Signing


def signed(**changes: Any) -> str:
    options: JsonObject = {
        "tenants": [7, 1], "subject": "user-1", "client": "app-1", "scopes": ["usage", "chat"],
        "ttl": 3600,
        "now": NOW + 0.7,
    }  # fmt: skip
    return sign_token(KEYS, embedded_issuer(HERE, KEYS), **(options | changes))


def test_a_signed_token_has_the_claims_of_rfc_9068() -> None:
    parts = [json.loads(base64.urlsafe_b64decode(part + "==")) for part in signed().split(".")[:2]]
    assert parts[0] == header()
    jti = parts[1].pop("jti")
    assert len(base64.urlsafe_b64decode(jti + "==")) == 16
    assert parts[1] == claims(exp=NOW + 3600, jti=ABSENT, scope="chat usage")
    assert accept(signed()).scopes == {"chat", "usage"}
    assert accept(signed()).token_id != accept(signed()).token_id


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": ""}, {"client": "a\n"},
        {"tenants": [0]},
        {"tenants": [2**63]}, {"scopes": ["chat usage"]}, {"scopes": [""]}, {"scopes": ['"']},
        {"tenants": range(10**18, 10**18 + 400)},
    ],
)  # fmt: skip
def test_what_would_not_verify_is_not_signed(changes: JsonObject) -> None:
    with pytest.raises(ValueError, match=r"."):
        signed(**changes)


@pytest.mark.parametrize("ttl", [3601, 0, -1])
def test_a_token_lives_an_hour_at_most(ttl: int) -> None:
    with pytest.raises(ValueError, match=r"a token lives 1\.\.3600 seconds"):
        signed(ttl=ttl)


def test_a_reloaded_key_file_verifies_older_tokens(tmp_path: Path) -> None:
    first, second = (SigningKeys.load_or_create(tmp_path) for _ in range(2))
    row = embedded_issuer(HERE, first)
    options: JsonObject = {
        "tenants": [1], "subject": "s", "client": "c", "scopes": [], "ttl": 60, "now": NOW,
    }  # fmt: skip
    token = sign_token(first, row, **options)
    assert TokenVerifier([embedded_issuer(HERE, second)]).verify(token, NOW).subject == "s"
