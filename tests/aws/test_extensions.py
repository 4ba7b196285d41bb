"""A plugin's life cycle through the projector and the tables."""

import pytest

from behest_core.dynamodb import items
from behest_core.fold.dispatch import CORE
from behest_core.model.state import ExtensionSlice
from behest_core.projection.catch_up import CatchUp, Fold
from behest_core.projection.projector import Projector
from tests.aws.test_projector import LOG as CORE_LOG
from tests.builders import RUN, commit, custom, poison, text_delta
from tests.unit.test_extension import LOG, approvals, dispatch, words


@pytest.fixture
def projector(stack):
    """Make a process with some extensions installed."""
    return lambda using: Projector(stack.store.event_log, stack.store.state_table, using)


@pytest.fixture
def catch_up(stack):
    """Make what catches up, with some extensions installed."""
    return lambda using: CatchUp(stack.store.event_log, stack.store.state_table, using)


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


def test_a_plugin_installed_over_live_data_catches_up_when_it_is_told_to(stack, put, projector, catch_up):
    projector(CORE).project(put(*LOG))
    assert catch_up(dispatch()).fold(RUN).saves == 1
    assert slices(stack)["approvals"].state["pending"] == 2


def damage(stack, **counts):
    """Put another number into slices: what folding again mends."""
    damaged = stack.store.get_state(RUN)
    for name, count in counts.items():
        piece = damaged.extensions[name]
        state = {**piece.state, {"approvals": "pending", "words": "count"}[name]: count}
        damaged.extensions[name] = ExtensionSlice.of(state, sequence=piece.sequence, version=piece.version)
    stack.store.state_table.save(damaged)


def test_an_extension_can_be_folded_again_even_if_it_is_parked_and_parked_others_stay_as_they_are(
    stack, put, projector, catch_up
):
    projector(dispatch(approvals(), words(fails_at="three"))).project(put(*LOG))
    damage(stack, approvals=100)
    assert slices(stack)["words"].parked is not None
    catch_up(dispatch()).fold(RUN, Fold.AGAIN, extension="words")
    assert (slices(stack)["words"].state["count"], slices(stack)["words"].parked) == (3, None)
    projector(dispatch(approvals(), words(fails_at="three"))).project(put(commit(9, text_delta(9, "three"))))
    catch_up(dispatch()).fold(RUN, Fold.AGAIN, extension="approvals")
    assert slices(stack)["words"].parked is not None


def test_folding_everything_again_folds_the_extensions_again_too(stack, put, projector, catch_up):
    projector(dispatch()).project(put(*LOG))
    damage(stack, words=100)
    assert catch_up(dispatch()).fold(RUN, Fold.AGAIN).saves == 1
    assert slices(stack)["words"].state["count"] == 3
    assert catch_up(dispatch()).fold(RUN, Fold.AGAIN).saves == 0


def test_a_parked_slice_is_reported_once_listed_and_resumed(stack, put, projector, catch_up):
    broken = projector(dispatch(approvals(), words(fails_at="two")))
    report = broken.project(put(*LOG))
    assert [(each.kind, each.sequence, each.error) for each in report.troubles] == [
        ("extension_parked", 4, "RuntimeError")
    ]
    assert broken.project(put(commit(9, text_delta(), custom()))).troubles == []
    [listed] = stack.store.parked_states()
    assert (listed.parked, list(listed.parks)) == (None, ["words"])
    assert slices(stack)["words"].parked.parked_at.endswith("Z")

    catch_up(dispatch(approvals(), words(fails_at="three"))).fold(RUN, Fold.RESUME)
    parked = slices(stack)["words"].parked
    assert (parked.attempts, parked.sequence, parked.earlier[0].sequence) == (2, 8, 4)

    catch_up(dispatch()).fold(RUN, Fold.RESUME)
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


def test_uninstalled_a_slice_stays_when_all_is_folded_again(stack, put, projector, catch_up):
    projector(dispatch()).project(put(*LOG))
    before = slices(stack)
    damaged = stack.store.get_state(RUN)
    damaged.iteration = 99
    stack.store.state_table.save(damaged)
    assert catch_up(CORE).fold(RUN, Fold.AGAIN).saves == 1
    assert slices(stack) == before
    assert catch_up(CORE).fold(RUN, Fold.AGAIN, extension="words").saves == 0
    assert slices(stack) == before


def test_uninstalled_a_parked_slice_stays_parked_when_its_run_is_resumed(stack, put, projector, catch_up):
    projector(dispatch(approvals(), words(fails_at="two"))).project(put(*LOG))
    before = slices(stack)
    catch_up(CORE).fold(RUN, Fold.RESUME)
    assert slices(stack) == before
    assert [state.run_id for state in stack.store.parked_states()] == [RUN]


def test_a_run_parked_by_the_core_is_resumed_with_its_extensions(stack, put, projector, catch_up):
    projector(dispatch()).project(put(*CORE_LOG, poison(6)))
    assert slices(stack)["words"].sequence == 6
    mended = commit(6, text_delta(), text_delta(), text_delta())
    stack.dynamodb.put_item(TableName=stack.event_table, Item=items.commit_to_item(mended))
    catch_up(dispatch()).fold(RUN, Fold.RESUME)
    assert (slices(stack)["words"].state["count"], slices(stack)["words"].sequence) == (4, 8)
