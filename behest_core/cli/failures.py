"""From an error to the one line that says what is wrong and what to do. What isn't named here is a bug: it shows a traceback."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)

from behest_core.errors import BehestError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_KEYS: Final = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"


class CommandError(BehestError):
    """A command can't do what it was asked to. The message is the line to show."""


_OF_BOTOCORE: Final[Mapping[type[BotoCoreError], Callable[[BotoCoreError], str]]] = {
    NoCredentialsError: lambda _: f"no AWS credentials found; set AWS_PROFILE, or {_KEYS}, or run `aws sso login`",
    PartialCredentialsError: lambda error: f"the AWS credentials are incomplete ({error}); set both {_KEYS}",
    CredentialRetrievalError: lambda error: f"can't get AWS credentials: {error}",
    SSOError: lambda error: f"can't get AWS credentials: {error}; run `aws sso login`",
    TokenRetrievalError: lambda error: f"can't get AWS credentials: {error}; run `aws sso login`",
    ProfileNotFound: lambda error: f"{error}; set AWS_PROFILE to one of ~/.aws/config",
    NoRegionError: lambda _: "no AWS region is set; set AWS_REGION, or AWS_PROFILE to a profile that has one",
    EndpointConnectionError: lambda error: (
        f"can't reach {error.kwargs['endpoint_url']}; check the network, the region, and AWS_ENDPOINT_URL if it is set"
    ),
}

_OF_AWS: Final = {
    "AccessDenied": "access denied: {message}; ask for this permission, or set AWS_PROFILE to who has it",
    "ExpiredToken": "the AWS credentials have expired; renew them, with `aws sso login` for instance",
    "InvalidClientTokenId": f"AWS doesn't know these credentials; check AWS_PROFILE, or {_KEYS}",
    "InvalidSignatureException": f"AWS refuses these credentials: {{message}}; check {_KEYS}, and this machine's clock",
    "ProvisionedThroughputExceededException": "DynamoDB is throttling {operation}: {message}; try again later",
    "ThrottlingException": "AWS is throttling {operation}: {message}; try again later",
}
_ALIASES: Final = {
    "AccessDeniedException": "AccessDenied",
    "ExpiredTokenException": "ExpiredToken",
    "UnrecognizedClientException": "InvalidClientTokenId",
    "SignatureDoesNotMatch": "InvalidSignatureException",
}


def explain(error: Exception) -> str | None:
    """Return the line for an error, None where it is a bug."""
    if isinstance(error, BehestError):
        return str(error)
    if isinstance(error, ClientError):
        return _of_aws(error)
    if isinstance(error, BotoCoreError):
        lines = (line for kind, line in _OF_BOTOCORE.items() if isinstance(error, kind))
        return next(lines, str)(error)
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error)
    return None


def _of_aws(error: ClientError) -> str:
    code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
    line = _OF_AWS.get(_ALIASES.get(code, code), "AWS refused {operation}: {code}: {message}")
    return line.format(code=code, message=message.rstrip("."), operation=error.operation_name)
