"""The projector function: the event table's stream in, the state table kept current."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger, Metrics

from behest_core.runtime import Wiring, connect, publish, remaining_of

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

logger = Logger()
metrics = Metrics()
wiring: Wiring | None = None


@metrics.log_metrics
@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Fold a batch; name the first record that isn't done, so that Lambda delivers again from there."""
    global wiring  # noqa: PLW0603 (made at the first call, kept for the life of the process)
    wiring = wiring or connect(logger)
    report = wiring.projector.project(event["Records"], remaining_of(context))
    counts = {
        "Records": report.records,
        "Events": report.events,
        "Duplicates": report.duplicates,
        "LogReads": report.log_reads,
        "Saves": report.saves,
        "Conflicts": report.conflicts,
    }
    publish(metrics, logger, counts, wiring.plugins, report.troubles)
    if report.first_unfinished is None:
        return {"batchItemFailures": []}
    return {"batchItemFailures": [{"itemIdentifier": report.first_unfinished}]}
