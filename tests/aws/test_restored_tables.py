"""Either table put back to an earlier time, or lost: what is noticed of it, what mends it, and that what was deleted stays so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from behest_core.errors import LogDivergedError, LogTruncatedError
from behest_core.fold.divergence import has_diverged
from behest_core.fold.rules import fold
from behest_core.model.state import RunStatus
from behest_core.projection.catch_up import CatchUp, Fold
from behest_core.projection.projector import Projector
from behest_core.projection.reconciler import Reconciler, Silence
from behest_core.projection.verify import Kind, verify
from tests.builders import (
    RUN,
    commit,
    custom,
    deploy_reducer,
    poison,
    record_commit,
    record_of,
    run_started,
    text_delta,
    usage_recorded,
    whole_run,
)
from tests.operating import diverged_run, folded_run, parked_run, put, restore_log

DAY = timedelta(days=1)


@pytest.fixture
def projector(stack):
    """Make a projector that has nothing in memory."""
    return lambda: Projector(stack.store.event_log, stack.store.state_table)


@pytest.fixture
def catch_up(stack):
    return CatchUp(stack.store.event_log, stack.store.state_table)


@pytest.fixture
def sweep(stack, catch_up):
    """Return what sweeps an hour from now: no commit is on its way."""
    now = datetime.now(UTC) + timedelta(hours=1)
    reconciler = Reconciler(stack.store.event_log, stack.store.state_table, catch_up, now=lambda: now)
    return lambda: reconciler.sweep(lookback=DAY, silence=Silence(DAY))


def written_on(stack, after=2):
    """Return the stream records of what was written after the restore."""
    return [record_of(each) for each in stack.store.event_log.commits(RUN, after)]


def stored(stack, run_id=RUN):
    return stack.store.state_table.get(run_id)


def folded_log(stack):
    """Return the fold of the log that there is, by itself."""
    return replace(fold(None, stack.store.event_log.commits(RUN)).state, revision=stored(stack).revision)


def check(stack):
    return verify(stack.store.event_log, stack.store.state_table, RUN)


def kinds(found):
    return [each.kind for each in found.troubles]


# ---------------------------------------------------------------- what a process remembers of an item that is another one now


def item_of(stack):
    return stack.dynamodb.get_item(TableName=stack.state_table, Key={"run_id": {"S": RUN}})["Item"]


def broken(stack, _):
    item = item_of(stack) | {"revision": {"N": "1.5"}}
    stack.dynamodb.put_item(TableName=stack.state_table, Item=item)


def lost(stack, _):
    stack.dynamodb.delete_item(TableName=stack.state_table, Key={"run_id": {"S": RUN}})


def of_an_earlier_time(stack, earlier):
    stack.dynamodb.put_item(TableName=stack.state_table, Item=earlier)


@pytest.mark.parametrize("befall", [broken, lost, of_an_earlier_time])
def test_a_process_that_remembers_a_state_does_not_put_it_back_when_its_item_is_written_anew(
    stack, projector, catch_up, befall
):
    log = [record_commit(), *(commit(sequence, text_delta()) for sequence in range(1, 8))]
    warm = [projector() for _ in range(3)]
    put(stack, log[0])
    catch_up.fold(RUN)
    earlier = item_of(stack)
    for number, process in enumerate(warm, 1):
        put(stack, log[number])
        process.project([record_of(log[number])])
    befall(stack, earlier)
    for lot in (log[4:6], log[6:]):
        put(stack, *lot)
        catch_up.fold(RUN)
    before = stored(stack)
    assert before.sequence == 7
    for number, process in enumerate(warm, 1):
        process.project([record_of(log[number + 1])])
        assert stored(stack) == before


# ---------------------------------------------------------------- the event table, of an earlier time and written on

SHORTER = [usage_recorded(9)]
LONGER = [usage_recorded(9), *(text_delta(second) for second in range(10, 17))]


@pytest.mark.parametrize("events", [SHORTER, LONGER], ids=["shorter", "longer, in one commit across the state's end"])
def test_a_log_that_was_restored_and_written_on_parks_its_run_and_is_mended_to_its_fold(
    stack, projector, catch_up, events
):
    diverged_run(stack, RUN, *events)
    before = stored(stack)
    assert kinds(projector().project(written_on(stack))) == ["diverged"]
    parked = stored(stack)
    assert (parked.parked.error, parked.parked.sequence) == ("LogDivergedError", 6)
    assert replace(parked, parked=None, revision=before.revision) == before
    assert check(stack).kind is Kind.DIVERGED
    stack.store.event_log.append(RUN, [text_delta(20)])
    assert projector().project(written_on(stack)).saves == 0
    with pytest.raises(LogDivergedError):
        catch_up.fold(RUN, Fold.AGAIN)
    work = catch_up.fold(RUN, Fold.AGAIN, diverged=True)
    assert (work.saves, work.replaced) == (1, 5)
    assert stored(stack) == folded_log(stack)
    assert check(stack).is_right
    assert catch_up.fold(RUN, Fold.AGAIN, diverged=True).saves == 0


def test_a_log_that_was_restored_and_not_written_on_is_noticed_by_a_sweep(stack, sweep, catch_up):
    folded_run(stack, RUN, run_started(), text_delta())
    put(stack, commit(3, text_delta()))
    catch_up.fold(RUN)
    restore_log(stack)
    assert kinds(sweep()) == ["ahead", "diverged"]
    report = sweep()
    assert (report.parked, report.lagging, report.caught_up) == (1, 0, 0)
    catch_up.fold(RUN, Fold.AGAIN, diverged=True)
    assert stored(stack) == folded_log(stack)


def test_the_metric_that_the_alarm_reads_counts_a_run_that_diverged(stack):
    stack.store.event_log.append(RUN, [run_started(), text_delta()])
    stack.store.event_log.append(RUN, [text_delta()])
    stack.deliver()
    restore_log(stack)
    put(stack, replace(commit(3, usage_recorded()), commit_id="another"))
    assert '"RunsDiverged"' not in "".join(stack.output.lines)
    stack.deliver()
    assert '"RunsDiverged":[1' in "".join(stack.output.lines).replace(" ", "")


def test_what_stops_the_fold_of_the_other_history_is_taken_with_it(stack, projector, catch_up):
    diverged_run(stack)
    restore_log(stack)
    put(stack, replace(poison(3), commit_id="another"))
    projector().project(written_on(stack))
    work = catch_up.fold(RUN, Fold.AGAIN, diverged=True)
    assert (work.state.sequence, work.state.parked.error) == (3, "MalformedEventError")


def test_a_log_that_was_restored_to_before_the_run_and_written_on_is_taken(stack, projector, catch_up):
    diverged_run(stack)
    restore_log(stack, after=-1)
    put(stack, replace(commit(1, text_delta()), commit_id="another"))
    assert kinds(projector().project(written_on(stack, 0))) == ["diverged"]
    catch_up.fold(RUN, Fold.AGAIN, diverged=True)
    assert stored(stack) == folded_log(stack)


def test_where_nothing_is_left_of_a_log_there_is_nothing_to_take(stack, catch_up):
    folded_run(stack)
    restore_log(stack, after=-1)
    before = stored(stack)
    with pytest.raises(LogTruncatedError):
        catch_up.fold(RUN, Fold.AGAIN, diverged=True)
    assert stored(stack) == before


def test_a_run_of_which_nobody_has_noticed_is_not_folded_again_into_another_history_either(stack, catch_up):
    diverged_run(stack, RUN, *LONGER)
    before = stored(stack)
    with pytest.raises(LogDivergedError):
        catch_up.fold(RUN, Fold.AGAIN)
    assert stored(stack) == before


def test_a_run_goes_on_when_its_log_has_its_own_history_again(stack, projector, catch_up):
    folded_run(stack)
    own = list(stack.store.event_log.commits(RUN, 0))
    restore_log(stack, after=0)
    put(stack, replace(commit(1, text_delta()), commit_id="another"))
    projector().project(written_on(stack, 0))
    assert stored(stack).parked.error == "LogDivergedError"
    put(stack, *own)
    work = catch_up.fold(RUN, Fold.RESUME)
    assert (work.state.parked, work.state.status) == (None, RunStatus.COMPLETED)


def test_another_version_of_the_reducer_does_not_move_a_run_that_diverged(
    stack, projector, sweep, catch_up, monkeypatch
):
    diverged_run(stack, RUN, *LONGER)
    projector().project(written_on(stack))
    deploy_reducer(monkeypatch, 2)
    assert (sweep().lagging, stored(stack).sequence) == (0, 5)
    assert catch_up.fold(RUN, Fold.RESUME).state.parked.error == "LogDivergedError"
    assert stored(stack).sequence == 5


# ---------------------------------------------------------------- the state table, of an earlier time or lost


def bury_and_restore(stack, state):
    """Delete a run, and put the state table back to what it was before."""
    stack.store.delete_run(RUN)
    key = {"run_id": {"S": RUN}}
    stack.dynamodb.delete_item(TableName=stack.state_table, Key=key)
    if state is not None:
        stack.store.state_table.save(replace(state, revision=0))


def active_state(stack):
    folded_run(stack, RUN, run_started(), text_delta())
    return stored(stack)


def finished_state(stack):
    folded_run(stack)
    return stored(stack)


def parked_state(stack):
    parked_run(stack)
    return stored(stack)


def begun_state(stack):
    """Return a state that has only begun, where the log had gone on."""
    put(stack, record_commit())
    CatchUp(stack.store.event_log, stack.store.state_table).fold(RUN)
    found = stored(stack)
    put(stack, commit(1, *whole_run()))
    return found


def no_state(stack):
    folded_run(stack)


STATES = [active_state, finished_state, parked_state, begun_state]


def late(*commits):
    """Return the records of commits that the stream has had for 20 minutes."""
    found = [record_of(each) for each in commits]
    moment = (datetime.now(UTC) - timedelta(minutes=20)).timestamp()
    for each in found:
        each["dynamodb"]["ApproximateCreationDateTime"] = moment
    return found


@pytest.mark.parametrize("make", [*STATES, no_state])
def test_a_late_record_of_a_deleted_run_buries_what_the_state_table_has_of_it(stack, projector, make):
    bury_and_restore(stack, make(stack))
    is_parked = make is parked_state  # whatever comes, nothing is folded of it: it waits for the sweep
    report = projector().project(late(commit(1, *whole_run())))
    assert (report.events, report.first_unfinished) == (0, None)
    assert bool(stored(stack).deleted_at) is not is_parked


@pytest.mark.parametrize("make", STATES)
def test_a_late_record_that_goes_on_with_the_state_of_a_deleted_run_is_not_folded(stack, projector, make):
    state = make(stack)
    bury_and_restore(stack, state)
    assert projector().project(late(commit(state.sequence + 1, custom()))).events == 0


@pytest.mark.parametrize("make", [active_state, parked_state, begun_state])
def test_a_sweep_buries_what_the_state_table_has_of_a_deleted_run(stack, sweep, make):
    bury_and_restore(stack, make(stack))
    report = sweep()
    assert (report.lagging, report.caught_up, report.troubles) == (1, 1, [])
    assert stored(stack).deleted_at


def test_a_sweep_does_not_bring_back_a_deleted_run_of_which_there_is_no_state(stack, sweep):
    bury_and_restore(stack, no_state(stack))
    assert sweep().lagging == 0
    assert stored(stack) is None


@pytest.mark.parametrize("how", [Fold.AGAIN, Fold.RESUME])
@pytest.mark.parametrize("make", [*STATES, no_state])
def test_folding_again_or_resuming_buries_what_the_state_table_has_of_a_deleted_run(stack, catch_up, make, how):
    bury_and_restore(stack, make(stack))
    assert catch_up.fold(RUN, how).events == 0
    assert stored(stack).deleted_at


LATE = [2, 6, 9]
"""Where a writer appends that remembers an end of the log before it was deleted: its own, or one of before."""


def appended_late(stack, sequence):
    """Append to a deleted run, as a writer does that hasn't heard of it; return the commit."""
    late_commit = replace(commit(sequence, text_delta(), text_delta()), commit_id="late")
    put(stack, late_commit)
    return late_commit


@pytest.mark.parametrize("sequence", LATE)
@pytest.mark.parametrize("make", [active_state, parked_state, begun_state])
def test_a_sweep_sees_the_tombstone_behind_which_somebody_appended(stack, sweep, make, sequence):
    bury_and_restore(stack, make(stack))
    appended_late(stack, sequence)
    report = sweep()
    assert (report.lagging, report.caught_up, report.troubles) == (1, 1, [])
    assert stored(stack).deleted_at


@pytest.mark.parametrize("sequence", LATE)
@pytest.mark.parametrize("make", [*STATES, no_state])
def test_a_projector_sees_the_tombstone_behind_which_somebody_appended(stack, projector, make, sequence):
    bury_and_restore(stack, make(stack))
    late_commit = appended_late(stack, sequence)
    report = projector().project(late(late_commit))
    assert (report.events, report.troubles, report.first_unfinished) == (0, [], None)
    assert bool(stored(stack).deleted_at) is not (make is parked_state)


@pytest.mark.parametrize("sequence", LATE)
@pytest.mark.parametrize("how", Fold)
@pytest.mark.parametrize("make", [active_state, finished_state, begun_state, no_state])
def test_whatever_folds_a_run_sees_the_tombstone_behind_which_somebody_appended(stack, catch_up, make, how, sequence):
    bury_and_restore(stack, make(stack))
    appended_late(stack, sequence)
    assert catch_up.fold(RUN, how).events == 0
    assert stored(stack).deleted_at


@pytest.mark.parametrize("is_guarded", [True, False])
@pytest.mark.parametrize("make_late", [poison, lambda sequence: commit(sequence + 3, text_delta())], ids=["bad", "far"])
def test_what_stops_a_fold_before_it_meets_the_tombstone_does_not_hide_it(stack, catch_up, make_late, is_guarded):
    state = active_state(stack)
    bury_and_restore(stack, state)
    put(stack, make_late(state.sequence + 1))
    assert catch_up.fold(RUN, guarded=is_guarded).troubles == []
    assert stored(stack).deleted_at


@pytest.mark.parametrize("how", [Fold.RESUME, Fold.AGAIN])
def test_a_deleted_run_that_is_parked_as_diverged_is_not_resumed_but_buried(stack, catch_up, projector, how):
    diverged_run(stack)
    projector().project(written_on(stack))
    bury_and_restore(stack, stored(stack))
    appended_late(stack, 3)
    catch_up.fold(RUN, how)
    assert stored(stack).deleted_at


@pytest.mark.parametrize("sequence", LATE)
@pytest.mark.parametrize("make", [*STATES, no_state])
def test_verify_sees_the_tombstone_behind_which_somebody_appended(stack, catch_up, make, sequence):
    bury_and_restore(stack, make(stack))
    appended_late(stack, sequence)
    if make is not no_state:
        assert "its log was deleted at" in check(stack).problem
        catch_up.fold(RUN, Fold.AGAIN)
    assert "delete it again" in check(stack).problem
    stack.store.delete_run(RUN)
    assert check(stack).is_right


@pytest.mark.parametrize("make", STATES)
def test_verify_says_that_a_deleted_run_is_back(stack, catch_up, make):
    bury_and_restore(stack, make(stack))
    assert check(stack).kind is Kind.WRONG
    assert "its log was deleted at" in check(stack).problem
    catch_up.fold(RUN, Fold.AGAIN)
    assert check(stack).is_right


def test_a_deleted_run_without_state_is_right_as_it_is(stack):
    bury_and_restore(stack, no_state(stack))
    assert check(stack).is_right


def test_late_records_of_a_run_that_is_there_are_folded_as_ever(stack, projector):
    folded_run(stack)
    behind = commit(6, usage_recorded())
    put(stack, behind)
    assert projector().project(late(behind)).events == 1
    assert stored(stack) == folded_log(stack)


def test_a_log_whose_last_commit_expired_before_earlier_ones_has_no_other_history():
    """DynamoDB deletes what has expired in no order."""
    state = fold(None, [record_commit(), commit(1, text_delta()), commit(2, text_delta())]).state
    left = replace(commit(1, text_delta()), expires_at=1_000)
    assert not has_diverged(state, left, datetime.fromtimestamp(1_000, UTC))
    assert has_diverged(state, left, datetime.fromtimestamp(999, UTC))
    assert has_diverged(state, replace(left, expires_at=None), datetime.fromtimestamp(1_000, UTC))


# ---------------------------------------------------------------- another history of which the stream lost the beginning

UP_TO_THE_END = [usage_recorded(9), text_delta(10), text_delta(11)]
ACROSS_THE_END = [*UP_TO_THE_END, text_delta(12)]


def diverged_active_run(stack, events):
    """Add an active run whose state covers 5 events, and whose log was restored to 2 and written on."""
    folded_run(stack, RUN, run_started(), text_delta())
    put(stack, commit(3, text_delta(), text_delta(), text_delta()))
    CatchUp(stack.store.event_log, stack.store.state_table).fold(RUN)
    restore_log(stack)
    stack.store.event_log.append(RUN, events)


@pytest.mark.parametrize("events", [SHORTER, UP_TO_THE_END, ACROSS_THE_END], ids=["before", "up to", "across"])
@pytest.mark.parametrize("way", ["recovered", "swept"])
def test_another_history_whose_commits_were_in_a_lost_batch_is_noticed_when_that_is_recovered_or_swept(
    stack, catch_up, sweep, way, events
):
    diverged_active_run(stack, events)
    found = sweep().troubles if way == "swept" else catch_up.fold(RUN, guarded=True).troubles
    assert [each.kind for each in found][-1] == "diverged"


def test_another_history_is_noticed_at_its_first_commit_that_is_not_lost_unless_that_begins_where_the_state_ends(
    stack, projector
):
    diverged_active_run(stack, ACROSS_THE_END)
    stack.store.event_log.append(RUN, [text_delta(13)])
    assert kinds(projector().project(written_on(stack, 6))) == ["diverged"]


def test_another_history_that_goes_on_where_the_state_ends_and_was_lost_up_to_there_is_named_by_verify_and_mended(
    stack, projector, sweep, catch_up
):
    """The one that nobody notices by himself: the state keeps the id of its last commit, and that is one of the log's now."""
    diverged_active_run(stack, UP_TO_THE_END)
    stack.store.event_log.append(RUN, [text_delta(12)])
    report = projector().project(written_on(stack, 5))
    assert (report.events, report.troubles) == (1, [])
    assert sweep().troubles == catch_up.fold(RUN, guarded=True).troubles == []
    assert check(stack).kind is Kind.WRONG
    catch_up.fold(RUN, Fold.AGAIN)
    assert stored(stack) == folded_log(stack)
    assert check(stack).is_right
