"""Finds the two tables and makes a client for them: from a CloudFormation stack, or from the environment.

Credentials, region and endpoint are boto3's business, with all its variables and files; AWS_REGION counts as well, as it does for
the AWS CLI. Whatever is missing is a ConfigurationError that says what to set, and so is a table that isn't there: DynamoDB's own
error doesn't name it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from botocore.config import Config
from botocore.exceptions import (
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
)

from behest_core.dynamodb.client import make_client
from behest_core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from boto3.session import Session
    from botocore.client import BaseClient
    from mypy_boto3_dynamodb import DynamoDBClient

VARIABLES: Final = ("BEHEST_EVENT_TABLE", "BEHEST_STATE_TABLE")
_OUTPUTS: Final = ("EventTableName", "StateTableName")
_NAME_THE_STACK: Final = "name the stack (--stack, or RunStore.from_stack)"
_KEYS: Final = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"

UNCONFIGURED: Final[Mapping[type[Exception], Callable[[Exception], str]]] = {
    NoCredentialsError: lambda _: f"no AWS credentials found; set AWS_PROFILE, or {_KEYS}, or run `aws sso login`",
    PartialCredentialsError: lambda error: f"the AWS credentials are incomplete ({error}); set both {_KEYS}",
    CredentialRetrievalError: lambda error: f"can't get AWS credentials: {error}",
    NoRegionError: lambda _: "no AWS region is set; set AWS_REGION, or AWS_PROFILE to a profile that has one",
    ProfileNotFound: lambda error: f"{error}; set AWS_PROFILE to one of ~/.aws/config",
}
"""What to do about botocore's errors that something isn't set. Credentials may be missed by the first request only."""


class Connection(NamedTuple):
    """The tables' names, and a client that reaches them."""

    event_table: str
    state_table: str
    client: DynamoDBClient


def connect(stack: str | None = None, config: Config | None = None) -> Connection:
    """Connect to the tables of a stack, or without one to those that the environment names. Raises ConfigurationError.

    `config` is botocore's, for the client of DynamoDB.
    """
    try:
        session = _session()
        tables = _of_environment(os.environ) if stack is None else _of_stack(session, stack)
        client = make_client(session.client, config)
    except ValueError as error:  # botocore's, for an endpoint that is no URL
        raise ConfigurationError(f"{error}; check AWS_ENDPOINT_URL and the region") from error
    except tuple(UNCONFIGURED) as error:
        advice = next(advice for kind, advice in UNCONFIGURED.items() if isinstance(error, kind))
        raise ConfigurationError(advice(error)) from error
    _name_missing_tables(client, dict(zip(tables, ("event table", "state table"), strict=True)))
    return Connection(*tables, client)


def _session() -> Session:
    import boto3  # noqa: PLC0415 (a fifth of a second that whoever needs no tables is spared)

    return boto3.session.Session(region_name=os.environ.get("AWS_REGION") or None)


def _of_environment(environment: Mapping[str, str]) -> tuple[str, str]:
    missing = [name for name in VARIABLES if not environment.get(name)]
    if len(missing) == len(VARIABLES):
        raise ConfigurationError(f"which tables? {_NAME_THE_STACK}, or set {' and '.join(VARIABLES)}")
    if missing:
        raise ConfigurationError(f"{missing[0]} is not set; set it as well, or {_NAME_THE_STACK}")
    event_table, state_table = (environment[name] for name in VARIABLES)
    return event_table, state_table


def _of_stack(session: Session, stack: str) -> tuple[str, str]:
    client = session.client("cloudformation", config=Config(retries={"mode": "standard"}))
    try:
        [described] = client.describe_stacks(StackName=stack)["Stacks"]
    except ClientError as error:
        if "does not exist" not in str(error):
            raise
        raise ConfigurationError(
            f"there is no stack {stack} {_place(client)}; check the name, the region (AWS_REGION) and AWS_PROFILE"
        ) from error
    outputs = {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}
    missing = [name for name in _OUTPUTS if name not in outputs]
    if missing:
        raise ConfigurationError(f"stack {stack} has no output {' and no '.join(missing)}; is it behest's?")
    event_table, state_table = (outputs[name] for name in _OUTPUTS)
    return event_table, state_table


def _place(client: BaseClient) -> str:
    if "amazonaws.com" in client.meta.endpoint_url:
        return f"in {client.meta.region_name}"
    return f"at {client.meta.endpoint_url}"


def _name_missing_tables(client: BaseClient, tables: Mapping[str, str]) -> None:
    """Let requests to a table that isn't there raise ConfigurationError with the table's name."""

    def remember(params: Mapping[str, Any], context: dict[str, Any], **_: object) -> None:
        context["behest_tables"] = (
            [params["TableName"]] if "TableName" in params else list(params.get("RequestItems", {}))
        )

    def look(parsed: Mapping[str, Any], context: Mapping[str, Any], **_: object) -> None:
        if parsed.get("Error", {}).get("Code") == "ResourceNotFoundException":
            [table] = context["behest_tables"]
            raise ConfigurationError(
                f"the {tables[table]} {table} doesn't exist {_place(client)}; "
                "check its name, the region (AWS_REGION) and AWS_PROFILE"
            )

    client.meta.events.register("provide-client-params.dynamodb", remember)
    client.meta.events.register("after-call.dynamodb", look)
