"""The tables, functions and what calls them, of template.yaml, which is the only place that defines them.

The local stack takes them from there, so that what runs on a laptop is what will be deployed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from behest_core.testing.cloudformation import (
    CloudFormationTemplate,
    Node,
    ParameterValue,
    Section,
    TemplateError,
    attribute_of,
)
from behest_core.testing.lane import MappingSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_dynamodb.type_defs import CreateTableInputTypeDef

_TABLE_PROPERTIES = (
    "AttributeDefinitions",
    "BillingMode",
    "GlobalSecondaryIndexes",
    "KeySchema",
    "LocalSecondaryIndexes",
    "OnDemandThroughput",
    "ProvisionedThroughput",
    "TableClass",
)
"""What CloudFormation and CreateTable write alike, and what means something on a laptop. Encryption, backups and
protection against deletion don't."""

_MAPPING_SETTINGS = {
    "BatchSize": "batch_size",
    "MaximumBatchingWindowInSeconds": "batching_window_seconds",
    "MaximumRetryAttempts": "maximum_retry_attempts",
    "MaximumRecordAgeInSeconds": "maximum_record_age_seconds",
    "ParallelizationFactor": "parallelization_factor",
}
_MAPPING_PROPERTIES = {
    *_MAPPING_SETTINGS,
    "BisectBatchOnFunctionError",
    "DestinationConfig",
    "Enabled",
    "FunctionResponseTypes",
    "StartingPosition",
    "Stream",
}
"""What the model of the mapping knows. Others, such as FilterCriteria, change what a function receives: they are refused."""


@dataclass(frozen=True, slots=True)
class TableDefinition:
    """A table of the template."""

    logical_id: str
    name: str
    create: CreateTableInputTypeDef
    """The arguments of boto3's ``create_table``."""

    time_to_live: str | None
    """The attribute that says when an item expires, for ``update_time_to_live``."""


@dataclass(frozen=True, slots=True)
class StreamMapping:
    """What connects a function to a table's stream."""

    uuid: str
    """What Lambda knows it by."""

    table: str
    """The table's logical id."""

    settings: MappingSettings
    failure_destination: str | None
    """The logical id of the queue that hears of batches given up."""

    is_enabled: bool = True


@dataclass(frozen=True, slots=True)
class QueueMapping:
    """What connects a function to a queue."""

    queue: str
    """The queue's logical id."""

    batch_size: int
    """How many messages it gets at once, at most. Lambda's own default is 10."""


@dataclass(frozen=True, slots=True)
class FunctionDefinition:
    """A function of the template."""

    logical_id: str
    name: str
    code: Path
    """The folder that is deployed, from CodeUri."""

    handler: str
    """Module and function: ``app.handler``."""

    environment: dict[str, str]
    timeout_seconds: float
    memory_mb: int
    mappings: tuple[StreamMapping, ...]
    """One for each stream it reads."""

    queues: tuple[QueueMapping, ...] = ()
    """One for each queue it reads."""


class Template:
    """template.yaml, for one stack.

    Args:
        path: the template; without it the one that belongs to this behest.
        stack_name: what the stack is called; its resources' names begin with it.
        parameters: values that replace the parameters' defaults.

    Raises:
        TemplateError: it isn't there, isn't a template, or has no parameter of a name given.
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        stack_name: str = "behest",
        parameters: Mapping[str, ParameterValue] | None = None,
    ) -> None:
        self.path = path or template_path()
        self._body = CloudFormationTemplate.load(self.path, stack_name, parameters or {})

    def having(self, parameters: Mapping[str, ParameterValue]) -> Template:
        """The same template with some parameters' values replaced.

        Raises:
            TemplateError: it has no parameter of a name given.
        """
        return Template(self.path, stack_name=self._body.stack_name, parameters={**self._body.parameters, **parameters})

    def has_function(self, logical_id: str) -> bool:
        """Whether it has a function of this logical id."""
        return logical_id in self._body.resources("AWS::Serverless::Function")

    def tables(self) -> dict[str, TableDefinition]:
        """All tables by logical id."""
        return {
            logical_id: self._table(logical_id, properties)
            for logical_id, properties in self._body.resources("AWS::DynamoDB::Table").items()
        }

    def function(self, logical_id: str) -> FunctionDefinition:
        """A function by its logical id.

        Raises:
            TemplateError: the template has no such function, or one without code.
        """
        functions = self._body.resources("AWS::Serverless::Function")
        if logical_id not in functions:
            raise TemplateError(f"{self.path} has no function {logical_id}, only {sorted(functions)}")
        own = functions[logical_id]
        shared = _section(self._body.section("Globals"), "Function")
        properties = {**shared, **own}
        code, handler = (self._body.resolve(properties.get(name)) for name in ("CodeUri", "Handler"))
        if not isinstance(code, str) or not isinstance(handler, str):
            raise TemplateError(f"{logical_id} of {self.path} lacks CodeUri or Handler")
        variables = cast("Section", self._body.resolve({**_variables(shared), **_variables(own)}))
        return FunctionDefinition(
            logical_id=logical_id,
            name=self._body.physical_name(logical_id),
            code=(self.path.parent / code).resolve(),
            handler=handler,
            environment={name: str(value) for name, value in variables.items()},
            timeout_seconds=float(cast("float", self._body.resolve(properties.get("Timeout", 3)))),
            memory_mb=int(cast("int", self._body.resolve(properties.get("MemorySize", 128)))),
            mappings=tuple(
                self._mapping(properties, logical_id, name) for name, properties in _events(own, "DynamoDB").items()
            ),
            queues=tuple(self._queue(properties) for properties in _events(own, "SQS").values()),
        )

    def _table(self, logical_id: str, properties: Section) -> TableDefinition:
        name = self._body.physical_name(logical_id)
        create = {key: self._body.resolve(properties[key]) for key in _TABLE_PROPERTIES if key in properties}
        create["TableName"] = name
        stream = self._body.resolve(properties.get("StreamSpecification"))
        if isinstance(stream, dict):
            create["StreamSpecification"] = {"StreamEnabled": True, "StreamViewType": stream["StreamViewType"]}
        expiry = self._body.resolve(properties.get("TimeToLiveSpecification"))
        return TableDefinition(
            logical_id,
            name,
            cast("CreateTableInputTypeDef", create),
            str(expiry["AttributeName"]) if isinstance(expiry, dict) and expiry.get("Enabled") else None,
        )

    def _mapping(self, properties: Section, function: str, event: str) -> StreamMapping:
        if unknown := sorted(set(properties) - _MAPPING_PROPERTIES):
            raise TemplateError(
                f"{function}.Events.{event} of {self.path} has {', '.join(unknown)}, which the model doesn't know"
            )
        values = {name: self._body.resolve(value) for name, value in properties.items() if name != "Stream"}
        numbers = {
            setting: int(cast("int", values[name])) for name, setting in _MAPPING_SETTINGS.items() if name in values
        }
        settings = MappingSettings(
            **numbers,
            bisect_batch_on_function_error=str(values.get("BisectBatchOnFunctionError")).lower() == "true",
            report_batch_item_failures="ReportBatchItemFailures"
            in cast("list[Node]", values.get("FunctionResponseTypes", [])),
            starting_position="LATEST" if values.get("StartingPosition") == "LATEST" else "TRIM_HORIZON",
        )
        destination = _section(_section(properties, "DestinationConfig"), "OnFailure").get("Destination")
        return StreamMapping(
            uuid=self._body.physical_name(f"{function}{event}"),
            table=attribute_of(properties.get("Stream"))[0],
            settings=settings,
            failure_destination=attribute_of(destination)[0] if destination is not None else None,
            is_enabled=str(values.get("Enabled", True)).lower() == "true",
        )

    def _queue(self, properties: Section) -> QueueMapping:
        size = self._body.resolve(properties.get("BatchSize", 10))
        return QueueMapping(queue=attribute_of(properties.get("Queue"))[0], batch_size=int(cast("int", size)))


def template_path() -> Path:
    """Where template.yaml is: at the root of a checkout, or inside an installed package.

    Raises:
        TemplateError: it is at neither place.
    """
    package = Path(__file__).resolve().parent.parent
    candidates = (package / "_deploy" / "template.yaml", package.parent / "template.yaml")
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    places = " nor ".join(str(candidate) for candidate in candidates)
    raise TemplateError(f"there is no template, neither {places}: install behest again, or name a template")


def _section(node: Node, name: str) -> Section:
    inner = node.get(name) if isinstance(node, dict) else None
    return inner if isinstance(inner, dict) else {}


def _events(function: Section, kind: str) -> dict[str, Section]:
    """The properties of the events of a kind that call a function, by name."""
    return {
        name: _section(event, "Properties")
        for name, event in _section(function, "Events").items()
        if isinstance(event, dict) and event.get("Type") == kind
    }


def _variables(function: Section) -> Section:
    return _section(_section(function, "Environment"), "Variables")
