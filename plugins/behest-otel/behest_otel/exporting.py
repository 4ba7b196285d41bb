"""From a recorded run to spans, by OpenTelemetry's conventions for GenAI.

- The run is a span `invoke_agent`, its steps are spans in it, its model calls spans `chat`, its tools' executions spans
  `execute_tool`, each where it happened.
- A model call has the whole of what the model was sent, put together from the log, and what it answered.
- Ids are derived from the run's and its parts', so that exporting a run twice gives the same spans. A run that was recorded from
  spans keeps its trace.
- What has not ended ends with the log.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import UNSET, Struct, UnsetType, field
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event as SpanEvent
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from behest_core.model.agent_events import ModelFailed, ModelFinished, ModelRequested, StepFinished, StepStarted
from behest_core.model.conversation import Requests
from behest_core.model.events import (
    ModelStarted,
    RunCancelled,
    RunCompleted,
    RunFailed,
    TextDelta,
    ToolCall,
    ToolCallCompleted,
    ToolExecutionFinished,
    ToolExecutionStarted,
    UsageRecorded,
)
from behest_core.model.timestamps import canonical, to_datetime
from behest_core.transcript.messages import said
from behest_otel.attributes import RUN_ID, STEP_KIND

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from behest_core.model.conversation import Request
    from behest_core.model.events import AnyEvent
    from behest_core.model.json import JSON
    from behest_core.model.record import RunRecord
    from behest_core.plugins import Event

_SCOPE: Final = InstrumentationScope("behest")
_AGENT: Final = "agent"


class _Open(Struct):
    """A span in the making. Times are in nanoseconds."""

    key: str
    name: str
    kind: SpanKind
    parent: str | None
    start: int
    attributes: dict[str, Any]
    end: int | None = None
    error: str | None = None
    text: str = ""
    reasoning: str = ""
    tool_calls: list[ToolCall] = field(default_factory=list)


def spans_of(record: RunRecord, events: Iterable[AnyEvent]) -> Sequence[ReadableSpan]:
    """Return the spans of a run, the run's own first, then in the order in which they began."""
    exporter = _Exporter(record)
    for event in events:
        exporter.add(event)
    return exporter.finished()


class _Exporter:
    def __init__(self, record: RunRecord) -> None:
        metadata = record.metadata if isinstance(record.metadata, dict) else {}
        self._run_id = record.run_id
        trace = metadata.get("trace_id")
        self._trace_id = _trace_id(trace if isinstance(trace, str) else None, metadata, record.run_id)
        name = metadata.get("agent_name")
        attributes = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": name if isinstance(name, str) else None,
            "gen_ai.conversation.id": record.session_id,
            "gen_ai.provider.name": record.provider,
            "gen_ai.request.model": record.model,
            "user.id": metadata.get("user_id"),
            RUN_ID: record.run_id,
        }
        at = _nanoseconds(record.created_at)
        span_name = f"invoke_agent {name}" if isinstance(name, str) else "invoke_agent"
        self._spans = {"": _Open("", span_name, SpanKind.INTERNAL, None, at, _without_none(attributes))}
        self._run = self._spans[""]
        self._requests = Requests()
        self._last = at
        self._latest = ""

    def add(self, event: AnyEvent) -> None:
        """Take the next event of the log."""
        self._last = max(self._last, _nanoseconds(event.timestamp))
        match event:
            case StepStarted() | StepFinished():
                self._step(event)
            case ModelStarted():
                self._call(event)
            case ModelRequested():
                self._requests.add(event)
            case TextDelta() | ToolCallCompleted() | UsageRecorded():
                self._gave(event)
            case ModelFinished() | ModelFailed():
                self._answered(event)
            case ToolExecutionStarted() | ToolExecutionFinished():
                self._tool(event)
            case RunCompleted() | RunFailed() | RunCancelled():
                self._end(event)
            case _:
                pass

    def _begin(self, key: str, name: str, kind: SpanKind, event: Event, attributes: dict[str, Any]) -> _Open:
        step = "" if event.step_id is UNSET else f"step/{event.step_id}"
        parent = step if step in self._spans and step != key else ""
        span = _Open(key, name, kind, parent, _nanoseconds(event.timestamp), _without_none(attributes))
        self._spans[key] = span
        return span

    # ------------------------------------------------------------ steps

    def _step(self, event: StepStarted | StepFinished) -> None:
        key = f"step/{event.step_id}"
        if isinstance(event, StepFinished):
            span = self._spans.get(key)
            if span is not None:
                span.end, span.error = _nanoseconds(event.timestamp), _known(event.error)
            return
        is_agent = event.kind == _AGENT
        attributes = {
            "gen_ai.operation.name": "invoke_agent" if is_agent else None,
            "gen_ai.agent.name": event.name if is_agent else None,
            STEP_KIND: event.kind,
        }
        name = f"invoke_agent {event.name}" if is_agent else event.name
        span = self._begin(key, name, SpanKind.INTERNAL, event, attributes)
        parent = f"step/{_known(event.parent_step_id)}"
        span.parent = parent if parent in self._spans else ""

    # ------------------------------------------------------------ model calls

    def _call(self, event: ModelStarted) -> None:
        number = sum(span.key.startswith("call/") for span in self._spans.values())
        key = f"call/{_known(event.model_call_id) or number}"
        self._latest = key
        attributes = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": event.provider,
            "gen_ai.request.model": event.model,
            "gen_ai.conversation.id": self._run.attributes.get("gen_ai.conversation.id"),
        }
        self._begin(key, f"chat {event.model}", SpanKind.CLIENT, event, attributes)

    def _of(self, model_call_id: str | UnsetType) -> _Open | None:
        return self._spans.get(self._latest if model_call_id is UNSET else f"call/{model_call_id}")

    def _gave(self, event: TextDelta | ToolCallCompleted | UsageRecorded) -> None:
        span = self._of(event.model_call_id)
        if span is None:
            return
        if isinstance(event, TextDelta):
            span.text += event.delta
        elif isinstance(event, ToolCallCompleted):
            span.tool_calls.append(event.call)
        else:
            self._used(span, event)
        if event.model_call_id is UNSET:
            span.end = _nanoseconds(event.timestamp)  # the seed's logs don't say when a call ends

    def _used(self, span: _Open, event: UsageRecorded) -> None:
        usage = event.usage
        counts = {
            "gen_ai.usage.input_tokens": usage.input_tokens,
            "gen_ai.usage.output_tokens": usage.output_tokens,
            "gen_ai.usage.cache_read.input_tokens": _known(usage.cache_read_input_tokens),
            "gen_ai.usage.cache_creation.input_tokens": _known(usage.cache_creation_input_tokens),
            "gen_ai.usage.reasoning.output_tokens": _known(event.reasoning_output_tokens),
        }
        for name, count in counts.items():
            if count is not None:
                span.attributes[name] = span.attributes.get(name, 0) + count
        if event.model is not UNSET:
            span.attributes["gen_ai.response.model"] = event.model

    def _answered(self, event: ModelFinished | ModelFailed) -> None:
        span = self._of(event.model_call_id)
        if span is None:
            return
        span.end = _nanoseconds(event.timestamp)
        if isinstance(event, ModelFailed):
            span.error = event.error
            span.attributes["error.type"] = event.error_type
            return
        span.text = span.text or _known(event.text) or ""
        span.reasoning = _known(event.reasoning) or ""
        span.tool_calls = span.tool_calls or _known(event.tool_calls) or []
        reason = _known(event.finish_reason)
        span.attributes |= _without_none(
            {
                "gen_ai.response.model": _known(event.model),
                "gen_ai.response.id": _known(event.response_id),
                "gen_ai.response.finish_reasons": None if reason is None else (reason,),
            }
        )

    # ------------------------------------------------------------ tools, and the end

    def _tool(self, event: ToolExecutionStarted | ToolExecutionFinished) -> None:
        prefix = f"tool/{_known(event.model_call_id) or ''}/{event.call_id}/"
        of_this_call = [span for key, span in self._spans.items() if key.startswith(prefix)]
        running = [span for span in of_this_call if span.end is None]
        if isinstance(event, ToolExecutionStarted) or not running:
            asked = self._asked(event)
            attributes = {
                "gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.name": event.tool_name,
                "gen_ai.tool.call.id": event.call_id,
                "gen_ai.tool.call.arguments": None if asked is None else _json(asked.arguments),
            }
            name = f"execute_tool {event.tool_name}"
            running = [self._begin(f"{prefix}{len(of_this_call)}", name, SpanKind.INTERNAL, event, attributes)]
        if isinstance(event, ToolExecutionFinished):
            span, result = running[0], event.result
            span.end = _nanoseconds(event.timestamp)
            span.start = min(span.start, span.end)
            if result.failure is not UNSET:
                span.error = result.failure.error
            elif result.success is not UNSET:
                span.attributes["gen_ai.tool.call.result"] = _json(result.success.output)

    def _asked(self, event: ToolExecutionStarted | ToolExecutionFinished) -> ToolCall | None:
        call = None if event.model_call_id is UNSET else self._of(event.model_call_id)
        calls = [call] if call is not None else [span for span in self._spans.values() if span.key.startswith("call/")]
        return next((asked for each in reversed(calls) for asked in each.tool_calls if asked.id == event.call_id), None)

    def _end(self, event: RunCompleted | RunFailed | RunCancelled) -> None:
        self._run.end = _nanoseconds(event.timestamp)
        self._run.error = None
        if isinstance(event, RunFailed):
            self._run.error = event.error
        elif isinstance(event, RunCancelled):
            self._run.error = "CancelledError"

    # ------------------------------------------------------------ spans

    def finished(self) -> Sequence[ReadableSpan]:
        """Return all spans; what is open ends with the log."""
        for key, span in self._spans.items():
            if key.startswith("call/"):
                request = self._requests.by_call.get(key.removeprefix("call/"))
                span.attributes |= _content(request, span)
        return [self._finished(span) for span in self._spans.values()]

    def _finished(self, span: _Open) -> ReadableSpan:
        end = max(span.start, self._last if span.end is None else span.end)
        events = []
        if span.error is not None:
            kind, _, message = span.error.partition(": ")
            attributes = {"exception.type": kind, "exception.message": message}
            events = [SpanEvent("exception", attributes, end)]
        return ReadableSpan(
            span.name,
            context=self._context(span.key),
            parent=None if span.parent is None else self._context(span.parent),
            resource=Resource({"service.name": "behest"}),
            attributes=span.attributes,
            events=events,
            kind=span.kind,
            status=Status(StatusCode.OK) if span.error is None else Status(StatusCode.ERROR, span.error),
            start_time=span.start,
            end_time=end,
            instrumentation_scope=_SCOPE,
        )

    def _context(self, key: str) -> SpanContext:
        span_id = int.from_bytes(sha256(f"{self._run_id}\n{key}".encode()).digest()[:8]) or 1
        return SpanContext(self._trace_id, span_id, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def _trace_id(trace: str | None, metadata: dict[str, Any], run_id: str) -> int:
    """Return the trace: that of the spans it came from; else one for all runs of one root."""
    try:
        if trace is not None and len(trace) == 32:
            return int(trace, 16)
    except ValueError:
        pass  # somebody else's trace id
    root = metadata.get("root_run_id") or run_id
    return int.from_bytes(sha256(str(root).encode()).digest()[:16]) or 1


def _content(request: Request | None, span: _Open) -> dict[str, Any]:
    found: dict[str, JSON] = {}
    if request is not None:
        found["gen_ai.input.messages"] = [
            each for message in request.messages for each in _otel(request.message_format, message)
        ]
        found["gen_ai.system_instructions"] = request.system_instructions
        found["gen_ai.tool.definitions"] = request.tool_definitions
    parts: list[JSON] = [{"type": "reasoning", "content": span.reasoning}] if span.reasoning else []
    parts += [{"type": "text", "content": span.text}] if span.text else []
    parts += [
        {"type": "tool_call", "id": each.id, "name": each.name, "arguments": each.arguments} for each in span.tool_calls
    ]
    if parts:
        reason = (span.attributes.get("gen_ai.response.finish_reasons") or ("stop",))[0]
        found["gen_ai.output.messages"] = [{"role": "assistant", "parts": parts, "finish_reason": reason}]
    return {name: _json(value) for name, value in found.items() if value is not None}


def _otel(message_format: str, message: JSON) -> list[JSON]:
    """Return a framework's message in OpenTelemetry's form."""
    if message_format == "otel":
        return [message]
    found: list[JSON] = []
    for each in said(message_format, message):
        if each.role == "tool":
            parts: list[JSON] = [{"type": "tool_call_response", "id": each.call_id, "response": each.text}]
        else:
            parts = [{"type": "text", "content": each.text}]
        found.append({"role": each.role, "parts": parts})
    return found


def _json(value: JSON) -> str:
    """Return a value as an attribute: text as it is, all else as JSON's text."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _without_none(attributes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if value is not None}


def _known(value: Any) -> Any:  # noqa: ANN401 (whatever the field is of)
    return None if value is UNSET else value


def _nanoseconds(timestamp: str) -> int:
    """Return a time in nanoseconds since 1970; 0 where a writer put none."""
    try:
        text = canonical(timestamp)
    except ValueError:
        return 0
    seconds = round(to_datetime(f"{text[:19]}Z").timestamp())
    return max(seconds, 0) * 10**9 + int(text[20:29])
