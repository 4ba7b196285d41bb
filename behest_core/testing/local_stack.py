"""The deployed stack, on a laptop: template.yaml's tables on moto, its functions behind the model of the stream mapping.

Nothing leaves the process and nothing of the user's AWS configuration is read: every ``AWS_`` variable is put aside, and
put back at the end. What happens and when is in the caller's hands: `deliver` lets the streams' records reach the
projector and the notifier, `running` does so in the background, `sweep` and `recover` call the reconciler as its schedule
and the failure queue do, `serving` opens the tables to other processes.

moto needs some care, which is taken here: see moto_calls.py (threads) and moto_stream.py (streams). Its account-based
endpoint for streams answers 404, so AWS_ACCOUNT_ID_ENDPOINT_MODE is set to disabled. Its own event source mapping
ignores every option and empties the stream: it isn't used.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import TYPE_CHECKING, Self, TextIO, cast

import boto3
from moto import mock_aws

from behest_core.dynamodb.client import make_client
from behest_core.errors import BehestError
from behest_core.store import RunStore
from behest_core.testing.aws_environment import AWS_ENVIRONMENT, environment_of, is_of_aws
from behest_core.testing.cloudformation import TemplateError
from behest_core.testing.event_source_mapping import EventSourceMapping
from behest_core.testing.local_function import FunctionOutput, LocalFunction, function_settings, lambda_environment
from behest_core.testing.local_notifier import LocalNotifier
from behest_core.testing.local_reconciler import LocalReconciler
from behest_core.testing.moto_calls import serialised_moto, serve_moto
from behest_core.testing.moto_stream import MotoStream
from behest_core.testing.template import Template

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from random import Random
    from types import TracebackType
    from typing import Any

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodbstreams import DynamoDBStreamsClient

    from behest_core.testing.invocation import FailureRecord, Handler
    from behest_core.testing.lane import MappingSettings
    from behest_core.testing.stream_reader import LaneBy
    from behest_core.testing.stream_records import Image
    from behest_core.testing.template import FunctionDefinition, StreamMapping, TableDefinition

PROJECTOR, RECONCILER, NOTIFIER = "ProjectorFunction", "ReconcilerFunction", "NotifierFunction"
EVENT_TABLE, STATE_TABLE = "EventTable", "StateTable"
"""Logical ids of the template."""

_POLL_SECONDS = 0.05  # Lambda polls 4 times a second; whoever watches a demo shouldn't wait so long
_STOP_SECONDS = 30.0


class BackgroundDeliveryError(BehestError):
    """Background delivery ended by an error of its own, which is the cause, or could not be stopped."""


class LocalStack:
    """The stack on this machine, as a context manager; one at a time, as it sets environment variables.

        with LocalStack() as stack:
            run = stack.store.create_run(provider="anthropic", model="claude")
            stack.store.append(run.run_id, [...])
            stack.deliver()
            print(stack.store.get_state(run.run_id))

    Args:
        template: the template; without it the one that belongs to this behest.
        plugins: names of installed plugins that the functions use, the template's parameter Plugins; ``["*"]`` for all.
        handler: stands in for the projector's own handler, which is loaded from the template's CodeUri otherwise.
        settings: stand in for the template's settings of the stream mapping.
        clock: the mapping's time, in seconds since 1970.
        random: chooses between lanes of the mapping that are due.
        lane_by: which records share a lane of the mapping, see `EventSourceMapping`.
        echo: where to show what the functions write to standard output, their logs and metrics, as it comes. `output`
            keeps it in any case.
    """

    event_table: str
    """The table's name."""

    state_table: str
    dynamodb: DynamoDBClient
    store: RunStore
    mapping: EventSourceMapping
    """The projector's stream mapping, for tests that make each step themselves."""

    def __init__(  # noqa: PLR0913 - what surrounds the stack is all injected
        self,
        *,
        template: Template | None = None,
        plugins: Sequence[str] = (),
        handler: Handler | None = None,
        settings: MappingSettings | None = None,
        clock: Callable[[], float] = time.time,
        random: Random | None = None,
        lane_by: LaneBy = "partition_key",
        echo: TextIO | None = None,
    ) -> None:
        self.output = FunctionOutput(echo)
        self.failures: list[FailureRecord] = []
        """What the failure queue got, oldest first. It stays here when the reconciler is done with it."""

        self.disabled: set[str] = set()
        """Functions whose stream isn't read, by logical id: as if somebody had disabled the mapping."""

        self._template = template or Template()
        if plugins:
            self._template = self._template.having({"Plugins": ",".join(plugins)})
        self._handler = handler
        self._settings = settings
        self._clock = clock
        self._random = random
        self._lane_by: LaneBy = lane_by
        self._exits = ExitStack()
        self._delivering = threading.Lock()

    def __enter__(self) -> Self:
        tables = self._template.tables()
        self.event_table, self.state_table = tables[EVENT_TABLE].name, tables[STATE_TABLE].name
        function = self._template.function(PROJECTOR)
        with ExitStack() as exits:
            exits.enter_context(
                environment_of(AWS_ENVIRONMENT | self._table_environment() | lambda_environment(function))
            )
            exits.enter_context(mock_aws())
            exits.enter_context(serialised_moto())
            session = _session()
            self.dynamodb = make_client(session.client)
            streams = {name: _create(self.dynamodb, table) for name, table in tables.items()}
            self.store = RunStore(self.event_table, self.state_table, client=self.dynamodb)
            mapping = _mapping_of(function, EVENT_TABLE)
            self._reconciler = LocalReconciler(
                self._template,
                RECONCILER,
                output=self.output,
                clock=self._clock,
                mapping_state=self._mapping_state,
            )
            reader = session.client("dynamodbstreams")
            self._source = MotoStream(reader, streams[mapping.table])
            self._notifier = self._connect_notifier(reader, streams)
            self._time_to_live = tables[EVENT_TABLE].time_to_live
            self.mapping = EventSourceMapping(
                self._source,
                self._handler or LocalFunction(function, self.output),
                self._settings or mapping.settings,
                function=function_settings(function),
                clock=self._clock,
                random=self._random,
                on_failure=self._fail if mapping.failure_destination else None,
                lane_by=self._lane_by,
                retry_delay=_retry_delay,
            )
            self._exits = exits.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._exits.close()

    def _connect_notifier(self, reader: DynamoDBStreamsClient, streams: dict[str, str]) -> LocalNotifier | None:
        """Connect the template's notifier to the state table's stream, if it has one that is to be called."""
        if not self._template.has_function(NOTIFIER):
            return None
        function = self._template.function(NOTIFIER)
        mapping = _mapping_of(function, STATE_TABLE)
        if not mapping.is_enabled:
            return None
        source = MotoStream(reader, streams[STATE_TABLE])
        return LocalNotifier(function, mapping, source, output=self.output, clock=self._clock, retry_delay=_retry_delay)

    @property
    def notifications(self) -> list[dict[str, Any]]:
        """The events that the notifier put on the event bus, oldest first, as PutEvents takes them."""
        return self._notifier.events if self._notifier is not None else []

    @property
    def failed_reactions(self) -> list[dict[str, Any]]:
        """What the reactions queue got, oldest first."""
        return self._notifier.reactions if self._notifier is not None else []

    def deliver(self, *, deliveries: int = 10_000) -> int:
        """Deliver everything that waits in the streams, and return in how many invocations of the projector.

        Batching windows and delays between retries are taken as over.

        Raises:
            MappingNotIdleError: after so many invocations records still waited.
        """
        with self._delivering:
            made = 0 if PROJECTOR in self.disabled else self.mapping.drain(deliveries=deliveries)
            if self._notifier is not None and NOTIFIER not in self.disabled:
                self._notifier.mapping.drain(deliveries=deliveries)
            return made

    def sweep(self, *, lookback_hours: float | None = None) -> dict[str, int]:
        """Let the reconciler look for runs that lag, as its schedule does; return what it counted, by metric.

        What was committed within the last minute is on its way, and doesn't lag. `lookback_hours` stands in for the
        template's. The handler's errors are raised.
        """
        with self._delivering:
            return self._reconciler.sweep(lookback_hours)

    def recover(self) -> int:
        """Let the failure queue hand its messages to the reconciler, each once; return how many it is done with.

        The others stay in the queue. The handler's errors are raised; its batch stays in the queue.
        """
        with self._delivering:
            return self._reconciler.recover()

    def _fail(self, message: FailureRecord) -> None:
        self.failures.append(message)
        self._reconciler.queue.append(message)

    def _step(self) -> bool:
        """Make the next delivery of each stream; return whether there was one."""
        is_made = PROJECTOR not in self.disabled and self.mapping.step() is not None
        if self._notifier is not None and NOTIFIER not in self.disabled:
            is_made |= self._notifier.mapping.step() is not None
        return is_made

    def _mapping_state(self, uuid: str) -> str:
        disabled = (mapping for name in self.disabled for mapping in self._template.function(name).mappings)
        return "Disabled" if uuid in {mapping.uuid for mapping in disabled} else "Enabled"

    @contextmanager
    def running(self) -> Iterator[None]:
        """Deliver in the background while the context lasts, as soon as the mapping's settings let it.

        Leaving it delivers what still waits. Leaving it by an exception does not.

        Raises:
            BackgroundDeliveryError: on leaving; the delivery failed itself, or a handler has not come back within 30 s.
        """
        stop = threading.Event()
        errors: list[BaseException] = []

        def deliver_until_stopped() -> None:
            try:
                while not stop.is_set():
                    with self._delivering:
                        is_idle = not self._step()
                    if is_idle:
                        stop.wait(_POLL_SECONDS)
            except BaseException as error:  # noqa: BLE001 - raised again, in the thread that waits for it
                errors.append(error)

        thread = threading.Thread(target=deliver_until_stopped, name="behest-delivery", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(_STOP_SECONDS)
        if errors:
            raise BackgroundDeliveryError(f"background delivery ended by {errors[0]!r}") from errors[0]
        if thread.is_alive():
            raise BackgroundDeliveryError(f"the function has not come back within {_STOP_SECONDS:.0f} s")
        self.deliver()

    @contextmanager
    def serving(self) -> Iterator[dict[str, str]]:
        """Open the tables to other processes while the context lasts: an endpoint on a free port of 127.0.0.1.

        Yields the environment variables that such a process needs, AWS_ENDPOINT_URL and the tables' names among them.
        """
        with serve_moto() as url:
            inherited = {name: value for name, value in os.environ.items() if not is_of_aws(name)}
            yield inherited | AWS_ENVIRONMENT | self._table_environment() | {"AWS_ENDPOINT_URL": url}

    def expire(self, now: float) -> int:
        """Delete the commits whose time to live is over at `now`, in seconds since 1970, and return how many.

        The stream's records say that DynamoDB itself deleted them. moto never deletes anything by itself.
        """
        if self._time_to_live is None:
            return 0
        expired = [
            {"run_id": item["run_id"], "sequence": item["sequence"]}
            for page in self.dynamodb.get_paginator("scan").paginate(TableName=self.event_table)
            for item in page["Items"]
            if float(item.get(self._time_to_live, {}).get("N", "inf")) <= now
        ]
        for key in expired:
            self._source.expects_expiry(cast("Image", key))
            self.dynamodb.delete_item(TableName=self.event_table, Key=key)
        return len(expired)

    def _table_environment(self) -> dict[str, str]:
        return {"BEHEST_EVENT_TABLE": self.event_table, "BEHEST_STATE_TABLE": self.state_table}


@cache
def _session() -> boto3.session.Session:
    """Make the session of all stacks, in the environment that they all have: reading AWS's service models takes long."""
    return boto3.session.Session()


def _create(client: DynamoDBClient, table: TableDefinition) -> str:
    """Create a table and return its stream's ARN; an empty text where it has none."""
    description = client.create_table(**table.create)["TableDescription"]
    if table.time_to_live is not None:
        client.update_time_to_live(
            TableName=table.name,
            TimeToLiveSpecification={"Enabled": True, "AttributeName": table.time_to_live},
        )
    return description.get("LatestStreamArn", "")


def _mapping_of(function: FunctionDefinition, table: str) -> StreamMapping:
    for mapping in function.mappings:
        if mapping.table == table:
            return mapping
    raise TemplateError(f"{function.logical_id} reads no stream of {table}")


def _retry_delay(retry: int) -> float:
    return min(1.0, _POLL_SECONDS * 2.0**retry)
