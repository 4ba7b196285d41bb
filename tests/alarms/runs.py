"""Faults of what is in the tables, and of what operators do."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import MagicMock, patch

from typer.testing import CliRunner

from behest_core import runtime
from behest_core.cli.app import app
from behest_core.dynamodb.event_table import EventLog
from behest_core.model.state import RunStatus
from behest_core.projection.one_run import OneRun
from behest_core.projection.projector import Projector
from behest_core.testing.local_stack import NOTIFIER
from tests.alarms.making import QUARTER, RUN, write
from tests.builders import custom, run_failed, run_started
from tests.simulation.poison import Poisoner
from tests.simulation.versions import Plugin, Release, Versions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.alarms.watch import Watch


@contextmanager
def releasing(release: Release) -> Iterator[None]:
    """Let the projector that is made meanwhile be of a release of the simulation, whose reducer knows its poison."""
    dispatch = Versions().dispatch(release)
    with patch.object(runtime, "Projector", lambda log, states, _, **how: Projector(log, states, dispatch, **how)):
        yield


def poisoned(kind: str) -> Callable[[Watch], None]:
    def befall(watch: Watch) -> None:
        around = SimpleNamespace(random=Random(1), moment=lambda: datetime.now(UTC).isoformat())
        oracle = MagicMock(head=lambda _: 0, deadly=set())
        with releasing(Release()):
            Poisoner(around, watch.stack.dynamodb, watch.stack.event_table, oracle).put(RUN, kind)
            watch.wait(QUARTER)

    return befall


def parked(watch: Watch) -> None:
    poisoned("malformed event")(watch)
    watch.sweep()


def broken_plugin(watch: Watch) -> None:
    with releasing(Release(plugins=(Plugin("tally", 1, is_installed=True, is_broken=True),))):
        watch.stack.store.event_log.append(RUN, [run_started(), custom()])
        watch.wait(2)


def gap(watch: Watch) -> None:
    write(watch)
    [*_, last] = items_of(watch)
    watch.stack.dynamodb.put_item(TableName=watch.stack.event_table, Item={**last, "sequence": {"N": "99"}})
    watch.wait(2)


def tampered(watch: Watch) -> None:
    write(watch)
    [*_, last] = items_of(watch)
    watch.stack.dynamodb.put_item(TableName=watch.stack.event_table, Item={**last, "count": {"N": "7"}})
    watch.wait(2)


def items_of(watch: Watch) -> list[dict[str, Any]]:
    """Return the items of the run in the event table, in order."""
    return watch.stack.dynamodb.query(
        TableName=watch.stack.event_table,
        KeyConditionExpression="run_id = :run",
        ExpressionAttributeValues={":run": {"S": RUN}},
    )["Items"]


def change_too_large(watch: Watch) -> None:
    numbers = {name: {"N": "1"} for name in ("revision", "sequence")}
    texts = {name: {"S": value} for name, value in {"run_id": "x", "status": "Failed", "model": "x" * 300_000}.items()}
    watch.stack.dynamodb.put_item(TableName=watch.stack.state_table, Item=texts | numbers)
    watch.wait(3)


# ---------------------------------------------------------------- operators


def stream_not_read(watch: Watch) -> None:
    watch.stack.disabled.add(NOTIFIER)
    write(watch)
    watch.wait(QUARTER)
    watch.sweep()


def refused_in_the_notifier_only(watch: Watch) -> None:
    definition = watch.stack._notifier._definition
    definition.environment["BEHEST_PLUGINS"] = "missing"
    write(watch)
    watch.wait(3)


def fold_raises(watch: Watch) -> None:
    def raises(*_: object) -> None:
        raise KeyError("what nobody thought of")

    with patch.object(OneRun, "bring_up", raises):
        write(watch)
        watch.wait(QUARTER)


def restored(watch: Watch) -> None:
    """The event table ends earlier than the state that was folded from it."""
    write(watch)
    watch.wait(2)
    [*_, last] = items_of(watch)
    key = {name: last[name] for name in ("run_id", "sequence")}
    watch.stack.dynamodb.delete_item(TableName=watch.stack.event_table, Key=key)
    watch.sweep()


def restored_and_written_on(watch: Watch) -> None:
    """Where the state was folded from one commit, the log has another."""
    restored(watch)
    log = EventLog(watch.stack.dynamodb, watch.stack.event_table)
    log.append(RUN, [run_failed()])
    watch.wait(2)
    watch.sweep()


def state_restored(watch: Watch) -> None:
    """The state table is that of an earlier time, before the run."""
    write(watch)
    watch.wait(2)
    watch.stack.dynamodb.delete_item(TableName=watch.stack.state_table, Key={"run_id": {"S": RUN}})
    watch.sweep()


def state_broken(watch: Watch) -> None:
    """Something else writes to a state item, and the run goes on."""
    write(watch)
    watch.wait(2)
    [item] = watch.stack.dynamodb.scan(TableName=watch.stack.state_table)["Items"]
    watch.stack.dynamodb.put_item(TableName=watch.stack.state_table, Item=item | {"event_count": {"S": "many"}})
    last = watch.stack.store.event_log.append(RUN, [custom()])
    watch.wait(2)
    assert watch.stack.store.get_state(RUN).event_count == last


def operated(watch: Watch) -> None:
    """All that operators, readers and time do to a stack that is well."""
    write(watch)
    watch.wait(2)
    for command in (["resume", RUN], ["rebuild", RUN, "--yes"]):
        assert CliRunner().invoke(app, command).exit_code == 0
    store = watch.stack.store
    assert [state.run_id for state in store.states(status=RunStatus.COMPLETED)] == [RUN]
    watch.stack.expire(watch.clock())
    write(watch, "deleted")
    watch.wait(2)
    store.delete_run("deleted")
    watch.wait(2)
    watch.sweep()
