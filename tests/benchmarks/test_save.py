"""What a save costs a function in CPU, the network left out, against the same item put by a plain client of boto3."""

from __future__ import annotations

from typing import TYPE_CHECKING

import behest_approvals
import behest_cost
import behest_lineage
import behest_tools
import pytest

from behest_core.dynamodb import items
from behest_core.dynamodb.state_table import StateTable
from behest_core.fold.dispatch import CORE, Dispatch
from behest_core.fold.rules import fold
from behest_core.plugins.loading import compiled, plugin_from
from tests.answering import Answering
from tests.benchmarks.measuring import in_turns
from tests.benchmarks.test_fold_speed import runs_of_commits

if TYPE_CHECKING:
    from behest_core.model.state import RunState

SAVES = 20
OURS = (behest_approvals, behest_cost, behest_lineage, behest_tools)
FOUR = compiled([plugin_from(each, each.__name__) for each in OURS]).dispatch


@pytest.mark.parametrize(
    ("dispatch", "goal_us", "goal"), [(CORE, 250, 0.7), (FOUR, 350, 0.5)], ids=["no plugins", "four plugins"]
)
@pytest.mark.benchmark
def test_a_save_against_a_plain_put_of_the_same_item(dispatch: Dispatch, goal_us: float, goal: float):
    plain, ours = Answering(as_botocore=True).client, StateTable(Answering().client, "states")

    def put(state: RunState) -> None:
        plain.put_item(
            TableName="states",
            Item=items.state_to_item(state),
            ConditionExpression="revision = :read",
            ExpressionAttributeValues={":read": {"N": str(state.revision)}},
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )

    states = []
    for commits in runs_of_commits()[:20]:
        state = fold(None, commits, dispatch).state
        state.revision = 1_700_000_000_000_000
        states.append((state, state))
    found = in_turns(states, len(states), put, ours.save, repeats=SAVES)
    print(
        f"\na save: {found.other / 1000:.0f} us (goal {goal_us}), by a plain client {found.one / 1000:.0f}; {found} (goal {goal})"
    )
    assert found.times <= goal
