"""The one place that connects a command to the tables.

Where they are comes from `--stack`, or from BEHEST_EVENT_TABLE and BEHEST_STATE_TABLE. Credentials, region and endpoint are
boto3's business, with all its variables and files; AWS_REGION counts as well, as it does for the AWS CLI.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError

from behest_core.errors import ConfigurationError
from behest_core.store import RunStore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from boto3.session import Session
    from botocore.client import BaseClient

WORKERS: Final = 16
"""How many runs a command works on side by side: as many connections as the client has."""

_ATTEMPTS: Final = 8  # an import of many runs meets throttling before an on-demand table has scaled up
_VARIABLES: Final = ("BEHEST_EVENT_TABLE", "BEHEST_STATE_TABLE")
_OUTPUTS: Final = ("EventTableName", "StateTableName")


def connect(stack: str | None) -> RunStore:
    """Return the store of a stack, or of the tables that the environment names. Raises ConfigurationError."""
    session = _session()
    try:
        tables = _of_environment(os.environ) if stack is None else _of_stack(session, stack)
        client = session.client("dynamodb", config=_config())
    except ValueError as error:  # botocore's, for an endpoint that is no URL
        raise ConfigurationError(f"{error}; check AWS_ENDPOINT_URL and the region") from error
    _tell_at_once(client, dict(zip(tables, ("event table", "state table"), strict=True)))
    return RunStore(*tables, client=client)


def _session() -> Session:
    import boto3  # noqa: PLC0415 (a fifth of a second that `behest fold` and `--help` are spared)

    return boto3.session.Session(region_name=os.environ.get("AWS_REGION") or None)


def _config() -> Config:
    return Config(
        max_pool_connections=WORKERS,
        connect_timeout=5,
        read_timeout=20,
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
    )


def _of_environment(environment: Mapping[str, str]) -> tuple[str, str]:
    missing = [name for name in _VARIABLES if not environment.get(name)]
    if len(missing) == len(_VARIABLES):
        raise ConfigurationError(f"which tables? pass --stack NAME, or set {' and '.join(_VARIABLES)}")
    if missing:
        raise ConfigurationError(f"{missing[0]} is not set; set it as well, or pass --stack NAME")
    event_table, state_table = (environment[name] for name in _VARIABLES)
    return event_table, state_table


def _of_stack(session: Session, stack: str) -> tuple[str, str]:
    client = session.client("cloudformation", config=Config(retries={"mode": "standard"}))
    _tell_at_once(client, {})
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


def _tell_at_once(client: BaseClient, tables: Mapping[str, str]) -> None:
    """Name a table that isn't there, which DynamoDB doesn't; don't repeat calls to an endpoint that nobody answers at."""

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

    def give_up(caught_exception: Exception | None, **_: object) -> None:
        if isinstance(caught_exception, EndpointConnectionError):
            raise caught_exception

    client.meta.events.register("provide-client-params.dynamodb", remember)
    client.meta.events.register("after-call.dynamodb", look)
    service = client.meta.service_model.service_id.hyphenize()
    client.meta.events.register_first(f"needs-retry.{service}", give_up)
