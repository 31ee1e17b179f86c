"""The bodies that administration takes. Secrets have a type that never shows them."""

from typing import Annotated, Any, Final, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, ValidationError

from tellstream.administration.problems import refusal
from tellstream.auth.clients import GRANT_TYPES
from tellstream.auth.tenants import MAX_TENANT
from tellstream.core.errors import RequestError

MAX_LINE_CHARS: Final = 1000
"""Of a text of one line; the acts have closer bounds."""

TenantNumber = Annotated[int, Field(ge=1, le=MAX_TENANT)]
_Line = Annotated[str, StringConstraints(max_length=MAX_LINE_CHARS)]


class Body(BaseModel):
    """A body; unknown members are refused, and errors do not quote what was sent."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    @property
    def given(self) -> dict[str, Any]:
        """The members that were sent."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class TenantPatch(Body):
    """What changes of a tenant; null gives a member, or a single limit, its default."""

    name: _Line | None = None
    model: _Line | None = None
    models: list[_Line] | None = None
    system: str | None = None
    limits: dict[str, Any] | None = Field(None, description="As in the configuration file.")


class TenantBody(TenantPatch):
    """A new tenant."""

    id: TenantNumber


class ClientBody(Body):
    """A new OAuth client."""

    name: _Line
    redirect_uris: list[_Line] = []
    scope: _Line = Field("chat", description="Scopes, separated by spaces.")
    tenants: list[TenantNumber] | None = Field(None, description="Default: that of X-Tenant.")
    public: bool = False
    grant_types: list[Literal["authorization_code", "client_credentials", "refresh_token"]] = Field(
        list(GRANT_TYPES), min_length=1
    )
    pkce_required: bool = True


class UserBody(Body):
    """A new user."""

    email: _Line
    password: SecretStr
    scope: _Line = Field("chat usage", description="Scopes, separated by spaces.")
    tenants: list[TenantNumber] | None = Field(None, description="Default: that of X-Tenant.")
    must_change: bool = Field(False, description="The first login asks for another password.")


class PasswordBody(Body):
    """A user's new password."""

    password: SecretStr
    must_change: bool = Field(False, description="The next login asks for another one.")


class CredentialBody(Body):
    """A tenant's own key for a provider."""

    key: SecretStr
    label: _Line = ""


class SecretsBody(Body):
    """Which step of a rotation of the master key to do."""

    step: Literal["all", "add", "encrypt", "drop"] = "all"


def parse(model: type[Body], raw: bytes) -> Body:
    """Read a body.

    Raises:
        RequestError: ``invalid_request``, it is not JSON; ``validation_error`` with details.
    """
    try:
        body = model.model_validate_json(raw)
        msgspec.json.decode(raw, type=msgspec.Raw)  # pydantic lets NaN and Infinity through
    except ValidationError as error:
        raise refusal(error) from None  # not chained: a secret may be among what was sent
    except msgspec.DecodeError:
        raise RequestError("invalid_request", "The body is not valid JSON.") from None
    return body
