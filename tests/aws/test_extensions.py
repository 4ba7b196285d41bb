"""A plugin's life cycle through the projector and the tables."""

import pytest

from behest_core.dynamodb import items
from behest_core.fold.dispatch import CORE
from behest_core.projection.projector import Fold, Projector
from tests.aws.test_projector import LOG as CORE_LOG
from tests.builders import RUN, commit, custom, poison, text_delta
from tests.unit.test_extension import LOG, approvals, dispatch, words


@pytest.fixture
def projector(stack):
    """Make a process with some extensions installed."""
    return lambda using: Projector(stack.store.event_log, stack.store.state_table, using)


def slices(stack):
    return stack.store.get_state(RUN).extensions


def test_a_slice_is_a_native_attribute_of_the_state_item(stack, put, projector):
    projector(dispatch()).project(put(*LOG))
    [item] = stack.dynamodb.scan(TableName=stack.state_table)["Items"]
    assert item["extensions"]["M"]["words"]["M"]["state"]["M"]["count"] == {"N": "3"}
    assert item["extensions"]["M"]["words"]["M"]["sequence"] == {"N": "8"}


def test_warm_a_batch_is_one_write_and_no_read(put, projector, requests):
    process = projector(dispatch())
    process.project(put(*LOG[:2]))
    records = put(*LOG[2:])
    requests.made.clear()
    process.project(records)
    assert [name for name, _ in requests.made] == ["PutItem"]


def test_a_plugin_installed_over_live_data_catches_up_when_the_run_moves(stack, put, projector):
    projector(CORE).project(put(*LOG[:3]))
    report = projector(dispatch()).project(put(*LOG[3:]))
    assert (report.log_reads, report.saves) == (1, 1)
    assert slices(stack)["words"].state["count"] == 3


def test_a_plugin_installed_over_live_data_catches_up_when_it_is_told_to(stack, put, projector):
    projector(CORE).project(put(*LOG))
    assert projector(dispatch()).catch_up(RUN).saves == 1
    assert slices(stack)["approvals"].state["pending"] == 2


def test_one_extension_can_be_folded_again_alone(stack, put, projector):
    projector(dispatch()).project(put(*LOG))
    damaged = stack.store.get_state(RUN)
    for name in ("approvals", "words"):
        damaged.extensions[name].state[{"approvals": "pending", "words": "count"}[name]] = 100
    stack.store.state_table.save(damaged)
    projector(dispatch()).catch_up(RUN, Fold.AGAIN, extension="words")
    assert slices(stack)["words"].state["count"] == 3
    assert slices(stack)["approvals"].state["pending"] == 100


def test_folding_everything_again_folds_the_extensions_again_too(stack, put, projector):
    projector(dispatch()).project(put(*LOG))
    damaged = stack.store.get_state(RUN)
    damaged.extensions["words"].state["count"] = 100
    stack.store.state_table.save(damaged)
    assert projector(dispatch()).catch_up(RUN, Fold.AGAIN).saves == 1
    assert slices(stack)["words"].state["count"] == 3
    assert projector(dispatch()).catch_up(RUN, Fold.AGAIN).saves == 0


def test_a_parked_slice_is_reported_once_listed_and_resumed(stack, put, projector):
    broken = projector(dispatch(approvals(), words(fails_at="two")))
    report = broken.project(put(*LOG))
    assert [(each.kind, each.sequence, each.error) for each in report.troubles] == [
        ("extension_parked", 4, "RuntimeError")
    ]
    assert broken.project(put(commit(9, text_delta(), custom()))).troubles == []
    [listed] = stack.store.parked_states()
    assert (listed.parked, list(listed.parks)) == (None, ["words"])
    assert slices(stack)["words"].parked.parked_at.endswith("Z")

    projector(dispatch(approvals(), words(fails_at="three"))).catch_up(RUN, Fold.RESUME)
    parked = slices(stack)["words"].parked
    assert (parked.attempts, parked.sequence, parked.earlier[0].sequence) == (2, 8, 4)

    projector(dispatch()).catch_up(RUN, Fold.RESUME)
    assert slices(stack)["words"].state["count"] == 4
    assert slices(stack)["approvals"].state["pending"] == 3
    assert list(stack.store.parked_states()) == []


def test_a_raised_version_retries_a_parked_slice_when_the_run_moves(stack, put, projector):
    projector(dispatch(approvals(), words(fails_at="two"))).project(put(*LOG))
    mended = words()
    mended.version = 2
    projector(dispatch(approvals(), mended)).project(put(commit(9, text_delta())))
    assert (slices(stack)["words"].state["count"], slices(stack)["words"].parked) == (4, None)


def test_uninstalled_a_slice_stays_and_installed_again_it_catches_up(stack, put, projector):
    projector(dispatch()).project(put(*LOG[:2]))
    projector(CORE).project(put(*LOG[2:]))
    assert slices(stack)["words"].sequence == 3
    projector(dispatch()).project(put(commit(9, text_delta())))
    assert (slices(stack)["words"].state["count"], slices(stack)["words"].sequence) == (4, 9)


def test_uninstalled_a_slice_stays_when_all_is_folded_again(stack, put, projector):
    projector(dispatch()).project(put(*LOG))
    before = slices(stack)
    damaged = stack.store.get_state(RUN)
    damaged.iteration = 99
    stack.store.state_table.save(damaged)
    assert projector(CORE).catch_up(RUN, Fold.AGAIN).saves == 1
    assert slices(stack) == before
    assert projector(CORE).catch_up(RUN, Fold.AGAIN, extension="words").saves == 0
    assert slices(stack) == before


def test_uninstalled_a_parked_slice_stays_parked_when_its_run_is_resumed(stack, put, projector):
    projector(dispatch(approvals(), words(fails_at="two"))).project(put(*LOG))
    before = slices(stack)
    projector(CORE).catch_up(RUN, Fold.RESUME)
    assert slices(stack) == before
    assert [state.run_id for state in stack.store.parked_states()] == [RUN]


def test_a_run_parked_by_the_core_is_resumed_with_its_extensions(stack, put, projector):
    projector(dispatch()).project(put(*CORE_LOG, poison(6)))
    assert slices(stack)["words"].sequence == 6
    mended = commit(6, text_delta(), text_delta(), text_delta())
    stack.dynamodb.put_item(TableName=stack.event_table, Item=items.commit_to_item(mended))
    projector(dispatch()).catch_up(RUN, Fold.RESUME)
    assert (slices(stack)["words"].state["count"], slices(stack)["words"].sequence) == (4, 8)
