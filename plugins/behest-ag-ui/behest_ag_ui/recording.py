"""record: passes an agent's AG-UI events on, and records the run.

- The run begins with RUN_STARTED: its `runId` is the run's id, its `threadId` the session. One stream may bring several runs, one
  after the other.
- It ends with RUN_FINISHED or RUN_ERROR. An exception of the agent is RunFailed. A stream that just ends is RunFailed too, as
  nobody stopped it. RunCancelled is what stops it from outside: a cancelled task, or a consumer that closes the stream.
- A RUN_ERROR before any run is a run of its own, with a new id. One after RUN_FINISHED lets the run start again, and fail.
- Nothing else is recorded outside of a run.
- Nothing here raises into the agent. What goes wrong is in the log `behest_core`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, nullcontext
from typing import TYPE_CHECKING, Final, Self, TypeVar

from ag_ui.core import RunErrorEvent, RunFinishedEvent, RunStartedEvent

from behest_ag_ui.assembly import Assembly
from behest_ag_ui.translation import UNKNOWN, AGUIEvent, parsed
from behest_core.model.events import RunStarted
from behest_core.model.timestamps import now
from behest_core.recording.adapter import END_WAIT, begin, checked, id_of, stop, unobtrusive

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Mapping
    from types import TracebackType
    from typing import Unpack

    from behest_core.recording.adapter import RecorderSettings, Store
    from behest_core.recording.recorder import RunRecorder

E = TypeVar("E", bound=AGUIEvent)

_NO_END: Final = "the stream ended without RUN_FINISHED or RUN_ERROR"


async def record(
    events: AsyncIterable[E],
    store: Store,
    *,
    provider: str = UNKNOWN,
    model: str = UNKNOWN,
    metadata: Mapping[str, object] | None = None,
    **settings: Unpack[RecorderSettings],
) -> AsyncGenerator[E, None]:
    """Pass on each event, unchanged and at once, and record the run.

    `events` are objects of `ag_ui.core`, or JSON objects, before they are encoded. `provider` and `model` are the agent's: the
    protocol doesn't tell them. `metadata` is for the run's record. `settings` are those of `RunRecorder`.
    """
    recording = _Recording(store, provider, model, metadata, settings)
    source = aclosing(events) if isinstance(events, AsyncGenerator) else nullcontext()
    async with recording, source:
        async for event in events:
            recording.take(event)
            yield event


class _Recording:
    """Records the runs of one stream, one after the other."""

    def __init__(
        self,
        store: Store,
        provider: str,
        model: str,
        metadata: Mapping[str, object] | None,
        settings: RecorderSettings,
    ) -> None:
        self._store = store
        self._provider = provider
        self._model = model
        self._metadata = metadata or {}
        self._settings = checked(settings)
        self._run: RunRecorder | None = None  # the latest
        self._is_open = False
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
        if isinstance(seen, RunErrorEvent) and not self._is_open:
            self._begin_again()
        if seen is None or self._run is None or not self._is_open:
            return
        for each in self._assembly.take(seen):
            self._run.emit(each)
        if isinstance(seen, RunFinishedEvent | RunErrorEvent):
            self._is_open = False

    def _begin(self, event: RunStartedEvent | None) -> None:
        """Begin to record the run; without an event, one that nobody started."""
        if self._run is not None:
            self._end(None)
            self._run.close(timeout=0)
        parent = {} if event is None or event.parent_run_id is None else {"parent_run_id": id_of(event.parent_run_id)}
        self._run = begin(
            self._store,
            "ag-ui",
            None if event is None else event.run_id,
            provider=self._provider,
            model=self._model,
            session_id=None if event is None else event.thread_id,
            metadata={**parent, **self._metadata},
            settings=self._settings,
        )
        self._open()

    def _begin_again(self) -> None:
        """Let the run that has ended start again, so that it can fail; without one, begin one."""
        if self._run is None:
            self._begin(None)
            return
        about = self._run.record
        self._run.emit(
            RunStarted(session_id=about.session_id, provider=about.provider, model=about.model, timestamp=now())
        )
        self._open()

    def _open(self) -> None:
        self._assembly = Assembly()
        self._is_open = True

    @unobtrusive()
    def _end(self, error: BaseException | None) -> None:
        """Record that the stream ended here, where that ends the run."""
        if self._run is None and isinstance(error, Exception):
            self._begin(None)
        if self._run is None or not self._is_open:
            return
        self._is_open = False
        if error is None:
            self._run.failed(_NO_END)
        else:
            stop(self._run, error)
