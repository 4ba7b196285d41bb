"""Reaching AWS: from --stack or the environment to a RunStore, and from an error to the one line that says what to do.

An error that isn't named here is a bug: it shows a traceback.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError, SSOError, TokenRetrievalError

from behest_core.dynamodb import connection
from behest_core.dynamodb.connection import UNCONFIGURED
from behest_core.errors import BehestError
from behest_core.store import RunStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from botocore.client import BaseClient

WORKERS: Final = 16
"""How many runs a command works on side by side: as many connections as the client has."""

_ATTEMPTS: Final = 8  # an import of many runs meets throttling before an on-demand table has scaled up


def connect(stack: str | None) -> RunStore:
    """Return the store of a stack, or of the tables that the environment names, or of the stack that BEHEST_STACK names.

    Raises ConfigurationError.
    """
    if stack is None and not any(map(os.environ.get, connection.VARIABLES)):
        stack = os.environ.get("BEHEST_STACK") or None
    config = Config(
        max_pool_connections=WORKERS,
        connect_timeout=5,
        read_timeout=20,
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
    )
    event_table, state_table, client = connection.connect(stack, config)
    _do_not_insist(client)
    return RunStore(event_table, state_table, client=client)


def _do_not_insist(client: BaseClient) -> None:
    """Don't repeat requests to an endpoint that nobody answers at: whoever waits for the command can do that."""

    def give_up(caught_exception: Exception | None, **_: object) -> None:
        if isinstance(caught_exception, EndpointConnectionError):
            raise caught_exception

    service = client.meta.service_model.service_id.hyphenize()
    client.meta.events.register_first(f"needs-retry.{service}", give_up)


# ---------------------------------------------------------------- errors

_OF_BOTOCORE: Final[Mapping[type[Exception], Callable[[Any], str]]] = {
    **UNCONFIGURED,
    SSOError: lambda error: f"can't get AWS credentials: {error}; run `aws sso login`",
    TokenRetrievalError: lambda error: f"can't get AWS credentials: {error}; run `aws sso login`",
    EndpointConnectionError: lambda error: (
        f"can't reach {error.kwargs['endpoint_url']}; check the network, the region, and AWS_ENDPOINT_URL if it is set"
    ),
}

_KEYS: Final = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
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
