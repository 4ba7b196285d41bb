"""The reconciler function: finds runs whose state lags their log, on a schedule and from the projector's failure queue.

Whoever calls it by hand starts a sweep as well: with ``{}`` as the schedule does, with ``{"lookback_hours": 80}`` it looks back
farther.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger, Metrics
from botocore.exceptions import BotoCoreError, ClientError

from behest_core.errors import MalformedError
from behest_core.projection.lost_batch import LostBatch
from behest_core.projection.mappings import idle_mappings
from behest_core.projection.reconciler import Reconciler, Silence
from behest_core.runtime import Wiring, client, connect, publish, remaining_of

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from behest_core.plugins.loading import Plugins

logger = Logger()
metrics = Metrics()
wiring: Wiring | None = None


@metrics.log_metrics
@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Recover lost batches where the queue calls; sweep where the schedule does."""
    global wiring  # noqa: PLW0603 (made at the first call, kept for the life of the process)
    wiring = wiring or connect(logger)
    reconciler = Reconciler(wiring.log, wiring.states, wiring.catch_up, spread=wiring.spread)
    return (recover if "Records" in event else sweep)(reconciler, wiring.plugins, event, context)


def recover(reconciler: Reconciler, plugins: Plugins, event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Fold the runs of lost batches; name the messages that the queue has to deliver again."""
    streams = client("dynamodbstreams")
    failed = []
    for message in event["Records"]:
        try:
            batch = LostBatch.from_message(message["body"])
            report = reconciler.recover(batch, streams, remaining=remaining_of(context))
        except MalformedError as error:
            logger.warning("malformed message", error=str(error))  # it will be no better next time
            publish(metrics, logger, {"MalformedMessages": 1}, plugins)
            continue
        except (ClientError, BotoCoreError) as error:
            logger.warning("batch not recovered", error=type(error).__name__)  # others may be
            failed.append({"itemIdentifier": message["messageId"]})
            continue
        counts = {"LostBatches": 1, "RunsRecovered": report.runs, "BatchesBeyondStream": int(not report.was_found)}
        publish(metrics, logger, counts, plugins, report.troubles)
        if not report.is_complete:
            failed.append({"itemIdentifier": message["messageId"]})
    return {"batchItemFailures": failed}


def sweep(reconciler: Reconciler, plugins: Plugins, event: dict[str, Any], context: LambdaContext) -> dict[str, int]:
    """Look for runs that lag, are stuck, or are parked; then whether Lambda calls those that fold and tell."""
    report = reconciler.sweep(
        lookback=timedelta(hours=float(event.get("lookback_hours", os.environ["BEHEST_LOOKBACK_HOURS"]))),
        silence=Silence(minutes("BEHEST_STUCK_AFTER_MINUTES"), minutes("BEHEST_EXPIRE_STUCK_AFTER_MINUTES") or None),
        remaining=remaining_of(context),
    )
    counts = {"RunsChecked": report.checked, "RunsLagging": report.lagging, "RunsCaughtUp": report.caught_up}
    counts |= {"RunsStuck": report.stuck, "StuckRunsExpired": report.expired}
    counts |= {"ParkedRuns": report.parked, "SweepsCutShort": int(not report.is_complete)}
    publish(metrics, logger, counts, plugins, report.troubles)
    idle = idle_mappings(client("lambda"), os.environ["BEHEST_STREAM_MAPPINGS"].split(","))
    if idle:
        logger.error("streams not read", mappings=idle)
    metrics.add_metric(name="MappingsDisabled", unit="Count", value=len(idle))
    return counts | {"MappingsDisabled": len(idle)}


def minutes(variable: str) -> timedelta:
    """Return the time that a variable of the environment has in minutes."""
    return timedelta(minutes=float(os.environ[variable]))
