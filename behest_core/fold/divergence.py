"""Whether a log holds another history than the one that a state was folded from: the commit that the state ends with tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from behest_core.model.commit import identity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from behest_core.model.commit import Commit
    from behest_core.model.state import RunState


def has_diverged(state: RunState, last: Commit | None) -> bool:
    """Return whether the log holds another commit where the state ends. One that holds nothing there has expired.

    `last` is the last of the log's commits that begin where the state ends, or before.
    """
    if state.commit_id is None or last is None:
        return False
    if last.is_record and state.sequence > 0 and last.expires:
        return False  # the rest has expired: DynamoDB deletes in no order
    return last.last < state.sequence or identity(last.commit_id) != state.commit_id


class Along:
    """The commits of a log, as they are read. `last` is the last of those so far that begin where the state ends, or before."""

    def __init__(self, commits: Iterable[Commit], state: RunState) -> None:
        self.last: Commit | None = None
        self._commits = commits
        self._sequence = state.sequence

    def __iter__(self) -> Iterator[Commit]:
        for commit in self._commits:
            if commit.sequence <= self._sequence:
                self.last = commit
            yield commit
