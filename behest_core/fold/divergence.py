"""Whether a log holds another history than the one that a state was folded from: the commit that the state ends with tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from behest_core.model.commit import identity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from behest_core.model.commit import Commit
    from behest_core.model.state import RunState


def has_diverged(state: RunState, last: Commit | None, now: datetime) -> bool:
    """Return whether the log holds another commit where the state ends, or ends before. One that holds nothing has expired.

    `last` is the last of the log's commits that begin where the state ends, or before.
    """
    if state.commit_id is None or last is None:
        return False
    if last.last < state.sequence:
        return not may_have_expired(last.expires_at, now)
    return identity(last.commit_id) != state.commit_id


def may_have_expired(expires_at: int | None, now: datetime) -> bool:
    """Return whether what came behind a commit may have expired, though the commit is still there.

    DynamoDB deletes what has expired in no order, but not before. What was appended later expires later.
    """
    return expires_at is not None and expires_at <= now.timestamp()


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
