"""The seed's event types, and what every event has; agent_events.py has the types that the seed lacks.

An event is a JSON object, internally tagged: ``{"type":"TextDelta","delta":"Hi","timestamp":"2026-01-31T12:00:00Z"}``. The run is
the key of the item it lies in. The seventeen types here and their fields are the seed's (behest 0.3.3), `CacheMetrics` is
of its 0.5.9. A plugin's types have a dotted name, `approvals.Requested`.

Beside the seed's fields are optional ones that say what an event belongs to: the step (`step_id`), the model call
(`model_call_id`). They are absent where nobody said so, and no fold of the core looks at them.

Lenient in, exact out: fields that a class doesn't name stay in the log and are ignored; a type that no class names is an
`UnknownEvent`, which counts and waits for the plugin that knows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Final

from msgspec import UNSET, Struct, UnsetType, field
from msgspec.json import decode

from behest_core.model.json import JSON, AnyJSON, JSONObject
from behest_core.model.limits import Count, Identifier
from behest_core.model.state import TokenUsage, UnknownFinishReason
from behest_core.model.timestamps import Timestamp

if TYPE_CHECKING:
    from typing import TypeAlias


class Timed(Struct, gc=False, kw_only=True, tag_field="type"):
    """What any event is to a fold that looks at none of its fields."""

    timestamp: Timestamp


class Event(Timed, JSONObject, kw_only=True):
    """A fact of a run. Subclasses name their fields; `tag` is the type on the wire.

    `step_id` is the step in which it happened.
    """

    step_id: str | UnsetType = UNSET


class OfModelCall(Event, kw_only=True):
    """An event that may say which model call it belongs to."""

    model_call_id: str | UnsetType = UNSET


class RunStarted(Event, tag="RunStarted"):
    """The run began, with this provider and model."""

    session_id: Identifier
    provider: str
    model: str


class ContextBuilt(Event, tag="ContextBuilt"):
    """The messages for the model were put together."""

    message_count: Count


class ModelStarted(OfModelCall, tag="ModelStarted"):
    """The model was called, for the `iteration`-th time, counted from 1."""

    provider: str
    model: str
    iteration: Count


class TextDelta(OfModelCall, tag="TextDelta"):
    """The model wrote a piece of text."""

    delta: str


class ToolCallStarted(OfModelCall, tag="ToolCallStarted"):
    """The model began to write a tool call."""

    call_id: str
    tool_name: str


class ToolCallDelta(OfModelCall, tag="ToolCallDelta"):
    """The model wrote a piece of a tool call's arguments."""

    call_id: str
    delta: str


class ToolCall(Struct, frozen=True, gc=False):
    """A tool call as the model asked for it."""

    id: str
    name: str
    arguments: JSON


class ToolCallCompleted(OfModelCall, tag="ToolCallCompleted"):
    """The model finished writing a tool call."""

    call: ToolCall


class ToolExecutionStarted(OfModelCall, tag="ToolExecutionStarted"):
    """A tool began to run."""

    call_id: str
    tool_name: str


class ToolSuccess(Struct, frozen=True, gc=False):
    """What a tool returned."""

    output: JSON


class ToolFailure(Struct, frozen=True, gc=False):
    """Why a tool failed."""

    error: str


class ToolExecutionResult(Struct, frozen=True, gc=False):
    """How a tool ended: ``{"Success":{"output":…}}`` or ``{"Failure":{"error":"…"}}``."""

    success: ToolSuccess | UnsetType = field(default=UNSET, name="Success")
    failure: ToolFailure | UnsetType = field(default=UNSET, name="Failure")

    @classmethod
    def ok(cls, output: JSON) -> ToolExecutionResult:
        """Return the result of a tool that succeeded."""
        return cls(success=ToolSuccess(output))

    @classmethod
    def failed(cls, error: str) -> ToolExecutionResult:
        """Return the result of a tool that failed."""
        return cls(failure=ToolFailure(error))


class ToolExecutionFinished(OfModelCall, tag="ToolExecutionFinished"):
    """A tool ended. `duration_ms` is in milliseconds."""

    call_id: str
    tool_name: str
    result: ToolExecutionResult
    duration_ms: Count


class AssistantMessageCommitted(OfModelCall, tag="AssistantMessageCommitted"):
    """The model's message was stored in the session."""

    message_id: str


class ToolMessageCommitted(Event, tag="ToolMessageCommitted"):
    """A tool's answer was stored in the session."""

    message_id: str


class UsageRecorded(OfModelCall, tag="UsageRecorded"):
    """One model call used this many tokens (of this call, not of the run so far).

    `usage.input_tokens` are all that the model was given: those read from a cache or written to it are a part of them. So are
    `reasoning_output_tokens` of the output, and `cache_creation_1h_input_tokens` of what was written to a cache: those that
    are kept for an hour; the rest is kept for five minutes. `provider` and `model` are who answered, where that is known: a
    router, or a fallback, may have chosen another than was asked.
    """

    usage: TokenUsage
    provider: str | UnsetType = UNSET
    model: str | UnsetType = UNSET
    reasoning_output_tokens: Count | UnsetType = UNSET
    cache_creation_1h_input_tokens: Count | UnsetType = UNSET


class CacheMetrics(OfModelCall, tag="CacheMetrics"):
    """What the provider's prompt cache did for one model call, in tokens."""

    cache_creation_input_tokens: Count
    cache_read_input_tokens: Count
    cached_input_tokens: Count


class RunCompleted(Event, tag="RunCompleted"):
    """The run ended well. A `finish_reason` that is plain text beyond the seed's words is folded as unknown."""

    finish_reason: str | UnknownFinishReason
    iterations: Count


class RunFailed(Event, tag="RunFailed"):
    """The run ended in an error."""

    error: str


class RunCancelled(Event, tag="RunCancelled"):
    """The run was stopped by somebody."""


class DoomLoopDetected(Event, tag="DoomLoopDetected"):
    """The agent was seen going round in circles."""

    description: str


class CompactionCircuitOpened(Event, tag="CompactionCircuitOpened"):
    """Compacting the context failed so often that it was given up."""

    consecutive_failures: Count


class UnknownEvent(Struct, JSONObject, frozen=True, gc=False):
    """An event of a type that no installed class names. `raw` is the whole of it, as JSON bytes."""

    type: str
    timestamp: str
    raw: bytes

    def to_dict(self) -> dict[str, AnyJSON]:
        """Return the event as its JSON object."""
        return decode(self.raw, type=dict[str, AnyJSON])


class EncodedEvent(Struct, frozen=True, gc=False):
    """An event as it will lie in the log: its JSON object, checked, with `type` first. `decoding.encode` makes it."""

    type: str
    raw: bytes


NO_SIGN_OF_LIFE: Final = "no sign of life since"
"""What the error of a RunFailed begins with that nobody of the run has written."""

SEED_EVENTS: Final[tuple[type[Event], ...]] = (
    RunStarted,
    ContextBuilt,
    ModelStarted,
    TextDelta,
    ToolCallStarted,
    ToolCallDelta,
    ToolCallCompleted,
    ToolExecutionStarted,
    ToolExecutionFinished,
    AssistantMessageCommitted,
    ToolMessageCommitted,
    UsageRecorded,
    CacheMetrics,
    RunCompleted,
    RunFailed,
    RunCancelled,
    DoomLoopDetected,
    CompactionCircuitOpened,
)

AnyEvent: TypeAlias = Event | UnknownEvent
"""What reading a log gives."""

NewEvent: TypeAlias = Event | UnknownEvent | EncodedEvent | Mapping[str, JSON]
"""What can be appended: an event, one that is encoded already, or the JSON object of one."""


@cache
def type_name(event_class: type[Event]) -> str:
    """Return the type that is written for the class."""
    return str(event_class.__struct_config__.tag)


TERMINAL_TYPES: Final = frozenset(map(type_name, (RunCompleted, RunFailed, RunCancelled)))
"""The types of events that end a run."""
