"""What the functions are put together from: the one place that reads their environment and makes their clients."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import boto3
from botocore.config import Config
from msgspec import Struct

from behest_core.dynamodb.event_table import EventLog
from behest_core.dynamodb.state_table import StateTable
from behest_core.plugins.loading import Plugins, allowed_by_environment, load
from behest_core.projection.projector import Projector

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aws_lambda_powertools import Logger, Metrics

    from behest_core.projection.projector import Trouble

WORKERS: Final = 16
"""How many runs of a batch a function works on side by side, and the connections of its client."""

METRIC_OF_TROUBLE: Final[Mapping[str, str]] = {
    "parked": "RunsParked",
    "extension_parked": "ExtensionsParked",
    "gap": "LogGaps",
    "tampered": "TamperedItems",
    "unfinished": "RunsUnfinished",
}


class Wiring(Struct):
    """The parts of a function: the log, the states, and the projector between them."""

    log: EventLog
    states: StateTable
    projector: Projector
    plugins: Plugins


def client_config() -> Config:
    """Return the configuration of a function's clients: short time-outs, a few tries, a connection for each worker."""
    retries = {"mode": "standard", "total_max_attempts": 4}
    return Config(max_pool_connections=WORKERS, connect_timeout=2, read_timeout=5, retries=retries)  # type: ignore[arg-type]


def connect() -> Wiring:
    """Make the parts from BEHEST_EVENT_TABLE, BEHEST_STATE_TABLE and BEHEST_PLUGINS, once per process."""
    client = boto3.client("dynamodb", config=client_config())
    log = EventLog(client, os.environ["BEHEST_EVENT_TABLE"])
    states = StateTable(client, os.environ["BEHEST_STATE_TABLE"])
    plugins = load(allowed_by_environment())
    projector = Projector(log, states, plugins.dispatch, spread=ThreadPoolExecutor(WORKERS).map)
    return Wiring(log, states, projector, plugins)


def publish_refused(metrics: Metrics, logger: Logger, plugins: Plugins) -> None:
    """Count and log the plugins that were allowed and are not used, with the reason."""
    for plugin in plugins.refused:
        metrics.add_metric(name="PluginsRefused", unit="Count", value=1)
        logger.error("plugin refused", plugin=plugin.name, distribution=plugin.distribution, reason=plugin.refused)


def publish(metrics: Metrics, logger: Logger, counts: Mapping[str, int], troubles: Iterable[Trouble]) -> None:
    """Count what was done, and log each trouble: run id, sequence and class of the error, never payload."""
    for name, count in counts.items():
        metrics.add_metric(name=name, unit="Count", value=count)
    for trouble in troubles:
        metrics.add_metric(name=METRIC_OF_TROUBLE[trouble.kind], unit="Count", value=1)
        logger.warning(
            trouble.kind,
            run_id=trouble.run_id,
            sequence=trouble.sequence,
            error=trouble.error,
            reason=trouble.message,
        )
