"""What is known of a run: its record when it is created, its state ever after.

The seed's fields come first and mean what they mean there (behest 0.3.3, `RunState`). Below them is what a stored, folded state
needs: how far the fold has come, which reducer folded it, and whether it is parked.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import UNSET, Raw, Struct, UnsetType, field
from msgspec.json import decode, encode
from msgspec.structs import replace

from behest_core.errors import InvalidValueError
from behest_core.model.json import JSON, AnyJSON, JSONObject
from behest_core.model.limits import ERROR_BYTES, MESSAGE_BYTES, Count, beginning
from behest_core.model.timestamps import is_canonical, to_datetime

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


class RunStatus(StrEnum):
    """Where a run is. The fold sets six of them; the seed's own store sets the other three, and so keeps them apart."""

    PENDING = "Pending"
    SESSION_LOADED = "SessionLoaded"
    BUILDING_CONTEXT = "BuildingContext"
    CALLING_MODEL = "CallingModel"
    WAITING_FOR_TOOLS = "WaitingForTools"
    PERSISTING = "Persisting"
    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCELLED = "Cancelled"

    @property
    def is_terminal(self) -> bool:
        """Whether a run ends here. A later event may still move it on: the fold judges nothing."""
        return self in _TERMINAL


def status_of(text: RunStatus | str) -> RunStatus:
    """Return the status of a name, in capitals or not. Raises InvalidValueError where there is none."""
    for status in RunStatus:
        if status.lower() == text.lower():
            return status
    raise InvalidValueError("status", f"{text!r} is none; there are {', '.join(RunStatus)}")


FOLDED_STATUSES = (
    RunStatus.PENDING,
    RunStatus.SESSION_LOADED,
    RunStatus.CALLING_MODEL,
    RunStatus.COMPLETED,
    RunStatus.FAILED,
    RunStatus.CANCELLED,
)
"""Those that the fold sets."""

_TERMINAL = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED})

ACTIVE_STATUSES = tuple(status for status in FOLDED_STATUSES if not status.is_terminal)
"""Those of a run that goes on."""


class FinishReason(StrEnum):
    """Why the model stopped, where the seed has a word for it."""

    STOP = "stop"
    TOOL_CALLS = "tool_calls"
    LENGTH = "length"
    CONTENT_FILTER = "content_filter"
    ERROR = "error"


class UnknownFinishReason(Struct, frozen=True, gc=False):
    """A finish reason the seed has no word for, as the provider wrote it: ``{"unknown": "pause_turn"}``."""

    unknown: str


class TokenUsage(Struct, gc=False):
    """Tokens used, by one model call or by a whole run. The cache fields are absent until something records them."""

    input_tokens: Count
    output_tokens: Count
    total_tokens: Count = 0
    cache_creation_input_tokens: Count | UnsetType = UNSET
    cache_read_input_tokens: Count | UnsetType = UNSET
    cached_input_tokens: Count | UnsetType = UNSET


_WAITS_SINCE = b'"waits_for_person_since"'
"""The field by which a plugin's slice says since when a person is waited for."""

CORE_FOLD = "core"
"""What the core is called beside extensions; none of them can have the name."""


class Attempt(Struct, frozen=True, kw_only=True):
    """A fold that failed: where, by which version of the reducer, why, and when (RFC 3339). `message` has no payload."""

    sequence: Count
    error: str
    message: str
    version: int
    at: str = ""


class Parked(Struct, frozen=True, kw_only=True):
    """Why a fold has stopped before the end of its log.

    `sequence` is the position that can't be folded, `version` the version of the reducer that could not, `error` the class of
    the error and `message` its text without payload, the beginning of each; all of the latest attempt. `parked_at` is when it
    was parked first, in RFC 3339, `attempts` how often it was tried since, `earlier` the attempts before the latest, four at
    most, oldest first.
    """

    sequence: Count
    error: str
    message: str
    version: int
    at: str = ""
    parked_at: str = ""
    attempts: int = 1
    earlier: list[Attempt] = field(default_factory=list)

    @classmethod
    def by(cls, sequence: int, error: str, message: str, version: int) -> Parked:
        """Return why a fold has stopped, in as many bytes as a state item has for it."""
        return cls(
            sequence=sequence,
            error=beginning(error, ERROR_BYTES),
            message=beginning(message, MESSAGE_BYTES),
            version=version,
        )

    def after(self, before: Parked | None, now: str) -> Parked:
        """Return this, seen now, with what is known of the attempts before."""
        if before is None:
            return replace(self, at=now, parked_at=now)
        last = Attempt(
            sequence=before.sequence, error=before.error, message=before.message, version=before.version, at=before.at
        )
        earlier = [*before.earlier, last][-_EARLIER_ATTEMPTS:]
        return replace(self, at=now, parked_at=before.parked_at, attempts=before.attempts + 1, earlier=earlier)


_EARLIER_ATTEMPTS = 4


class ExtensionSlice(Struct, kw_only=True, omit_defaults=True, eq=False):
    """A plugin's slice of a run's state.

    `raw` is what its handlers made, as JSON: nobody looks at it between two folds. `state` is the same as JSON values, new ones
    each time. `sequence` is how far the handlers have come, `version` the extension's. `parked` says why it has stopped, where it
    has. `outdated` is set where the core has started again without the extension: as its handlers saw another run, it starts
    again too when it goes on.
    """

    raw: Raw = field(name="state")
    sequence: int
    version: int
    parked: Parked | None = None
    outdated: bool = False

    @classmethod
    def of(
        cls, state: JSON, *, sequence: int, version: int, parked: Parked | None = None, outdated: bool = False
    ) -> ExtensionSlice:
        """Return a slice of JSON values."""
        return cls(raw=Raw(encode(state)), sequence=sequence, version=version, parked=parked, outdated=outdated)

    @property
    def state(self) -> AnyJSON:
        """What the handlers made, as JSON values."""
        state: AnyJSON = decode(self.raw)
        return state

    def __repr__(self) -> str:
        parked = "" if self.parked is None else f", parked={self.parked!r}"
        return f"ExtensionSlice(state={self.state!r}, sequence={self.sequence}, version={self.version}{parked})"

    def __eq__(self, other: object) -> bool:
        """Compare as JSON values: in an item the order of keys is lost, and a whole number is no float."""
        if not isinstance(other, ExtensionSlice):
            return NotImplemented
        rest = (self.sequence, self.version, self.parked, self.outdated)
        return rest == (other.sequence, other.version, other.parked, other.outdated) and (
            bytes(self.raw) == bytes(other.raw) or self.state == other.state
        )

    __hash__ = None  # type: ignore[assignment]  # it changes


class Guard(Struct, frozen=True, kw_only=True):
    """A fold under way that may kill its process: who began it, and when he is dead if he hasn't come back (RFC 3339).

    `deaths` counts those before him that never came back.
    """

    owner: str
    until: str
    deaths: int = 0


class Waiting(Struct, frozen=True, kw_only=True):
    """What a run waits for: the last agent.Paused that nobody has answered.

    `since` is its time, in the form that sorts; `reason` the beginning of its reason. `pending` are the ids of what it waits
    for: the first 32, without those that are too long to be kept whole.
    """

    since: str
    reason: str = ""
    pending: list[str] = field(default_factory=list)


class Annotations(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was noted of a run after it was created. `metadata` is beside the run record's own, which never changes."""

    tags: list[str] = []
    metadata: dict[str, AnyJSON] = {}


class RunState(Struct, JSONObject, kw_only=True, repr_omit_defaults=True):
    """The fold of a run's record and events.

    The seed's fields, from `run_id` to `updated_at`, then:

    - `sequence`: the checkpoint, the last sequence folded; 0 where only the record was.
    - `revision`: which write of the state item it is, a number that grows with each; 0 for a state that was never stored.
    - `reducer_version`: the version of the reducer that folded it.
    - `parked`: None, or why the fold has stopped.
    - `extensions`: plugins' slices by name.
    - `annotations`: None, or what was noted of the run since it was created.
    - `decisions`: how many answers of persons `RunStore.decide` recorded.
    - `waiting`: None, or what the run waits for until a person answers. Only an active run waits.
    - `ended_at`: None, or when the run ended: the time of its last terminal event, in the form that sorts. None again where the
      run goes on.
    - `has_record`: whether the run record was folded; a run needs none.
    - `commit_id`: what identifies the commit that `sequence` lies in, so that a log with another history is noticed.
    - `guard`: None, or who is folding the run, where that may kill a process.
    - `deleted_at`: None, or when the run was deleted (RFC 3339). Nothing else is left of it then.

    `session_id`, `provider` and `model` are None for a run without record until its RunStarted. `created_at` has nine
    fractional digits, because it is a sort key; `updated_at` is the last event's time as written. Not frozen: the fold works in
    place, and gives no state away before it is done with it.
    """

    run_id: str
    session_id: str | None = None
    status: RunStatus = RunStatus.PENDING
    provider: str | None = None
    model: str | None = None
    metadata: AnyJSON = None
    iteration: int = 0
    total_usage: TokenUsage = field(default_factory=lambda: TokenUsage(0, 0))
    last_finish: FinishReason | UnknownFinishReason | None = None
    last_error: str | None = None
    event_count: int = 0
    created_at: str | None = None
    updated_at: str | None = None
    sequence: int = 0
    revision: int = 0
    reducer_version: int = 0
    parked: Parked | None = None
    extensions: dict[str, ExtensionSlice] = field(default_factory=dict)
    waiting: Waiting | None = None
    ended_at: str | None = None
    has_record: bool = False
    annotations: Annotations | None = None
    decisions: int = 0
    commit_id: str | None = None
    guard: Guard | None = None
    deleted_at: str | None = None

    @property
    def parks(self) -> dict[str, Parked]:
        """Why folds have stopped, by extension; the core's under the name ``core``."""
        parks = {name: piece.parked for name, piece in self.extensions.items() if piece.parked is not None}
        return parks if self.parked is None else {CORE_FOLD: self.parked, **parks}

    def slice_of(self, name: str) -> dict[str, JSON]:
        """Return a plugin's slice as JSON values, new ones each time; empty where the run has none of it."""
        found = self.extensions.get(name)
        state = found.state if found is not None else None
        return state if isinstance(state, dict) else {}

    @property
    def waiting_since(self) -> str | None:
        """Since when the run waits for a person, in the form that sorts; None where it doesn't, or is over.

        That is its pause, or what a plugin's slice says in a field `waits_for_person_since`: the earliest of them.
        """
        if self.status.is_terminal:
            return None
        since = [] if self.waiting is None else [self.waiting.since]
        for name, piece in self.extensions.items():
            if _WAITS_SINCE in bytes(piece.raw):
                said = self.slice_of(name).get("waits_for_person_since")
                if isinstance(said, str) and is_canonical(said):
                    since.append(said)
        return min(since, default=None)

    def stamped(self, before: Mapping[str, Parked], now: str) -> RunState:
        """Note of what was parked by this fold that it was now, and what is known of the attempts before; return the state."""
        if self.parked is not None and not self.parked.at:
            self.parked = self.parked.after(before.get(CORE_FOLD), now)
        for name, piece in self.extensions.items():
            if piece.parked is not None and not piece.parked.at:
                piece.parked = piece.parked.after(before.get(name), now)
        return self

    @property
    def is_blank(self) -> bool:
        """Whether nothing was folded yet: a guarded fold has begun, or something broke the item."""
        return self.created_at is None and self.parked is None and self.deleted_at is None

    @property
    def created(self) -> datetime | None:
        """`created_at` as an aware `datetime`, cut to microseconds."""
        return to_datetime(self.created_at) if self.created_at else None

    @property
    def updated(self) -> datetime | None:
        """`updated_at` as an aware `datetime`, cut to microseconds. Raises ValueError where a writer put no RFC 3339 time."""
        return to_datetime(self.updated_at) if self.updated_at else None
