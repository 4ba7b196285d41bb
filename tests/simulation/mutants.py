"""The real code with one rule taken out of it, to see that the simulation notices.

A mutant is made of the function's own source, with some text replaced. So it can't fall behind the code: where the text isn't
there any more, making it fails.
"""

from __future__ import annotations
import __future__

import inspect
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from behest_core.dynamodb import event_table, items, state_table
from behest_core.dynamodb.event_table import EventLog
from behest_core.dynamodb.state_table import StateTable
from behest_core.fold import restart, rules, slices
from behest_core.fold.rules import Start
from behest_core.fold.slices import Slices
from behest_core.projection import catch_up, one_run, projector
from behest_core.projection.catch_up import CatchUp
from behest_core.projection.one_run import OneRun
from behest_core.projection.projector import Projector
from behest_core.projection.reconciler import Reconciler
from tests.simulation.faults import Rates

if TYPE_CHECKING:
    import pytest


@dataclass(frozen=True)
class Edit:
    """In a function of a module or class, one text instead of another."""

    owner: Any
    function: str
    old: str
    new: str


MUTANTS: dict[str, tuple[Edit, ...]] = {
    "saves without the condition on the revision": (
        Edit(
            StateTable,
            "save",
            'found = self._put(saved, f"{items.REVISION} = :read", {"N": str(state.revision)})',
            'found = self._put(saved, "attribute_exists(run_id)")',
        ),
    ),
    "folds duplicates": (
        Edit(projector, "fold_batch", "if begin.after >= commits[-1].last:", "if False:"),
        Edit(rules, "fold_on", "if known < commit.count:", "if True:"),
        Edit(
            rules,
            "fold_on",
            "_apply(state, commit, known, dispatch, slices)",
            "_apply(state, commit, 0, dispatch, slices)",
        ),
    ),
    "takes the commits of a batch as they come": (
        Edit(Projector, "_by_run", "work.commits.sort(key=lambda commit: commit.sequence)", "pass"),
    ),
    "does not read the log on a gap": (
        Edit(projector, "fold_batch", "if commit.sequence > reached + 1:", "if False:"),
    ),
    "brings deleted runs back": tuple(
        Edit(owner, "start", "state.deleted_at is not None or ", "") for owner in (rules, projector, catch_up)
    ),
    "takes its own repeated append for another's": (
        Edit(EventLog, "_put", 'if found.get(items.COMMIT_ID) != {"S": commit.commit_id}:', "if True:"),
    ),
    "tries a commit again where the log ends by now": (
        Edit(EventLog, "append_pending", "if pending.tried_at is None:", "if True:"),
    ),
    "does not let a slice catch up that is behind": (
        Edit(
            rules,
            "_starts_again",
            "any(goes_on(each, piece) and is_behind(each, piece, state.sequence) for each, piece in found)",
            "False",
        ),
    ),
    "goes on with a slice of another version": tuple(
        Edit(owner, "is_behind", "piece.version != extension.version", "False") for owner in (rules, slices)
    ),
    "does not tell a slice again that was not waiting for a while": (
        Edit(Slices, "_switch", "tellers[event_class] = Slices.tell", "pass"),
    ),
    "sweeps without a look at the record": (
        Edit(Reconciler, "_lacks_its_record", "self._log.record(run_id) is not None", "False"),
    ),
    "goes on with a slice that saw the run before its record came": (
        Edit(Start, "fold", "self.stored is not None and brings_the_record(first, self.stored)", "False"),
    ),
    "goes on with a slice that saw another reducer's run": tuple(
        Edit(owner, "restart", "before.reducer_version != REDUCER_VERSION", "False") for owner in (rules, catch_up)
    ),
    "goes on with an outdated slice": tuple(
        Edit(owner, "is_behind", "piece.outdated", "False") for owner in (rules, slices)
    ),
    "fails where an extension raises": (
        Edit(
            Slices,
            "tell",
            'self._park(live, error, f"raised by {handler.__name__} of extension {live.extension.name}")',
            "raise",
        ),
    ),
    "says of a parked slice that it has come as far as the core": (
        Edit(Slices, "_store", "if live.parked is None:", "if True:"),
    ),
    "tries a parked slice at every event": tuple(
        Edit(owner, "goes_on", " or piece.parked.version != extension.version", " or True")
        for owner in (rules, slices, restart)
    ),
    "leaves a parked slice to its version": tuple(
        Edit(owner, "goes_on", " or piece.parked.version != extension.version", "")
        for owner in (rules, slices, restart)
    ),
    "resumes the core alone": (Edit(CatchUp, "_resume", "replace(piece, parked=None) if", "piece if"),),
    "reads the log as it may have been a moment ago": (Edit(EventLog, "_query", '"ConsistentRead": True,', ""),),
    "reads states as they may have been a moment ago": (
        Edit(state_table, "batch_get", ', "ConsistentRead": True', ""),
    ),
    "does not ask again for keys that were left unprocessed": (
        Edit(state_table, "batch_get", "if table not in unread:", "if True:"),
    ),
    "reads the first page only": tuple(
        Edit(owner, "pages", 'if "LastEvaluatedKey" not in answer:', "if True:") for owner in (event_table, state_table)
    ),
    "begins another run without a look at its deadline": (
        Edit(OneRun, "bring_up", "if remaining() < RESERVE_SECONDS:", "if False:"),
    ),
    "reads a log to its end without a look at its deadline": (
        Edit(OneRun, "read", "if remaining() < RESERVE_SECONDS:", "if False:"),
    ),
    "drops the slices of extensions that are not installed": tuple(
        Edit(owner, "restart", "if name not in starting", "if False") for owner in (rules, catch_up)
    ),
    # ------------------------------------------------------------ logs that have lost their beginning
    "replaces a state by one that covers less": (
        Edit(Start, "fold", "state.sequence >= self.stored.sequence", "True"),
    ),
    "takes a log without beginning for a whole one": tuple(
        Edit(owner, "reaches_back", "return first.is_record or ", "return True or ") for owner in (rules, catch_up)
    ),
    "forgets that a state was folded with its record": tuple(
        Edit(owner, "reaches_back", "not state.has_record", "True") for owner in (rules, catch_up)
    ),
    "folds across a gap": (Edit(rules, "fold_on", "if known < 0:", "if False:"),),
    "does not go on where a log has lost its beginning": (
        Edit(Start, "fold", "return self._going_on()", "return Folded(self.stored)"),
    ),
    # ------------------------------------------------------------ tables that were restored, items that were broken
    "does not notice that a log has another history": tuple(
        Edit(owner, "has_diverged", "if state.commit_id is None or last is None:", "if True:")
        for owner in (one_run, catch_up)
    ),
    "looks for another history only at commits that it covers whole": (
        Edit(rules, "_is_doubtful", "commit.sequence <= begin", "commit.last <= begin"),
    ),
    "folds commits of two histories that come in one batch": (
        Edit(rules, "_is_doubtful", "other.commit_id != one.commit_id", "False"),
    ),
    "ignores the tombstone of a log": (
        Edit(Reconciler, "_tail", "self._states.bury(run_id, deleted.deleted_at)", "pass"),
        Edit(OneRun, "bury", "self._states.bury(work.run_id, deleted_at)", "pass"),
    ),
    "puts no tombstone at the end of a log": (
        Edit(
            EventLog,
            "delete",
            "items.tombstone_items(run_id, deleted_at)",
            "items.tombstone_items(run_id, deleted_at)[:1]",
        ),
    ),
    "trusts what lies in a state item": (
        Edit(items, "repaired_state", "except MalformedStateError:", "except ZeroDivisionError:"),
    ),
    "trusts the revision of a state item": (
        Edit(StateTable, "save", "if found and items.revision_of(found) is None:", "if False:"),
    ),
    "counts the writes of a state item": (
        Edit(
            StateTable, "save", "max(state.revision + 1, (self._now() - _EPOCH) // _MICROSECOND)", "state.revision + 1"
        ),
    ),
    # ------------------------------------------------------------ a run's trouble is its own
    "lets one run's error end its batch": (
        Edit(Projector, "_bring_up", "except Exception", "except ZeroDivisionError"),
    ),
    "lets one run's error end a sweep": tuple(
        Edit(Reconciler, step, "except Exception", "except ZeroDivisionError") for step in ("_look", "_catch_up_with")
    ),
    "counts a guard that is still held as a death": (
        Edit(CatchUp, "_begin_guarded", "guard is not None and _is_past(guard.until, now)", "guard is not None"),
    ),
    # ------------------------------------------------------------ writing, and slices
    "starts only those slices again that are behind": tuple(
        Edit(
            owner,
            "restart",
            "even_parked or goes_on(each, before.extensions.get(each.name))",
            "(piece := before.extensions.get(each.name)) is None or is_behind(each, piece, before.sequence)",
        )
        for owner in (rules, catch_up)
    ),
    "lets slices that stay go on when the run is another one": tuple(
        Edit(owner, "restart", "outdated=True", "outdated=False") for owner in (rules, catch_up)
    ),
}

RATES = {
    "trusts the revision of a state item": Rates(break_state=0.2),
    "counts the writes of a state item": Rates(break_state=0.2, restore_state=0.2),
    "goes on with a slice that saw the run before its record came": Rates(rebuild=0.5),
    "lets one run's error end a sweep": Rates(odd_error=0.1, sweep=0.3),
    "ignores the tombstone of a log": Rates(delete=0.2, restore_state=0.2),
    "puts no tombstone at the end of a log": Rates(delete=0.3, restore_state=0.3),
    "looks for another history only at commits that it covers whole": Rates(restore_log=0.3),
    "counts a guard that is still held as a death": Rates(sweep=0.5, lost_record=0.5, stall=0.3),
    "brings deleted runs back": Rates(delete=0.3, throttle=0.2, stall=0.05, late_record=0.1),
    "sweeps without a look at the record": Rates(lost_record=0.3),
    "begins another run without a look at its deadline": Rates(slow_invocation=1.0, late_record=0.2),
    "reads a log to its end without a look at its deadline": Rates(
        slow_invocation=0.5, short_page=1.0, late_record=0.2, cold_start=0.5
    ),
}
"""Of faults, for mutants that show themselves in rare encounters only: a delete is held up half-way, a late record lost."""

FIRST_SEEDS = {
    "saves without the condition on the revision": 2,
    "folds duplicates": 2,
    "takes the commits of a batch as they come": 31,
    "goes on with a slice of another version": 1,
    "sweeps without a look at the record": 21,
    "goes on with a slice that saw another reducer's run": 13,
    "goes on with an outdated slice": 13,
    "fails where an extension raises": 2,
    "says of a parked slice that it has come as far as the core": 2,
    "tries a parked slice at every event": 2,
    "leaves a parked slice to its version": 6,
    "resumes the core alone": 10,
    "reads the log as it may have been a moment ago": 5,
    "reads states as they may have been a moment ago": 10,
    "does not ask again for keys that were left unprocessed": 4,
    "drops the slices of extensions that are not installed": 2,
    "replaces a state by one that covers less": 8,
    "takes a log without beginning for a whole one": 4,
    "forgets that a state was folded with its record": 4,
    "folds across a gap": 9,
    "does not go on where a log has lost its beginning": 9,
    "does not notice that a log has another history": 6,
    "folds commits of two histories that come in one batch": 28,
    "ignores the tombstone of a log": 2,
    "trusts what lies in a state item": 3,
    "lets one run's error end its batch": 1,
    "counts a guard that is still held as a death": 3,
    "lets slices that stay go on when the run is another one": 2,
    "looks for another history only at commits that it covers whole": 6,
    "goes on with a slice that saw the run before its record came": 3,
}
"""With which to begin, where that is known to be quicker than with 0."""


def mutate(monkeypatch: pytest.MonkeyPatch, *edits: Edit) -> None:
    """Make the edits, until the test is over."""
    for owner, name in dict.fromkeys((edit.owner, edit.function) for edit in edits):
        function = getattr(owner, name)
        source = textwrap.dedent(inspect.getsource(function))
        for edit in edits:
            if (edit.owner, edit.function) == (owner, name):
                assert source.count(edit.old) == 1, f"{name} has {edit.old!r} {source.count(edit.old)} times, not once"
                source = source.replace(edit.old, edit.new)
        code = compile(source, f"<mutant of {name}>", "exec", __future__.annotations.compiler_flag, dont_inherit=True)
        made: dict[str, Any] = {}
        exec(code, function.__globals__, made)
        monkeypatch.setattr(owner, name, made[name])
