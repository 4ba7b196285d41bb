"""One run of an agent: what the SDK tells of it, and what of that goes into the log.

- Hooks tell of model calls and tools. They tell us first and then the user's own hooks, which may raise as ever.
- A streamed text is recorded piece by piece as the user reads it. What is not read yet when the model has answered is recorded
  then, in one piece: so the text is in its place in the log, once, however slowly it is read.
- A run ends as `Runner` returned or raised. A streamed run ends as its reader is told; without a reader, as its task ended.
- An agent used as a tool runs with hooks of its own, so ours hear nothing of its model calls. But the SDK adds their usage to the
  outer run's: it is recorded from there, before the next model call and at the end.
- A tool failed if the SDK has put an error on its span, or gives the model its own sentence for that.
- Nothing of this raises into the agent: what looks into the SDK's objects is `unobtrusive`.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from agents.lifecycle import RunHooksBase
from agents.result import RunResultStreaming

from behest_core.recording.adapter import END_WAIT, as_json, pause, unobtrusive
from behest_openai_agents.reading import Answer, call_id, model_of, tokens_of, tool_result

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator

    from agents import Agent, ModelResponse, RunContextWrapper, RunResult, StreamEvent, Tool, Usage
    from agents.run import RunOptions
    from agents.usage import RequestUsage

    from behest_core.recording.recorder import RunRecorder
    from behest_openai_agents.reading import Config

_TEXT_DELTAS: Final = frozenset({"response.output_text.delta", "response.refusal.delta"})

_caller: ContextVar[Recording | None] = ContextVar("behest_openai_agents_caller", default=None)


def calling_run() -> RunRecorder | None:
    """Return the run whose tool is executed here, unless that could not be begun."""
    return getattr(_caller.get(), "run", None)


class Recording:
    """Records `run`: `running` around it, `end`, and `close` or `aclose`; or `follow` where it is streamed.

    `calls_counted` is how many of the model calls in the SDK's usage are recorded, or belong to a run before.
    """

    run: RunRecorder

    def __init__(self, provider: str, config: Config) -> None:
        self.calls_counted = 0
        self._provider = provider
        self._config = config
        self._finish_reason = "stop"
        self.is_over = self._has_output = False
        self._usage: Usage | None = None
        self._answers = self._answers_read = 0
        self._text_recorded = 0  # characters, of the answer that is awaited
        self._readers = 0

    def heard(self, options: RunOptions[Any]) -> RunOptions[Any]:
        """Return the options with hooks that record, and then call the user's."""
        hooks = options.get("hooks")
        if hooks is None or isinstance(hooks, RunHooksBase):  # anything else is for the SDK to refuse
            options = {**options, "hooks": RecordingHooks(self, hooks or RunHooksBase())}
        return options

    @contextmanager
    def running(self) -> Iterator[None]:
        """End the run by what is raised in here. Runs that are started in here know that this one started them."""
        token = _caller.set(self)
        try:
            yield
        except BaseException as error:
            self.end(error)
            raise
        finally:
            _caller.reset(token)

    # ------------------------------------------------------------ the end

    def end(self, outcome: RunResult | RunResultStreaming | BaseException) -> None:
        """Record how the run ended, unless that was done, and have it written beside the agent."""
        if self.is_over:
            return
        self.is_over = True
        with unobtrusive():
            self._record_untold_usage()
        with unobtrusive():
            self._record_end(outcome)
        with unobtrusive():
            self.run.close(0)

    def _record_end(self, outcome: RunResult | RunResultStreaming | BaseException) -> None:
        if isinstance(outcome, Exception):
            self.run.failed(outcome)
        elif isinstance(outcome, BaseException):
            self._cancel()
        elif outcome.interruptions:
            pause(self.run, "approval", [call_id(as_json(each.raw_item)) for each in outcome.interruptions])
        elif self._has_output or not isinstance(outcome, RunResultStreaming):
            self.run.completed(self._finish_reason)
        elif outcome.max_turns is not None and outcome.current_turn > outcome.max_turns:
            self.run.failed(f"MaxTurnsExceeded: Max turns ({outcome.max_turns}) exceeded")
        else:
            self._cancel()  # result.cancel(mode="after_turn")

    def _cancel(self) -> None:
        self.run.cancelled()

    @unobtrusive()
    def close(self) -> None:
        """Wait until the run is in the log."""
        self.run.close(END_WAIT)

    async def aclose(self) -> None:
        """Do what `close` does without holding up the event loop."""
        with unobtrusive():
            await self.run.aclose(END_WAIT)

    # ------------------------------------------------------------ streaming

    @unobtrusive()
    def follow(self, result: RunResultStreaming) -> None:
        """Record what is read of the result's stream, and end as that ends."""
        # the SDK makes the result, and leaves no place for another class
        result.stream_events = partial(self._read, result, result.stream_events)  # type: ignore[method-assign]
        if result.run_loop_task is not None:
            result.run_loop_task.add_done_callback(partial(self._task_done, result))

    async def _read(
        self, result: RunResultStreaming, events: Callable[[], AsyncIterator[StreamEvent]]
    ) -> AsyncGenerator[StreamEvent, None]:
        self._readers += 1
        try:
            async with aclosing(cast("AsyncGenerator[StreamEvent, None]", events())) as stream:
                try:
                    async for event in stream:
                        self._record_read(event)
                        yield event
                except asyncio.CancelledError as error:  # whoever is cancelled while it reads cancels the run
                    self.end(error)
                    raise
        except Exception as error:
            self.end(error)
            raise
        finally:
            self._readers -= 1
            if not self._readers and result.run_loop_task is not None and result.run_loop_task.done():
                self._end_as(result, result.run_loop_task)
            if self.is_over:
                await self.aclose()

    @unobtrusive()
    def _task_done(self, result: RunResultStreaming, task: asyncio.Task[Any]) -> None:
        if self._readers:  # of a guardrail or too many turns only they are told; the task is cancelled or ends well
            return
        self._end_as(result, task)
        task.get_loop().run_in_executor(None, self.close)  # nobody is there to wait but the end of the loop

    def _end_as(self, result: RunResultStreaming, task: asyncio.Task[Any]) -> None:
        self.end(asyncio.CancelledError() if task.cancelled() else task.exception() or result)

    @unobtrusive()
    def _record_read(self, event: StreamEvent) -> None:
        if event.type != "raw_response_event":
            return
        if event.data.type == "response.completed":
            self._answers_read += 1
        elif event.data.type in _TEXT_DELTAS and self._answers_read == self._answers:
            self._record_text(cast("str", getattr(event.data, "delta", "")))

    def _record_text(self, text: str) -> None:
        if text and not self.is_over:
            self._text_recorded += len(text)
            self.run.text(text)

    # ------------------------------------------------------------ what hooks tell

    @unobtrusive()
    def on_llm_start(self, context: RunContextWrapper[Any], agent: Agent[Any], *_: object) -> None:
        """Record that the model is called."""
        self._usage = context.usage
        self._record_untold_usage()
        self._text_recorded = 0
        provider, model = model_of(agent, self._config, self._provider)
        self.run.model_started(provider=provider, model=model)

    @unobtrusive()
    def on_llm_end(self, context: RunContextWrapper[Any], _agent: Agent[Any], response: ModelResponse) -> None:
        """Record that the model has answered."""
        self._answers += 1
        self._usage = context.usage
        answer = Answer(response)
        self._record_text(answer.text[self._text_recorded :])
        for call in answer.tool_calls:
            self.run.tool_called(*call)
        self._record_usage(response.usage)
        self.calls_counted = len(context.usage.request_usage_entries)
        self.run.message_committed(answer.message_id)
        self._finish_reason = answer.finish_reason

    @unobtrusive()
    def on_tool_start(self, context: RunContextWrapper[Any], _agent: Agent[Any], tool: Tool) -> None:
        """Record that a tool begins."""
        self.run.tool_started(_tool_call_id(context, tool), tool.name)

    @unobtrusive()
    def on_tool_end(self, context: RunContextWrapper[Any], _agent: Agent[Any], tool: Tool, output: object) -> None:
        """Record that a tool ended."""
        self.run.tool_finished(_tool_call_id(context, tool), tool.name, tool_result(context, output))

    @unobtrusive()
    def on_agent_end(self, *_: object) -> None:
        """Record that there is a final output."""
        self._has_output = True

    # ------------------------------------------------------------ tokens

    def _record_untold_usage(self) -> None:
        if self._usage is not None:
            entries = self._usage.request_usage_entries
            for entry in entries[self.calls_counted :]:
                self._record_usage(entry)
            self.calls_counted = len(entries)

    def _record_usage(self, usage: Usage | RequestUsage) -> None:
        tokens = tokens_of(usage)
        if tokens is not None:
            self.run.usage(**tokens)


def _tool_call_id(context: RunContextWrapper[Any], tool: Tool) -> str:
    """Return the id of the call whose hook is called. The SDK has none for its computer, shell and patch tools."""
    return cast("str", getattr(context, "tool_call_id", tool.name))


class RecordingHooks(RunHooksBase[Any, Any]):
    """Tells a recording what happens, and then the user's hooks: every hook that the installed SDK has."""

    def __init__(self, recording: Recording, users: RunHooksBase[Any, Any]) -> None:
        self.recording = recording
        self.users = users


def _told(name: str) -> Callable[..., Any]:
    async def hook(self: RecordingHooks, *arguments: object, **named: object) -> None:
        record = getattr(self.recording, name, None)
        if record is not None and not self.recording.is_over:  # a tool may outlive a run that was cancelled
            record(*arguments, **named)
        await getattr(self.users, name)(*arguments, **named)

    return hook


for _name in dir(RunHooksBase):
    if _name.startswith("on_"):
        setattr(RecordingHooks, _name, _told(_name))
