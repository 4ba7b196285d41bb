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

from behest_core.dynamodb import event_table, state_table
from behest_core.dynamodb.event_table import EventLog
from behest_core.dynamodb.state_table import StateTable
from behest_core.fold import rules, slices
from behest_core.fold.slices import Slices
from behest_core.projection import projector
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
        Edit(rules, "_decide", " or progress.checkpoint >= commits[-1].last", ""),
        Edit(rules, "_fold_on", "if known < commit.count:", "if True:"),
        Edit(
            rules,
            "_fold_on",
            "_apply(state, commit, known, dispatch, slices)",
            "_apply(state, commit, 0, dispatch, slices)",
        ),
    ),
    "takes the commits of a batch as they come": (
        Edit(projector, "_by_run", "work.commits.sort(key=lambda commit: commit.sequence)", "pass"),
    ),
    "does not read the log on a gap": (
        Edit(
            Projector, "_try", "if decision.next is Next.READ:", "if decision.next is Next.READ and not work.commits:"
        ),
    ),
    "brings deleted runs back": (Edit(rules, "_progress", "state.deleted_at is not None or", "False or"),),
    "takes its own repeated append for another's": (
        Edit(EventLog, "_put", 'if found.get(items.COMMIT_ID) != {"S": commit.commit_id}:', "if True:"),
    ),
    "tries a commit again where the log ends by now": (
        Edit(EventLog, "append_pending", "if pending.tried_at is None:", "if True:"),
    ),
    "does not let a slice catch up that is behind": (
        Edit(rules, "_progress", "if dispatch.extensions and is_behind(state, dispatch):", "if False:"),
    ),
    "goes on with a slice of another version": (
        Edit(slices, "_checkpoint", "or piece.version != extension.version ", ""),
    ),
    "tells a slice of events that it has folded": (
        Edit(Slices, "_tell", " or (live.checkpoint > self._start and self._has_folded(live))", ""),
    ),
    "does not tell a slice again that was not waiting for a while": (
        Edit(Slices, "_switch", "handler = self._tell", "pass"),
    ),
    "folds a slice's last event again": (
        Edit(slices, "_checkpoint", "return piece.sequence", "return max(piece.sequence - 1, 0)"),
    ),
    "sweeps without a look at the record": (
        Edit(Reconciler, "_lacks_its_record", "record is not None and is_news(record, state)", "False"),
    ),
    "goes on with a slice that saw the run before its record came": (
        Edit(rules, "_fold_again", " or (first.is_record and _brings_news(first, before))", ""),
    ),
    "goes on with a slice that saw another reducer's run": (
        Edit(rules, "_fold_again", "is_of_another_reducer(before) or ", ""),
    ),
    "goes on with an outdated slice": (Edit(slices, "_checkpoint", " or piece.outdated", ""),),
    "fails where an extension raises": (
        Edit(
            Slices,
            "_tell",
            'self._park(live, error, f"raised by {handler.__name__} of extension {live.extension.name}")',
            "raise",
        ),
    ),
    "says of a parked slice that it has come as far as the core": (
        Edit(Slices, "store", "sequence=live.reached", "sequence=self._run.sequence"),
    ),
    "tries a parked slice at every event": (
        Edit(slices, "_goes_on", " or piece.parked.version != extension.version", " or True"),
    ),
    "leaves a parked slice to its version": (
        Edit(slices, "_goes_on", " or piece.parked.version != extension.version", ""),
    ),
    "resumes the core alone": (Edit(Projector, "_made_ready", "replace(piece, parked=None) if", "piece if"),),
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
        Edit(Projector, "_bring_up", "if remaining() < _RESERVE_SECONDS:", "if False:"),
    ),
    "reads a log to its end without a look at its deadline": (
        Edit(Projector, "_read", "if remaining() < _RESERVE_SECONDS:", "if False:"),
    ),
    "drops the slices of extensions that are not installed": (
        Edit(rules, "_fold_again", "dict(before.extensions)", "{}"),
    ),
}

RATES = {
    "brings deleted runs back": Rates(delete=0.3, throttle=0.2, stall=0.05, late_record=0.1),
    "sweeps without a look at the record": Rates(lost_record=0.3),
    "begins another run without a look at its deadline": Rates(slow_invocation=0.5, late_record=0.2),
    "reads a log to its end without a look at its deadline": Rates(
        slow_invocation=0.5, short_page=1.0, late_record=0.2, cold_start=0.5
    ),
}
"""Of faults, for mutants that show themselves in rare encounters only: a delete is held up half-way, a late record lost."""

FIRST_SEEDS = {
    "takes the commits of a batch as they come": 4,
    "tries a parked slice at every event": 1,
    "goes on with a slice that saw another reducer's run": 1,
    "fails where an extension raises": 2,
    "says of a parked slice that it has come as far as the core": 1,
    "leaves a parked slice to its version": 4,
    "resumes the core alone": 4,
    "drops the slices of extensions that are not installed": 1,
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
