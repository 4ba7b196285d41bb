"""The notifier function: a run's change of status becomes an event on EventBridge, and reaches the plugins that react."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger, Metrics

from behest_core.projection.event_bus import EventBus
from behest_core.projection.notifier import Notifier, message_of
from behest_core.runtime import client, connect_log, load_plugins, publish

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from behest_core.plugins.loading import Plugins
    from behest_core.projection.notifier import NotifierReport

logger = Logger()
metrics = Metrics()
wiring: tuple[Notifier, Plugins] | None = None


def connect() -> tuple[Notifier, Plugins]:
    """Make the notifier from BEHEST_EVENT_BUS, BEHEST_PLUGINS and BEHEST_EVENT_TABLE, once per process."""
    plugins = load_plugins(logger)
    reactions = [(plugin.name, reaction) for plugin in plugins.used for reaction in plugin.reactions]
    deciders = [(plugin.name, tell) for plugin in plugins.used for tell in plugin.deciders]
    bus = EventBus(client("events"), os.environ["BEHEST_EVENT_BUS"])
    if not deciders:
        return Notifier(bus, reactions), plugins
    return Notifier(bus, reactions, deciders, connect_log().events), plugins


@metrics.log_metrics
@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:  # noqa: ARG001 (Lambda gives it)
    """Tell the changes of a batch; name the first record that isn't told, so that Lambda delivers again from there."""
    global wiring  # noqa: PLW0603 (made at the first call, kept for the life of the process)
    wiring = wiring or connect()
    notifier, plugins = wiring
    report = notifier.notify(event["Records"])
    counts = {"StatusChanges": report.changes, "ReactionsFailed": len(report.failed)}
    publish(metrics, logger, counts, plugins)
    if report.not_told or report.failed:
        put_aside(report)
    if report.first_unfinished is None:
        return {"batchItemFailures": []}
    return {"batchItemFailures": [{"itemIdentifier": report.first_unfinished}]}


def put_aside(report: NotifierReport) -> None:
    """Send what failed to the queue of its kind: changes that can't be told, with the reason, and reactions that raised."""
    queues = client("sqs")
    for untold in report.not_told:
        logger.warning("change not told", run_id=untold.run_id, error=untold.reason)
        queues.send_message(QueueUrl=os.environ["BEHEST_FAILURE_QUEUE"], MessageBody=message_of(untold))
    for failed in report.failed:
        logger.warning("reaction failed", plugin=failed.plugin, run_id=failed.run_id, error=failed.error)
        queues.send_message(QueueUrl=os.environ["BEHEST_REACTIONS_QUEUE"], MessageBody=message_of(failed))
