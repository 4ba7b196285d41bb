"""record: passes an agent's AG-UI events on, and records the run.

- The run begins with RUN_STARTED: its `runId` is the run's id, its `threadId` the session. One stream may bring several runs, one
  after the other.
- A run that brings the answers to another one's interrupts says so in both logs. They are in its input: the one that is given, or
  that RUN_STARTED repeats. `parentRunId` is then the run that waited.
- It ends with RUN_FINISHED or RUN_ERROR. An exception of the agent is RunFailed. A stream that just ends is RunFailed too, as
  nobody stopped it. RunCancelled is what stops it from outside: a cancelled task, or a consumer that closes the stream.
- A RUN_ERROR before any run is a run of its own, with a new id. One after RUN_FINISHED lets the run start again, and fail.
- Nothing else is recorded outside of a run, and nothing of a run that somebody else of this process records.
- Nothing here raises into the agent. What goes wrong is in the log `behest_core`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Self, TypeVar

from ag_ui.core import AssistantMessage, RunErrorEvent, RunFinishedEvent, RunStartedEvent

from behest_ag_ui.assembly import Assembly
from behest_ag_ui.translation import UNKNOWN, AGUIEvent, parsed, time_of
from behest_core.model.events import RunStarted
from behest_core.model.timestamps import from_datetime
from behest_core.recording.adapter import END_WAIT, begin, checked, id_of, resume, stop, unobtrusive
from behest_core.recording.failures import error_text

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Mapping
    from types import TracebackType
    from typing import Unpack

    from ag_ui.core import ResumeEntry, RunAgentInput

    from behest_core.recording.adapter import RecorderSettings, Store
    from behest_core.recording.recorder import RunRecorder

E = TypeVar("E", bound=AGUIEvent)

_NO_END: Final = "the stream ended without RUN_FINISHED or RUN_ERROR"


async def record(  # noqa: PLR0913 (what is known of an agent)
    events: AsyncIterable[E],
    store: Store,
    *,
    provider: str = UNKNOWN,
    model: str = UNKNOWN,
    run_input: RunAgentInput | None = None,
    metadata: Mapping[str, object] | None = None,
    **settings: Unpack[RecorderSettings],
) -> AsyncGenerator[E, None]:
    """Pass on each event, unchanged and at once, and record the run.

    `events` are objects of `ag_ui.core`, or JSON objects, before they are encoded. `provider` and `model` are the agent's: the
    protocol doesn't tell them before the end. `run_input` is what the agent was asked: it has the answers to a pause. `metadata`
    is for the run's record. `settings` are those of `RunRecorder`.
    """
    recording = _Recording(store, provider, model, run_input, metadata or {}, checked(settings))
    source = aclosing(events) if isinstance(events, AsyncGenerator) else nullcontext()
    async with recording, source:
        async for event in events:
            recording.take(event)
            yield event


class _Recording:
    """Records the runs of one stream, one after the other."""

    def __init__(  # noqa: PLR0913, PLR0917 (what `record` is given)
        self,
        store: Store,
        provider: str,
        model: str,
        run_input: RunAgentInput | None,
        metadata: Mapping[str, object],
        settings: RecorderSettings,
    ) -> None:
        self._store = store
        self._provider = provider
        self._model = model
        self._input = run_input
        self._metadata = metadata
        self._settings = settings
        self._run: RunRecorder | None = None  # the latest
        self._is_open = self._is_left_alone = False
        self._assembly = Assembly()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end(error)
        with unobtrusive():
            if self._run is not None:
                await self._run.aclose(END_WAIT)

    @unobtrusive()
    def take(self, event: AGUIEvent) -> None:
        """Record what the event says."""
        seen = parsed(event)
        if isinstance(seen, RunStartedEvent):
            self._begin(seen)
            return
        if isinstance(seen, RunErrorEvent) and not self._is_open and not self._is_left_alone:
            self._begin_again(seen)
        if seen is None or self._run is None or not self._is_open:
            return
        for each in self._assembly.take(seen):
            self._run.emit(each)
        if isinstance(seen, RunFinishedEvent | RunErrorEvent):
            self._is_open = False

    def _begin(self, event: RunStartedEvent) -> None:
        """Begin to record the run."""
        if self._run is not None:
            self._end(None)
            self._run.close(timeout=0)
        self._is_left_alone = True  # until it is known that nobody else records it
        run_input = self._input_of(event)
        answers = _answers(run_input)
        parent = event.parent_run_id or (run_input.parent_run_id if run_input else None)
        about = {} if answers or not parent else {"parent_run_id": id_of(parent)}
        self._start(event.run_id, event.thread_id, about, at=from_datetime(time_of(event)), names=_names(run_input))
        if answers and self._run is not None:
            resume(self._store, self._run, answers, paused=parent)

    def _input_of(self, event: RunStartedEvent) -> RunAgentInput | None:
        if event.input is not None:
            return event.input
        return self._input if self._input is not None and self._input.run_id == event.run_id else None

    def _begin_again(self, event: RunErrorEvent) -> None:
        """Let the run that has ended start again, so that it can fail; without one, begin one."""
        at = from_datetime(time_of(event))
        if self._run is None:
            self._start(at=at)
            return
        about = self._run.record
        self._run.emit(
            RunStarted(session_id=about.session_id, provider=about.provider, model=about.model, timestamp=at)
        )
        self._open()

    def _start(
        self,
        run_id: str | None = None,
        thread_id: str | None = None,
        about: Mapping[str, object] | None = None,
        *,
        at: str | None = None,
        names: Mapping[str, str] | None = None,
    ) -> None:
        self._run = begin(
            self._store,
            "ag-ui",
            run_id,
            provider=self._provider,
            model=self._model,
            session_id=thread_id,
            metadata={**(about or {}), **self._metadata},
            started_at=at,
            settings=self._settings,
        )
        self._is_left_alone = False
        self._open(names)

    def _open(self, names: Mapping[str, str] | None = None) -> None:
        self._assembly = Assembly(has_content=self._run is None or self._run.has_content, names=names)
        self._is_open = True

    @unobtrusive()
    def _end(self, error: BaseException | None) -> None:
        """Record that the stream ended here, where that ends the run."""
        if self._run is None and isinstance(error, Exception) and not self._is_left_alone:
            self._start()
        if self._run is None or not self._is_open:
            return
        self._is_open = False
        for each in self._assembly.end(datetime.now(UTC), _NO_END if error is None else error_text(error)):
            self._run.emit(each)
        if error is None:
            self._run.failed(_NO_END)
        else:
            stop(self._run, error)


def _answers(run_input: RunAgentInput | None) -> dict[str, str]:
    """Return what a run is told of the interrupts that it waited for, by their ids, in behest's words."""
    entries = run_input.resume if run_input is not None and run_input.resume else []
    return {each.interrupt_id: _answer(each) for each in entries}


def _answer(entry: ResumeEntry) -> str:
    """Return whether an approval was given. That it was is what the protocol's guide has in its answers: `approved`."""
    if entry.status == "cancelled":
        return "denied"
    approved = entry.payload.get("approved") if isinstance(entry.payload, dict) else None
    if isinstance(approved, bool):
        return "granted" if approved else "denied"
    return "answered"


def _names(run_input: RunAgentInput | None) -> dict[str, str]:
    """Return the names of the tools that were called before, by call id."""
    messages = [] if run_input is None else run_input.messages
    called = [call for each in messages if isinstance(each, AssistantMessage) for call in each.tool_calls or []]
    return {call.id: call.function.name for call in called}
