"""The template's reconciler, called in this process as its schedule and the failure queue call it in AWS.

The queue is SQS as far as the reconciler can tell: a message is handed out again until the function is done with it. It is
loaded when it is first called, so a template without it does for all that doesn't call it.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import patch

from behest_core.testing.cloudformation import ACCOUNT_ID, REGION, TemplateError
from behest_core.testing.invocation import LambdaContext, iso_time
from behest_core.testing.local_function import LocalFunction, function_settings, lambda_environment
from behest_core.testing.simulated_calls import answer, simulated_calls

if TYPE_CHECKING:
    from collections.abc import Callable

    from behest_core.testing.invocation import FailureRecord
    from behest_core.testing.local_function import FunctionOutput
    from behest_core.testing.simulated_calls import Answer
    from behest_core.testing.stream_records import LambdaBatch
    from behest_core.testing.template import FunctionDefinition, QueueMapping, Template


class LocalReconciler:
    """The reconciler and the failure queue before it.

    Args:
        template: where it is defined.
        logical_id: what it is called there.
        output: takes what it writes to standard output.
        clock: the time, in seconds since 1970.
        mapping_state: what Lambda says of a stream mapping, by its UUID.
    """

    def __init__(
        self,
        template: Template,
        logical_id: str,
        *,
        output: FunctionOutput,
        clock: Callable[[], float],
        mapping_state: Callable[[str], str],
    ) -> None:
        self.queue: list[FailureRecord] = []
        """What it isn't done with, oldest first."""

        self._template = template
        self._logical_id = logical_id
        self._output = output
        self._clock = clock
        self._mapping_state = mapping_state

    def sweep(self, lookback_hours: float | None = None) -> dict[str, int]:
        """Call it once as its schedule does, or by hand with `lookback_hours`; return its answer."""
        event: dict[str, object] = {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": "Scheduled Event",
            "source": "aws.events",
            "account": ACCOUNT_ID,
            "time": iso_time(self._clock()),
            "region": REGION,
            "resources": [],
            "detail": {},
        }
        return cast(
            "dict[str, int]", self._call(event if lookback_hours is None else {"lookback_hours": lookback_hours})
        )

    def recover(self) -> int:
        """Hand out each message once, a batch at a time. Return how many it is done with."""
        waiting, self.queue = self.queue, []
        before, size = len(waiting), self._mapping.batch_size
        try:
            while waiting:
                failed = self._receive(waiting[:size])
                del waiting[:size]
                self.queue += failed
        finally:
            self.queue += waiting
        return before - len(self.queue)

    def _receive(self, messages: list[FailureRecord]) -> list[FailureRecord]:
        """Call it with a batch; return the messages that it reports as failed."""
        by_id = {str(uuid.uuid4()): message for message in messages}
        answer = self._call({"Records": [self._sqs_record(*each) for each in by_id.items()]})
        failures = cast("dict[str, list[dict[str, str]]]", answer or {}).get("batchItemFailures") or []
        return [by_id[failure["itemIdentifier"]] for failure in failures]

    def _sqs_record(self, message_id: str, message: FailureRecord) -> dict[str, object]:
        """Return a message as Lambda hands it to a function (developer guide, "Using Lambda with Amazon SQS")."""
        body = json.dumps(message)
        return {
            "messageId": message_id,
            "receiptHandle": message_id,
            "body": body,
            "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": str(int(self._clock() * 1000))},
            "messageAttributes": {},
            "md5OfBody": hashlib.md5(body.encode(), usedforsecurity=False).hexdigest(),
            "eventSource": "aws:sqs",
            "eventSourceARN": f"arn:aws:sqs:{REGION}:{ACCOUNT_ID}:{self._mapping.queue}",
            "awsRegion": REGION,
        }

    def _call(self, event: dict[str, object]) -> object:
        answers = {"lambda.GetEventSourceMapping": self._get_event_source_mapping}
        with patch.dict(os.environ, lambda_environment(self._definition)), simulated_calls(answers):
            function = self._function
            context = LambdaContext.of(function_settings(self._definition), str(uuid.uuid4()), self._clock)
            return json.loads(json.dumps(function(cast("LambdaBatch", event), context)))

    def _get_event_source_mapping(self, params: dict[str, Any], **_: object) -> Answer:
        uuid = params["url_path"].rpartition("/")[-1]
        return answer({"UUID": uuid, "State": self._mapping_state(uuid)})

    @cached_property
    def _definition(self) -> FunctionDefinition:
        return self._template.function(self._logical_id)

    @cached_property
    def _mapping(self) -> QueueMapping:
        for mapping in self._definition.queues:
            return mapping
        raise TemplateError(f"{self._logical_id} reads no queue")

    @cached_property
    def _function(self) -> LocalFunction:
        return LocalFunction(self._definition, self._output)
