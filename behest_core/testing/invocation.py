"""One invocation of a function by Lambda: what the function is given, what it may answer, what Lambda makes of that.

How an answer is read (AWS Lambda developer guide, "Configuring partial batch response with DynamoDB and Lambda"):

- Without ReportBatchItemFailures every answer is a success.
- ``null``, ``{}``, an absent, null or empty ``batchItemFailures``: the whole batch succeeded.
- Otherwise the lowest sequence number reported is the checkpoint: what stands before it succeeded, the rest failed.
- An ``itemIdentifier`` that is empty, null or under another name: the whole batch failed. So it is here for one that
  names no record of the batch and for an answer that isn't an object, which that page leaves open (the page on SQS says
  so of both).
- An exception, a time-out and a process that died: the whole batch failed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, NotRequired, TypeAlias, TypedDict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from behest_core.testing.stream_records import JsonValue, LambdaBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSettings:
    """What Lambda knows of a function. The defaults are Lambda's own, the account is moto's."""

    name: str = "projector"
    timeout_seconds: float = 3
    memory_mb: int = 128
    region: str = "us-east-1"
    account_id: str = "123456789012"

    @property
    def arn(self) -> str:
        """The function's ARN, without a version."""
        return f"arn:aws:lambda:{self.region}:{self.account_id}:function:{self.name}"


@dataclass(frozen=True, slots=True)
class LambdaContext:
    """The second argument of a handler, with the attributes of Lambda's Python runtime."""

    aws_request_id: str
    function_name: str
    invoked_function_arn: str
    memory_limit_in_mb: str
    """Text, as in Lambda: the runtime takes it from an environment variable."""

    log_group_name: str
    log_stream_name: str
    deadline: float
    """When the invocation times out, in seconds since 1970, on `clock`."""

    clock: Callable[[], float] = field(repr=False)
    function_version: str = "$LATEST"
    identity: None = None
    client_context: None = None

    @classmethod
    def of(cls, function: FunctionSettings, request_id: str, clock: Callable[[], float]) -> LambdaContext:
        """Return the context of an invocation that begins now."""
        return cls(
            aws_request_id=request_id,
            function_name=function.name,
            invoked_function_arn=function.arn,
            memory_limit_in_mb=str(function.memory_mb),
            log_group_name=f"/aws/lambda/{function.name}",
            log_stream_name="2026/01/01/[$LATEST]0123456789abcdef0123456789abcdef",
            deadline=clock() + function.timeout_seconds,
            clock=clock,
        )

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds left until the time-out, 0 when it has passed."""
        return max(0, int((self.deadline - self.clock()) * 1000))


Handler: TypeAlias = "Callable[[LambdaBatch, LambdaContext], object]"
"""A function's entry point. Its answer must be serialisable as JSON."""


class FunctionKilled(BaseException):
    """The process of a function dies: memory, or the time limit. A handler's ``except Exception`` can't catch it."""


class InvocationThrottled(BaseException):
    """Lambda could not invoke the function at all. Raised by a handler that stands in for Lambda's own throttling."""


@dataclass(frozen=True, slots=True)
class Returned:
    """The function answered."""

    response: JsonValue = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The function raised, timed out or died."""

    reason: str


@dataclass(frozen=True, slots=True)
class Throttled:
    """Lambda could not invoke the function. It tries again and counts no retry (developer guide, "Retain discarded
    records for a DynamoDB event source": before invocation).
    """  # noqa: D205 - one sentence too long for a line


InvocationResult: TypeAlias = "Returned | Failed | Throttled"


def invoke(handler: Handler, batch: LambdaBatch, context: LambdaContext) -> InvocationResult:
    """Call a handler as Lambda would, and return how that went.

    A handler can't be interrupted here. One that answers after its deadline is taken as timed out: its answer is lost,
    what it did stays done.
    """
    try:
        response: JsonValue = json.loads(json.dumps(handler(batch, context)))
    except InvocationThrottled:
        return Throttled()
    except (Exception, FunctionKilled, SystemExit) as error:  # noqa: BLE001 - so does the runtime
        return Failed(f"{type(error).__name__}: {error}")
    if context.clock() > context.deadline:
        return Failed(f"{context.aws_request_id} Task timed out")
    return Returned(response)


def first_failure(response: JsonValue, sequence_numbers: Sequence[str]) -> int | None:
    """Return where in the batch the first failed record stands, by a function's answer; None where all succeeded."""
    failures = _reported(response)
    if not failures:
        return None
    positions = {number: position for position, number in enumerate(sequence_numbers)}
    failed = []
    for failure in failures:
        identifier = failure.get("itemIdentifier") if isinstance(failure, dict) else None
        if not isinstance(identifier, str) or identifier not in positions:
            return 0
        failed.append(identifier)
    return positions[min(failed, key=int)]


def _reported(response: JsonValue) -> list[JsonValue]:
    if response is None:
        return []
    unreadable: list[JsonValue] = [None]
    if not isinstance(response, dict):
        return unreadable
    failures = response.get("batchItemFailures")
    if failures is None:
        return []
    return failures if isinstance(failures, list) else unreadable


Condition: TypeAlias = Literal["RetryAttemptsExhausted", "RecordAgeExceeded"]
"""Why records were given up. The guide shows the first one; the second was seen in messages of real mappings."""


class RequestContext(TypedDict):
    """Which invocation failed, and why the records were given up."""

    requestId: str
    functionArn: str
    condition: Condition
    approximateInvokeCount: int


class ResponseContext(TypedDict):
    """How the last invocation ended. Without `functionError` the function itself reported the records as failed."""

    statusCode: int
    executedVersion: str
    functionError: NotRequired[str]


class BatchInfo(TypedDict):
    """Where in the stream the records stood. The records themselves aren't kept."""

    shardId: str
    startSequenceNumber: str
    endSequenceNumber: str
    approximateArrivalOfFirstRecord: str
    approximateArrivalOfLastRecord: str
    batchSize: int
    streamArn: str


class FailureRecord(TypedDict):
    """What Lambda sends to the failure queue for records it gives up, as the message's body (developer guide,
    "Example Amazon SNS and Amazon SQS invocation record").

    `responseContext` is absent where the records grew too old before any invocation. That is a guess: AWS shows no
    example of it. With BisectBatchOnFunctionError Lambda may put several records that failed one by one into one message,
    so that `batchSize` is more than 1 (CloudFormation, AWS::Lambda::EventSourceMapping); the model writes one message each.
    """  # noqa: D205 - one sentence too long for a line

    requestContext: RequestContext
    responseContext: NotRequired[ResponseContext]
    version: str
    timestamp: str
    DDBStreamBatchInfo: BatchInfo


def failure_record(
    request: RequestContext,
    batch: BatchInfo,
    result: InvocationResult | None,
    now: float,
) -> FailureRecord:
    """Return the failure record of a batch whose last invocation ended with `result`, None where it had none."""
    record: FailureRecord = {
        "requestContext": request,
        "version": "1.0",
        "timestamp": iso_time(now, "milliseconds"),
        "DDBStreamBatchInfo": batch,
    }
    if result is not None:
        record["responseContext"] = {"statusCode": 200, "executedVersion": "$LATEST"}
        if isinstance(result, Failed):
            record["responseContext"]["functionError"] = "Unhandled"
    return record


def iso_time(seconds: float, timespec: Literal["seconds", "milliseconds"] = "seconds") -> str:
    """Return a time as failure records have it: ``2019-11-14T00:13:19Z``."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec=timespec)[:-6] + "Z"
