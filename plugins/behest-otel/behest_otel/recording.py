"""From an agent's spans to its run.

- A span is a part of an agent's work where its attributes say so (attributes.py). One that has no such span above it is a run,
  with an id made of trace and span; all below it is in that run. Spans in between, of HTTP clients and the like, are passed over.
- A span that says what it is when it starts is told when it starts, so that a run under way can be looked at. One that says so
  at its end only is told whole at its end.
- A model's span is a model call: what it was sent, its answer and its tokens are told at its end, as they are known then. A
  tool's span is the tool's execution, and belongs to the call that asked for its id. Every other span is a step, of its kind.
- Tokens mean what OpenTelemetry says, which is what behest says.
- Times are the spans' own, to the nanosecond.
- Nothing of this raises into the agent.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from msgspec import UNSET
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.trace import StatusCode

from behest_core.model.agent_events import ModelFailed, ModelFinished, StepFinished, StepStarted
from behest_core.model.conversation import Told as ToldRequests
from behest_core.model.events import (
    ModelStarted,
    RunCancelled,
    RunCompleted,
    RunFailed,
    TextDelta,
    ToolCall,
    ToolCallCompleted,
    ToolExecutionFinished,
    ToolExecutionResult,
    ToolExecutionStarted,
    UsageRecorded,
)
from behest_core.model.state import TokenUsage
from behest_core.recording.adapter import END_WAIT, begin, checked, unobtrusive
from behest_otel.attributes import RUN_ID, Told, parts_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Unpack

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, Span

    from behest_core.plugins import Event
    from behest_core.recording.adapter import RecorderSettings, Store
    from behest_core.recording.recorder import RunRecorder

_STOPPED: Final = frozenset(
    {"CancelledError", "KeyboardInterrupt", "GeneratorExit", "asyncio.exceptions.CancelledError"}
)


class BehestSpanProcessor(SpanProcessor):
    """Records the agents whose spans it sees: ``tracer_provider.add_span_processor(BehestSpanProcessor(store))``.

    `metadata` is added to each run's, `settings` are those of `RunRecorder`. Can be shared between threads.
    """

    def __init__(
        self, store: Store, *, metadata: Mapping[str, object] | None = None, **settings: Unpack[RecorderSettings]
    ) -> None:
        self._store = store
        self._metadata = metadata or {}
        self._settings = checked(settings)
        self._lock = threading.RLock()
        self._open: dict[int, _Part] = {}

    @unobtrusive()
    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002 (OpenTelemetry's signature)
        """Tell what begins, where the span says already what it is."""
        with self._lock:
            part = _Part(self._above(span))
            self._open[span.get_span_context().span_id] = part
            told = Told.by(span)
            if told.kind is not None:
                self._begin(part, span, told, told.kind)

    @unobtrusive()
    def on_end(self, span: ReadableSpan) -> None:
        """Tell what ended; all of it, where the span didn't say before what it is."""
        with self._lock:
            context = span.get_span_context()
            part = None if context is None else self._open.pop(context.span_id, None)
            if part is None:
                return
            told = Told.by(span)
            if part.kind is None and told.kind is not None:
                self._begin(part, span, told, told.kind)
            if part.run is not None and part.kind is not None:
                part.run.end(part, span, told)

    def shutdown(self) -> None:
        """Close the runs that are under way: nobody tells how they end."""
        with self._lock:
            runs = {id(part.run): part.run for part in self._open.values() if part.run is not None}
            self._open.clear()
        for run in runs.values():
            run.close()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Wait until all that was told is in the log."""
        with self._lock:
            runs = [part.run for part in self._open.values() if part.is_root and part.run is not None]
        for run in runs:
            with unobtrusive():
                run.recorder.flush(timeout_millis / 1000)
        return True

    def _above(self, span: Span) -> _Part | None:
        """Return the part of an agent's work that a span is in, None where it is in none that is known here."""
        above = None if span.parent is None else self._open.get(span.parent.span_id)
        return above if above is None or above.kind is not None else above.above

    def _begin(self, part: _Part, span: ReadableSpan, told: Told, kind: str) -> None:
        above = part.above
        part.kind = kind
        part.span_id = _span_id(span)
        if above is not None and above.run is not None:
            part.run = above.run
        else:
            part.run = self._begin_run(span, told)
            part.is_root = True
        part.run.begin(part, span, told)

    def _begin_run(self, span: ReadableSpan, told: Told) -> _Run:
        context = span.get_span_context()
        trace_id = "" if context is None else f"{context.trace_id:032x}"
        about = {"trace_id": trace_id, "exported_run_id": told.text(RUN_ID)}
        recorder = begin(
            self._store,
            "opentelemetry",
            f"{trace_id}-{_span_id(span)}",
            provider=told.provider,
            model=told.model,
            session_id=told.session_id,
            agent_name=told.agent_name,
            tags=told.tags,
            user_id=told.user_id,
            metadata={**{name: value for name, value in about.items() if value}, **self._metadata},
            settings=self._settings,
        )
        return _Run(recorder)


class _Part:
    """A span that is open: what is above it, and, once it is known to be a part of an agent's work, its run and its kind."""

    def __init__(self, above: _Part | None) -> None:
        self.above = above
        self.run: _Run | None = None
        self.kind: str | None = None
        self.span_id = ""
        self.is_root = False

    @property
    def step_id(self) -> str | None:
        """The step that the part is in: the nearest one above it. The run itself is none."""
        above = self.above
        while above is not None and (above.is_root or above.kind in ("model", "tool")):
            above = above.above
        return None if above is None else above.span_id


class _Run:
    """A run under way, and what of it has to be remembered."""

    def __init__(self, recorder: RunRecorder) -> None:
        self.recorder = recorder
        self._told = ToldRequests()
        self._iterations = 0
        self._asked_by: dict[str, str] = {}  # by tool call, the model call that asked for it

    def begin(self, part: _Part, span: ReadableSpan, told: Told) -> None:
        """Tell that a part begins."""
        at, step_id = _time(span.start_time), part.step_id
        if part.kind == "model":
            self._iterations += 1
            self._emit(
                ModelStarted(
                    provider=told.provider or self.recorder.record.provider,
                    model=told.model or self.recorder.record.model,
                    iteration=self._iterations,
                    model_call_id=part.span_id,
                    timestamp=at,
                ),
                step_id,
            )
        elif part.kind == "tool":
            call_id = _call_id(part, told)
            self._emit(
                ToolExecutionStarted(
                    call_id=call_id,
                    tool_name=_tool_name(span, told),
                    model_call_id=self._asked_by.get(call_id, UNSET),
                    timestamp=at,
                ),
                step_id,
            )
        elif not part.is_root:
            name = told.agent_name or told.text("gen_ai.workflow.name") or span.name
            self._emit(
                StepStarted(
                    step_id=part.span_id,
                    name=name,
                    kind=str(part.kind),
                    parent_step_id=UNSET if step_id is None else step_id,
                    timestamp=at,
                )
            )

    def end(self, part: _Part, span: ReadableSpan, told: Told) -> None:
        """Tell how a part ended; with the part that the run began with, the run."""
        if part.kind == "model":
            self._end_call(part, span, told)
        elif part.kind == "tool":
            self._end_tool(part, span, told)
        elif not part.is_root:
            error = _error(span)
            self._emit(
                StepFinished(
                    step_id=part.span_id,
                    error=UNSET if error is None else error,
                    duration_ms=_milliseconds(span),
                    timestamp=_time(span.end_time),
                )
            )
        if part.is_root:
            self._end_run(span)

    def close(self) -> None:
        """Stop recording; what was told is written."""
        with unobtrusive():
            self.recorder.close(END_WAIT)

    # ------------------------------------------------------------ a model call

    def _end_call(self, part: _Part, span: ReadableSpan, told: Told) -> None:
        at, step_id, call_id = _time(span.end_time), part.step_id, part.span_id
        messages = told.input_messages
        if messages is not None:
            for event in self._told.events(
                call_id,
                "otel",
                messages,
                system_instructions=told.system_instructions,
                tool_definitions=told.tool_definitions,
                parameters=told.parameters,
                timestamp=_time(span.start_time),
                step_id=UNSET if step_id is None else step_id,
            ):
                self._emit(event)
        reasoning = self._tell_answer(told, call_id, at, step_id)
        self._tell_usage(told, call_id, at, step_id)
        error = _error(span)
        if error is not None:
            kind = told.text("error.type") or error.partition(":")[0]
            ended: Event = ModelFailed(
                model_call_id=call_id, error_type=kind, error=error, duration_ms=_milliseconds(span), timestamp=at
            )
        else:
            ended = ModelFinished(
                model_call_id=call_id,
                finish_reason=_or_unset(told.finish_reason),
                model=_or_unset(told.text("gen_ai.response.model")),
                response_id=_or_unset(told.text("gen_ai.response.id")),
                duration_ms=_milliseconds(span),
                reasoning=reasoning or UNSET,
                timestamp=at,
            )
        self._emit(ended, step_id)

    def _tell_answer(self, told: Told, call_id: str, at: str, step_id: str | None) -> str:
        """Tell text and tool calls of an answer, in their order; return what the model thought."""
        reasoning = []
        for part in parts_of(told.output_messages):
            kind, content = part.get("type"), part.get("content")
            if kind == "text" and isinstance(content, str) and content:
                self._emit(TextDelta(delta=content, model_call_id=call_id, timestamp=at), step_id)
            elif kind in ("reasoning", "thinking") and isinstance(content, str):
                reasoning.append(content)
            elif kind == "tool_call":
                asked = ToolCall(str(part.get("id") or ""), str(part.get("name") or ""), part.get("arguments"))
                self._asked_by[asked.id] = call_id
                self._emit(ToolCallCompleted(call=asked, model_call_id=call_id, timestamp=at), step_id)
        return "".join(reasoning)

    def _tell_usage(self, told: Told, call_id: str, at: str, step_id: str | None) -> None:
        given = told.count("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt")
        written = told.count(
            "gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.token_count.completion"
        )
        if given is None and written is None:
            return
        cache_read = told.count("gen_ai.usage.cache_read.input_tokens", "llm.token_count.prompt_details.cache_read")
        cache_write = told.count(
            "gen_ai.usage.cache_creation.input_tokens", "llm.token_count.prompt_details.cache_write"
        )
        reasoning = told.count("gen_ai.usage.reasoning.output_tokens", "llm.token_count.completion_details.reasoning")
        usage = TokenUsage(
            given or 0,
            written or 0,
            (given or 0) + (written or 0),
            cache_creation_input_tokens=_or_unset(cache_write),
            cache_read_input_tokens=_or_unset(cache_read),
        )
        self._emit(
            UsageRecorded(
                usage=usage,
                model=_or_unset(told.text("gen_ai.response.model")),
                reasoning_output_tokens=_or_unset(reasoning),
                model_call_id=call_id,
                timestamp=at,
            ),
            step_id,
        )

    # ------------------------------------------------------------ tools and the end

    def _end_tool(self, part: _Part, span: ReadableSpan, told: Told) -> None:
        call_id, error = _call_id(part, told), _error(span)
        output = told.json("gen_ai.tool.call.result", "output.value")
        result = ToolExecutionResult.ok(output) if error is None else ToolExecutionResult.failed(error)
        self._emit(
            ToolExecutionFinished(
                call_id=call_id,
                tool_name=_tool_name(span, told),
                result=result,
                duration_ms=_milliseconds(span),
                model_call_id=self._asked_by.get(call_id, UNSET),
                timestamp=_time(span.end_time),
            ),
            part.step_id,
        )

    def _end_run(self, span: ReadableSpan) -> None:
        at, error = _time(span.end_time), _error(span)
        if error is None:
            self._emit(RunCompleted(finish_reason="stop", iterations=self._iterations, timestamp=at))
        elif error.partition(":")[0] in _STOPPED:
            self._emit(RunCancelled(timestamp=at))
        else:
            self._emit(RunFailed(error=error, timestamp=at))
        self.close()

    def _emit(self, event: Event, step_id: str | None = None) -> None:
        if step_id is not None:
            event.step_id = step_id
        self.recorder.emit(event)


def _or_unset(value: Any) -> Any:  # noqa: ANN401 (whatever the field is of)
    return UNSET if value is None else value


def _span_id(span: ReadableSpan) -> str:
    context = span.get_span_context()
    return "" if context is None else f"{context.span_id:016x}"


def _call_id(part: _Part, told: Told) -> str:
    return told.text("gen_ai.tool.call.id", "tool_call.id", "tool.id") or part.span_id


def _tool_name(span: ReadableSpan, told: Told) -> str:
    return told.text("gen_ai.tool.name", "tool.name") or span.name


def _time(nanoseconds: int | None) -> str:
    """Return a span's time as RFC 3339, to the nanosecond."""
    seconds, rest = divmod(nanoseconds or 0, 10**9)
    moment = datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat()
    return f"{moment}.{rest:09d}Z"


def _milliseconds(span: ReadableSpan) -> int:
    return max(0, (span.end_time or 0) - (span.start_time or 0)) // 10**6


def _error(span: ReadableSpan) -> str | None:
    """Return by what a span failed, class first where an exception is recorded; None where it did not."""
    for event in reversed(span.events):
        if event.name == "exception" and span.status.status_code is StatusCode.ERROR:
            attributes = event.attributes or {}
            kind = str(attributes.get("exception.type") or "").rpartition(".")[2]
            message = str(attributes.get("exception.message") or "")
            return f"{kind}: {message}" if kind and message else kind or message or "error"
    if span.status.status_code is not StatusCode.ERROR:
        return None
    return span.status.description or str((span.attributes or {}).get("error.type") or "error")
