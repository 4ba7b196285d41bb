"""One run of an agent: what the SDK tells of it, and what of that goes into the log.

- Models, guardrails, and runs that tools start inside of this one are seen where the SDK uses them (seams.py). Hooks tell of
  tools, and of which agent is at work. They tell us first and then the user's own hooks, which may raise as ever.
- An agent is a step while it is at work; its calls and its tools are in it. An agent that is used as a tool is a step in that of
  the agent that uses it. A handoff is a step of its own, between both agents' steps.
- A run ends as `Runner` returned or raised. A streamed run ends as its reader is told; without a reader, as its task ended.
- A tool failed if the SDK has put an error on its span, or gives the model its own sentence for that. A call that is answered
  without a tool is refused.
- Nothing of this raises into the agent: what looks into the SDK's objects is `unobtrusive`.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from agents.result import RunResultStreaming

from behest_core.recording.adapter import END_WAIT, as_json, pause, unobtrusive
from behest_openai_agents.levels import Level
from behest_openai_agents.reading import call_id, outputs_in
from behest_openai_agents.seams import watching

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator

    from agents import RunResult, StreamEvent
    from agents.run import RunOptions

    from behest_core.model.events import ToolExecutionResult
    from behest_core.recording.model_call import ModelCall
    from behest_core.recording.recorder import RunRecorder
    from behest_openai_agents.reading import Answer


def calling_run() -> RunRecorder | None:
    """Return the run whose tool is executed here, unless that could not be begun."""
    level = watching.get()
    return getattr(level.recording, "run", None) if isinstance(level, Level) else None


class Recording:
    """Records `run`: `running` around it, `end`, and `close` or `aclose`; or `follow` where it is streamed.

    `provider` is that of models whose names don't tell theirs.
    """

    run: RunRecorder

    def __init__(self, provider: str) -> None:
        self.provider = provider
        self.is_over = False
        self.has_output = False
        self.finish_reason = "stop"
        self._level = Level(self)
        self._open_steps: dict[str, None] = {}
        self._asked: dict[str, tuple[str, str | None]] = {}
        self._executed: set[str] = set()
        self._readers = 0

    def heard(self, options: RunOptions[Any]) -> RunOptions[Any]:
        """Return the options with hooks that record, and then call the user's."""
        return cast("RunOptions[Any]", self._level.heard(dict(options)))

    @contextmanager
    def running(self) -> Iterator[None]:
        """End the run by what is raised in here. Runs that are started in here know that this one started them."""
        token = watching.set(self._level)
        try:
            yield
        except BaseException as error:
            self.end(error)
            raise
        finally:
            watching.reset(token)

    # ------------------------------------------------------------ steps

    def step_started(self, name: str, kind: str, parent_step_id: str | None) -> str:
        """Record that a step begins; return its id."""
        step_id = self.run.step_started(name, kind, parent_step_id=parent_step_id)
        self._open_steps[step_id] = None
        return step_id

    def step_finished(self, step_id: str, error: BaseException | None = None) -> None:
        """Record that a step ended, unless the run was over before."""
        if step_id in self._open_steps:
            del self._open_steps[step_id]
            self.run.step_finished(step_id, error)

    def _end_steps(self, error: BaseException | None) -> None:
        for step_id in reversed([*self._open_steps]):
            self.step_finished(step_id, error)

    # ------------------------------------------------------------ tools

    def asked(self, call: ModelCall, answer: Answer) -> None:
        """Note which tools a model asked for."""
        for asked, name in answer.to_execute:
            self._asked[asked] = name, call.id

    def denied(self, asked: str, name: str) -> None:
        """Note that a tool is not going to be executed, which another run's model asked for."""
        self._asked.setdefault(asked, (name, None))

    def handed_off(self, asked: Iterable[str]) -> None:
        """Note that these calls are no tools' but handoffs."""
        self._executed.update(asked)

    def tool_started(self, asked: str, name: str, step_id: str | None) -> None:
        """Record that a tool begins."""
        self._executed.add(asked)
        self.run.tool_started(asked, name, model_call_id=self._asked.get(asked, (name, None))[1], step_id=step_id)

    def tool_finished(self, asked: str, name: str, result: ToolExecutionResult, step_id: str | None) -> None:
        """Record that a tool ended."""
        model_call_id = self._asked.get(asked, (name, None))[1]
        self.run.tool_finished(asked, name, result, model_call_id=model_call_id, step_id=step_id)

    def refused(self, items: Iterable[object], step_id: str | None) -> None:
        """Record the tool calls that are answered in here, and that no tool was executed for."""
        for asked, reason in outputs_in(items):
            if asked in self._asked and asked not in self._executed:
                self._executed.add(asked)
                name, model_call_id = self._asked[asked]
                self.run.tool_refused(asked, name, reason, model_call_id=model_call_id, step_id=step_id)

    # ------------------------------------------------------------ the end

    def end(self, outcome: RunResult | RunResultStreaming | BaseException) -> None:
        """Record how the run ended, unless that was done, and have it written beside the agent."""
        if self.is_over:
            return
        with unobtrusive():
            self._end_what_is_open(outcome)
        self.is_over = True
        with unobtrusive():
            self._record_end(outcome)
        with unobtrusive():
            self.run.close(0)

    def _end_what_is_open(self, outcome: RunResult | RunResultStreaming | BaseException) -> None:
        error = outcome if isinstance(outcome, BaseException) else None
        self._level.stop_calls(error or asyncio.CancelledError())
        if not isinstance(outcome, BaseException):
            self.refused([each.raw_item for each in outcome.new_items], None)
        self._end_steps(error)

    def _record_end(self, outcome: RunResult | RunResultStreaming | BaseException) -> None:
        if isinstance(outcome, Exception):
            self.run.failed(outcome)
        elif isinstance(outcome, BaseException):
            self.run.cancelled()
        elif outcome.interruptions:
            pause(self.run, "approval", [call_id(as_json(each.raw_item)) for each in outcome.interruptions])
        elif self.has_output or not isinstance(outcome, RunResultStreaming):
            self.run.completed(self.finish_reason)
        elif outcome.max_turns is not None and outcome.current_turn > outcome.max_turns:
            self.run.failed(f"MaxTurnsExceeded: Max turns ({outcome.max_turns}) exceeded")
        else:
            self.run.cancelled()  # result.cancel(mode="after_turn")

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
        """End as the result's stream ends."""
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
