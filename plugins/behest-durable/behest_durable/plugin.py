"""What behest loads: a person's decision completes the callback that a durable execution waits for.

- The ids that such a run waits for are those of its callbacks. One gets JSON: ``{"granted": true, "by": …, "reason": …}``.
- A denial completes it as well: what to do then is the handler's to say.
- A decision that is told again, or too late, meets a callback that is closed. That is no failure of the plugin: a warning in the
  log `behest_core` says so, and the run's log has the callback's own end.
- The notifier's role needs ``lambda:SendDurableExecutionCallbackSuccess`` on the functions.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import msgspec
from botocore.exceptions import ClientError

from behest_core.plugins import Decided, hookimpl

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

FRAMEWORK: Final = "lambda-durable"
_IS_CLOSED: Final = "CallbackTimeoutException"

_logger = logging.getLogger("behest_core")


@hookimpl
def behest_decided(decision: Decided) -> None:
    """Complete the callback, where the run is a durable execution's."""
    known: Any = decision.metadata
    if not isinstance(known, dict) or known.get("framework") != FRAMEWORK:
        return
    answer = {"granted": decision.granted, "by": decision.by, "reason": decision.reason}
    try:
        client().send_durable_execution_callback_success(
            CallbackId=decision.call_id, Result=msgspec.json.encode(answer)
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != _IS_CLOSED:
            raise
        _logger.warning("decision %s met a callback that is closed", decision.id)


@cache
def client() -> LambdaClient:
    """Return Lambda's client, once per process."""
    import boto3  # noqa: PLC0415 (only where somebody decides)

    return boto3.client("lambda")
