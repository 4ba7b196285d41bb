"""Runs as an operator meets them: good ones, wrong ones, parked ones, and ones whose log is gone in part."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from behest_core.dynamodb import items
from behest_core.projection.catch_up import CatchUp
from behest_core.store import RunStore
from tests.builders import RUN, commit, poison, record_commit, run_completed, run_record, usage_recorded, whole_run

if TYPE_CHECKING:
    from behest_core.model.commit import Commit
    from behest_core.model.events import NewEvent
    from behest_core.testing import LocalStack


def put(stack: LocalStack, *commits: Commit) -> None:
    """Put commits into the event table as they are."""
    for each in commits:
        stack.dynamodb.put_item(TableName=stack.event_table, Item=items.commit_to_item(each))


def fold(stack: LocalStack, run_id: str = RUN) -> None:
    CatchUp(stack.store.event_log, stack.store.state_table).fold(run_id)


def folded_run(stack: LocalStack, run_id: str = RUN, *events: NewEvent) -> None:
    """Add a run with a right state; a completed one where no events are passed."""
    put(stack, record_commit(run_record(run_id)), commit(1, *(events or whole_run()), run_id=run_id))
    fold(stack, run_id)


def wrong_run(stack: LocalStack, run_id: str = RUN) -> None:
    """Add a run whose state says 99 iterations, where there was 1."""
    folded_run(stack, run_id)
    stack.store.state_table.save(replace(stack.store.get_state(run_id), iteration=99))


def parked_run(stack: LocalStack, run_id: str = RUN) -> None:
    """Add a run that is parked at sequence 2."""
    put(stack, record_commit(run_record(run_id)), poison(1, run_id=run_id))
    fold(stack, run_id)


def mend(stack: LocalStack, run_id: str = RUN) -> None:
    """Put three good events in the place of those that a run is parked at."""
    put(stack, commit(1, usage_recorded(), usage_recorded(), run_completed(), run_id=run_id))


def truncated_run(stack: LocalStack, run_id: str = RUN) -> None:
    """Add a run of whose log only the end is left."""
    folded_run(stack, run_id)
    put(stack, commit(6, usage_recorded(), run_id=run_id))
    fold(stack, run_id)
    for sequence in "01":
        key = {"run_id": {"S": run_id}, "sequence": {"N": sequence}}
        stack.dynamodb.delete_item(TableName=stack.event_table, Key=key)


def restore_log(stack: LocalStack, run_id: str = RUN, after: int = 2) -> None:
    """Let a run's log be what it was when `after` was its last position."""
    for behind in list(stack.store.event_log.commits(run_id, after)):
        key = {"run_id": {"S": run_id}, "sequence": {"N": str(behind.sequence)}}
        stack.dynamodb.delete_item(TableName=stack.event_table, Key=key)


def diverged_run(stack: LocalStack, run_id: str = RUN, *events: NewEvent) -> None:
    """Add a run whose state covers 5 events, and whose log was restored to 2 and written on: with one event, by default."""
    first, second, third, fourth, fifth = whole_run()
    put(
        stack,
        record_commit(run_record(run_id)),
        commit(1, first, second, run_id=run_id),
        commit(3, third, fourth, run_id=run_id),
        commit(5, fifth, run_id=run_id),
    )
    fold(stack, run_id)
    restore_log(stack, run_id)
    RunStore(stack.event_table, stack.state_table, client=stack.dynamodb).append(
        run_id, list(events) or [usage_recorded(9)]
    )


def put_broken_state(stack: LocalStack, run_id: str = RUN) -> None:
    """Let something other than behest write to a run's state item."""
    stack.dynamodb.update_item(
        TableName=stack.state_table,
        Key={"run_id": {"S": run_id}},
        UpdateExpression="SET iteration = :text",
        ExpressionAttributeValues={":text": {"S": "many"}},
    )
