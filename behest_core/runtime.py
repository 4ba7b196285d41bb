"""What the functions are put together from: the one place that reads their environment, makes their clients, and counts.

What a function counts of its own work has the function as `service`. Trouble has the stack as `service`, whichever function met
with it: so there is one metric, and one alarm, for each kind.

Needs the extra `lambda`.
"""

from __future__ import annotations

import gc
import gzip
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import msgspec
from botocore.config import Config
from botocore.loaders import JSONFileLoader
from botocore.session import get_session
from msgspec import Struct

from behest_core.dynamodb.client import make_client
from behest_core.dynamodb.event_table import EventLog
from behest_core.dynamodb.requests import Spread, side_by_side
from behest_core.dynamodb.state_table import StateTable
from behest_core.plugins.loading import Plugins, allowed_by_environment, load
from behest_core.projection.catch_up import CatchUp
from behest_core.projection.projector import Projector
from behest_core.projection.trouble import TroubleKind

try:
    from aws_lambda_powertools.metrics import EphemeralMetrics
except ModuleNotFoundError as missing:
    missing.add_note(
        'behest_core.runtime is for functions, and needs more than agents do: pip install "behest-core[lambda]"'
    )
    raise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from aws_lambda_powertools import Logger, Metrics
    from aws_lambda_powertools.utilities.typing import LambdaContext
    from botocore.session import Session

    from behest_core.projection.trouble import Trouble

WORKERS: Final = 16
"""How many runs of a batch a function works on side by side, and the connections of its client."""

METRIC_OF_TROUBLE: Final[Mapping[TroubleKind, str]] = {
    TroubleKind.PARKED: "RunsParked",
    TroubleKind.EXTENSION_PARKED: "ExtensionsParked",
    TroubleKind.GAP: "LogGaps",
    TroubleKind.TAMPERED: "TamperedItems",
    TroubleKind.DIVERGED: "RunsDiverged",
    TroubleKind.AHEAD: "StatesAhead",
    TroubleKind.UNFINISHED: "RunsUnfinished",
    TroubleKind.RAISED: "RunsRaised",
}
"""By kind of trouble. Each has an alarm in monitoring.yaml."""


class Wiring(Struct):
    """The parts of a function: the log, the states, and what folds the one into the other."""

    log: EventLog
    states: StateTable
    projector: Projector
    catch_up: CatchUp
    plugins: Plugins
    spread: Spread


def client_config() -> Config:
    """Return the configuration of a function's clients: short time-outs, a few tries, a connection for each worker."""
    retries = {"mode": "standard", "total_max_attempts": 4}
    return Config(max_pool_connections=WORKERS, connect_timeout=2, read_timeout=5, retries=retries)  # type: ignore[arg-type]


def client(service: str) -> Any:  # noqa: ANN401 (a class that botocore makes)
    """Make a client of an AWS service."""
    return _create_client(service, client_config())


def _create_client(service: str, config: Config) -> Any:  # noqa: ANN401 (the same)
    """Make a client by botocore alone: to import boto3 takes a tenth of a cold start, for nothing that is used here.

    The garbage collector waits as long. A model is some ten thousand objects that stay, and to look through them again and again
    takes another tenth.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        return _session().create_client(service, config=config)
    finally:
        if collects:
            gc.enable()


@cache
def _session() -> Session:
    session = get_session()
    session.get_component("data_loader").file_loader = _ModelFiles()
    return session


class _ModelFiles(JSONFileLoader):
    """Reads botocore's models as botocore does, but for msgspec in place of json: a twentieth of a cold start."""

    def load_file(self, file_path: str) -> Any:  # noqa: ANN401 (JSON)
        for suffix, open_file in (".json", open), (".json.gz", gzip.open):
            try:
                with open_file(file_path + suffix, "rb") as file:
                    return msgspec.json.decode(file.read())
            except FileNotFoundError:
                continue
        return None


def connect_log() -> EventLog:
    """Make what reads the logs of BEHEST_EVENT_TABLE, for a function that does nothing else with the tables."""
    return EventLog(make_client(_create_client, client_config()), os.environ["BEHEST_EVENT_TABLE"])


def connect(logger: Logger) -> Wiring:
    """Make the parts from BEHEST_EVENT_TABLE, BEHEST_STATE_TABLE and BEHEST_PLUGINS, once per process."""
    dynamodb = make_client(_create_client, client_config())
    log = EventLog(dynamodb, os.environ["BEHEST_EVENT_TABLE"])
    states = StateTable(dynamodb, os.environ["BEHEST_STATE_TABLE"], spread=side_by_side)
    plugins = load_plugins(logger)
    # a quarter of the function's memory: what Lambda gives, in MB
    kept_bytes = int(os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")) * 1024 * 1024 // 4
    spread = ThreadPoolExecutor(WORKERS).map
    projector = Projector(log, states, plugins.dispatch, spread=spread, kept_bytes=kept_bytes)
    return Wiring(log, states, projector, CatchUp(log, states, plugins.dispatch), plugins, spread)


def load_plugins(logger: Logger) -> Plugins:
    """Load the plugins of BEHEST_PLUGINS, once per process. Log those that can't be used, with the reason."""
    plugins = load(allowed_by_environment())
    for plugin in plugins.refused:
        logger.error("plugin refused", plugin=plugin.name, distribution=plugin.distribution, reason=plugin.refused)
    return plugins


def remaining_of(context: LambdaContext) -> Callable[[], float]:
    """Return what tells how many seconds a call has left."""
    return lambda: context.get_remaining_time_in_millis() / 1000


def publish(
    metrics: Metrics,
    logger: Logger,
    counts: Mapping[str, int],
    plugins: Plugins,
    troubles: Iterable[Trouble] = (),
) -> None:
    """Count what a call did, and, for the stack, what it met with. Log each trouble: run id, sequence, error, never payload.

    Refused plugins are counted by every call: their alarm is to last as long as they are refused.
    """
    for name, count in counts.items():
        metrics.add_metric(name=name, unit="Count", value=count)
    of_stack = Counter({"PluginsRefused": len(plugins.refused)})
    for trouble in troubles:
        of_stack[METRIC_OF_TROUBLE[trouble.kind]] += 1
        logger.warning(
            trouble.kind,
            run_id=trouble.run_id,
            sequence=trouble.sequence,
            error=trouble.error,
            reason=trouble.message,
        )
    if of_stack.total():
        _publish_of_stack(of_stack)


def _publish_of_stack(counts: Mapping[str, int]) -> None:
    metrics = EphemeralMetrics(service=os.environ["BEHEST_STACK"])
    for name, count in counts.items():
        metrics.add_metric(name=name, unit="Count", value=count)
    metrics.flush_metrics()
