"""The projector function: the event table's stream in, the state table kept current."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import boto3
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from botocore.config import Config

from behest_core.event_log import EventLog
from behest_core.projector import Projector, Report
from behest_core.state_table import StateTable

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

WORKERS = 16  # runs of a batch that are saved side by side
"""The client's connections, too."""

logger = Logger()
metrics = Metrics()
projector: Projector | None = None


def connect() -> Projector:
    """Make the projector from the function's environment, once per process."""
    client = boto3.client(
        "dynamodb",
        config=Config(
            max_pool_connections=WORKERS,
            connect_timeout=2,
            read_timeout=5,
            retries={"mode": "standard", "total_max_attempts": 4},
        ),
    )
    log = EventLog(client, os.environ["BEHEST_EVENT_TABLE"])
    states = StateTable(client, os.environ["BEHEST_STATE_TABLE"])
    return Projector(log, states, spread=ThreadPoolExecutor(WORKERS).map)


@metrics.log_metrics
@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Fold a batch; name the first record that isn't done, so that Lambda delivers again from there."""
    global projector  # noqa: PLW0603
    if projector is None:
        projector = connect()
    report = projector.project(event["Records"], lambda: context.get_remaining_time_in_millis() / 1000)
    publish(report)
    if report.first_unfinished is None:
        return {"batchItemFailures": []}
    return {"batchItemFailures": [{"itemIdentifier": report.first_unfinished}]}


def publish(report: Report) -> None:
    """Count what was done, and log each trouble. Never payload."""
    for name, count in (
        ("Records", report.records),
        ("Events", report.events),
        ("Duplicates", report.duplicates),
        ("LogReads", report.log_reads),
        ("Saves", report.saves),
        ("Conflicts", report.conflicts),
    ):
        metrics.add_metric(name=name, unit=MetricUnit.Count, value=count)
    for trouble in report.troubles:
        metrics.add_metric(name=METRIC_OF[trouble.kind], unit=MetricUnit.Count, value=1)
        logger.warning(
            trouble.kind,
            run_id=trouble.run_id,
            sequence=trouble.sequence,
            error=trouble.error,
            reason=trouble.message,
        )


METRIC_OF = {"parked": "RunsParked", "gap": "LogGaps", "tampered": "TamperedItems", "unfinished": "RunsUnfinished"}
