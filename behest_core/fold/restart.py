"""Folding a run again from the beginning of its log: what starts anew with it, and what stays as it is.

- The core starts blank, and with it every extension that is installed and not parked. The fold is deterministic: one that was
  not behind ends where it was.
- The slice of an extension that is not installed here, or is parked, stays. It is marked as outdated where the run becomes
  another one, because its reducer has another version, its record comes only now, or its log has another history: its handlers
  saw a run that is no more.
- Nothing of what is stored is changed: whoever can't come as far again keeps it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from behest_core.fold.reducer import REDUCER_VERSION
from behest_core.model.state import RunState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from behest_core.fold.extension import Extension
    from behest_core.model.state import ExtensionSlice


def goes_on(extension: Extension, piece: ExtensionSlice | None) -> bool:
    """Return whether an extension has something to do on a run: not where this version of it is parked."""
    return piece is None or piece.parked is None or piece.parked.version != extension.version


def is_behind(extension: Extension, piece: ExtensionSlice | None, sequence: int) -> bool:
    """Return whether an extension that goes on can't do so from the run's sequence: it has to see the run from the beginning."""
    if piece is None:
        return sequence > 0
    return (
        piece.version != extension.version or piece.parked is not None or piece.outdated or piece.sequence != sequence
    )


def restart(
    before: RunState, extensions: Iterable[Extension], *, even_parked: bool = False, is_another_run: bool = False
) -> RunState:
    """Return the blank state into which a run is folded again.

    With `even_parked`, parked extensions start again too. `is_another_run` says that the run record was not known before, or that
    the log has another history.
    """
    starting = {each.name for each in extensions if even_parked or goes_on(each, before.extensions.get(each.name))}
    staying = {name: piece for name, piece in before.extensions.items() if name not in starting}
    if is_another_run or before.reducer_version != REDUCER_VERSION:
        staying = {name: replace(piece, outdated=True) for name, piece in staying.items()}
    return RunState(run_id=before.run_id, revision=before.revision, reducer_version=REDUCER_VERSION, extensions=staying)
