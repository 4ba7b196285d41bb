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

from behest_core import fold, projector
from behest_core.event_log import EventLog
from behest_core.projector import Projector
from behest_core.state_table import StateTable
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
            "self._client.put_item(**request)",
            'self._client.put_item(TableName=self.table, Item=request["Item"])',
        ),
    ),
    "folds duplicates": (
        Edit(fold, "_decide", " or progress.checkpoint >= commits[-1].last", ""),
        Edit(fold, "_fold_on", "if known < commit.count:", "if True:"),
        Edit(
            fold,
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
    "brings deleted runs back": (Edit(fold, "_progress", "state.deleted_at is not None or", "False or"),),
    "takes its own repeated append for another's": (
        Edit(EventLog, "_put", 'if found.get(codec.COMMIT_ID) != {"S": commit.commit_id}:', "if True:"),
    ),
}

RATES = {"brings deleted runs back": Rates(delete=0.3, throttle=0.2, stall=0.05, late_record=0.1)}
"""Of faults, for mutants that show themselves in rare encounters only: here that a delete is held up half-way."""


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
