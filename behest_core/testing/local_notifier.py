"""The template's notifier, called in this process as the state table's stream calls it in AWS.

EventBridge and the two queues are simulated: what the notifier sends is kept here, in order, and never leaves the process. They
refuse what is beyond the limits of AWS.
"""

from __future__ import annotations

import json
import os
import uuid
from functools import cached_property
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from behest_core.projection.event_bus import REQUEST_BYTES, REQUEST_ENTRIES, entry_size
from behest_core.projection.notifier import MESSAGE_BYTES
from behest_core.testing.event_source_mapping import EventSourceMapping
from behest_core.testing.local_function import LocalFunction, function_settings, lambda_environment
from behest_core.testing.simulated_calls import answer, refusal, simulated_calls

if TYPE_CHECKING:
    from collections.abc import Callable

    from behest_core.testing.invocation import FailureRecord, LambdaContext
    from behest_core.testing.local_function import FunctionOutput
    from behest_core.testing.record_source import RecordSource
    from behest_core.testing.simulated_calls import Answer
    from behest_core.testing.stream_records import LambdaBatch
    from behest_core.testing.template import FunctionDefinition, StreamMapping


class LocalNotifier:
    """The notifier behind the model of its stream mapping.

    Args:
        definition: the function.
        mapping: what connects it to the state table's stream.
        source: that stream.
        output: takes what it writes to standard output.
        clock: the time, in seconds since 1970.
        retry_delay: seconds before the n-th retry of a batch.
    """

    def __init__(  # noqa: PLR0913 - what surrounds the function is all injected
        self,
        definition: FunctionDefinition,
        mapping: StreamMapping,
        source: RecordSource,
        *,
        output: FunctionOutput,
        clock: Callable[[], float],
        retry_delay: Callable[[int], float],
    ) -> None:
        self.events: list[dict[str, Any]] = []
        """The entries that it put on the event bus, oldest first, as PutEvents takes them."""

        self.reactions: list[dict[str, Any]] = []
        """What the reactions queue got, oldest first."""

        self.not_told: list[dict[str, Any]] = []
        """What it sent to its failure queue itself: changes that can't be told, oldest first."""

        self.failures: list[FailureRecord] = []
        """What its failure queue got from Lambda, oldest first."""

        self._definition = definition
        self._output = output
        self.mapping = EventSourceMapping(
            source,
            self._call,
            mapping.settings,
            function=function_settings(definition),
            clock=clock,
            on_failure=self.failures.append if mapping.failure_destination else None,
            retry_delay=retry_delay,
        )

    def _call(self, event: LambdaBatch, context: LambdaContext) -> object:
        answers = {"events.PutEvents": self._put_events, "sqs.SendMessage": self._send_message}
        with patch.dict(os.environ, lambda_environment(self._definition)), simulated_calls(answers):
            return self._function(event, context)

    @cached_property
    def _function(self) -> LocalFunction:
        return LocalFunction(self._definition, self._output)

    def _put_events(self, params: dict[str, Any], **_: object) -> Answer:
        entries = json.loads(params["body"])["Entries"]
        if len(entries) > REQUEST_ENTRIES or sum(map(entry_size, entries)) >= REQUEST_BYTES:
            return refusal("ValidationException", "beyond the limits")
        self.events += entries
        return answer({"FailedEntryCount": 0, "Entries": [{"EventId": str(uuid.uuid4())} for _ in entries]})

    def _send_message(self, params: dict[str, Any], **_: object) -> Answer | None:
        message = json.loads(params["body"])
        queues = {"BEHEST_FAILURE_QUEUE": self.not_told, "BEHEST_REACTIONS_QUEUE": self.reactions}
        for name, queue in queues.items():
            if message["QueueUrl"] == self._definition.environment[name]:
                if len(message["MessageBody"].encode()) > MESSAGE_BYTES:
                    return refusal("InvalidParameterValue", "beyond the limits")
                queue.append(json.loads(message["MessageBody"]))
                return answer({"MessageId": str(uuid.uuid4())})
        return None  # a plugin's own queue
