"""A run of the SDK as it is recorded: the run itself, or one that a tool starts inside of it, such as an agent's `as_tool`.

What a level hears, by hooks and by the seams, it records in the step of the agent that is at work in it.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self, cast

from agents.lifecycle import RunHooksBase

from behest_core.recording.adapter import unobtrusive
from behest_openai_agents.hooks import RecordingHooks
from behest_openai_agents.model_calls import RecordedCall
from behest_openai_agents.reading import Sent, model_of, tool_result

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agents import Agent, RunConfig, RunContextWrapper, Tool

    from behest_core.recording.model_call import ModelCall
    from behest_openai_agents.reading import Answer
    from behest_openai_agents.recording import Recording


class Level:
    """One run of the SDK. `around` is the level whose tool started it."""

    def __init__(self, recording: Recording, around: Level | None = None) -> None:
        self.recording = recording
        self.is_entered = around is not None
        self._around = around
        self._outer_step_id = None if around is None else around.step_id
        self._agent: Agent[Any] | None = None
        self._agent_step_id: str | None = None
        self._calls: dict[RecordedCall, None] = {} if around is None else around._calls  # noqa: SLF001 (its own class)

    @property
    def step_id(self) -> str | None:
        """The step in which things happen now."""
        return self._agent_step_id or self._outer_step_id

    def heard(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return what the SDK runs with, with hooks that record, and then call the user's."""
        hooks = options.get("hooks")
        if hooks is None or isinstance(hooks, RunHooksBase):  # anything else is for the SDK to refuse
            options = {**options, "hooks": RecordingHooks(self, hooks or RunHooksBase())}
        return options

    # ------------------------------------------------------------ what the seams tell

    def called(
        self,
        agent: Agent[Any],
        config: RunConfig,
        *arguments: Any,  # noqa: ANN401 (those of `Model.get_response`)
        **more: Any,  # noqa: ANN401 (the same)
    ) -> RecordedCall:
        """Record that a model is called, and what it is sent."""
        call: ModelCall | None = None
        handoffs: set[str] = set()
        with unobtrusive():
            request = Sent.of(*arguments, **more)
            handoffs = {each.tool_name for each in request.handoffs}
            if not self.recording.is_over:
                call = self._call(agent, config, request)
        recorded = RecordedCall(call, lambda call, answer: self._answered(call, answer, handoffs))
        self._calls[recorded] = None
        return recorded

    def _call(self, agent: Agent[Any], config: RunConfig, request: Sent) -> ModelCall:
        self._at_work(agent)
        run = self.recording.run
        self.recording.refused(request.messages, self.step_id)
        provider, name = model_of(agent, config, self.recording.provider)
        about = request.told(has_content=run.has_content)
        return run.model_call(provider=provider, model=name, step_id=self.step_id, **about)

    def _answered(self, call: ModelCall, answer: Answer, handoffs: set[str]) -> None:
        self.recording.asked(call, answer)
        self.recording.handed_off(asked for asked, name in answer.to_execute if name in handoffs)
        if self._around is None:
            self.recording.finish_reason = answer.finish_reason

    def stop_calls(self, error: BaseException) -> None:
        """Record the end of the calls that have none: they hear of it later than the run."""
        for call in self._calls:
            call.stopped(error)
        self._calls.clear()

    @contextmanager
    def guardrail(self, name: str) -> Iterator[None]:
        """Record a guardrail as a step."""
        step_id = None
        with unobtrusive():
            if not self.recording.is_over:
                step_id = self.recording.step_started(name, "guardrail", self.step_id)
        error: BaseException | None = None
        try:
            yield
        except BaseException as raised:
            error = raised
            raise
        finally:
            with unobtrusive():
                if step_id is not None:
                    self.recording.step_finished(step_id, error)

    def inside(self, _agent: Agent[Any], more: dict[str, Any]) -> tuple[Self, dict[str, Any]]:
        """Return the level of a run that a tool starts, and what the SDK is to run it with."""
        level = type(self)(self.recording, self)
        return level, level.heard(more)

    @unobtrusive()
    def left(self, error: BaseException | None = None) -> None:
        """Record that the agent that was at work is no more."""
        if self._agent_step_id is not None:
            self.recording.step_finished(self._agent_step_id, error)
        self._agent = self._agent_step_id = None

    def _at_work(self, agent: Agent[Any]) -> None:
        if agent is not self._agent:
            self.left()
            self._agent = agent
            self._agent_step_id = self.recording.step_started(agent.name, "agent", self._outer_step_id)

    # ------------------------------------------------------------ what hooks tell

    @unobtrusive()
    def on_agent_start(self, _context: RunContextWrapper[Any], agent: Agent[Any]) -> None:
        """Record that another agent is at work."""
        self._at_work(agent)

    @unobtrusive()
    def on_agent_end(self, *_: object) -> None:
        """Note that there is a final output."""
        if self._around is None:
            self.recording.has_output = True

    @unobtrusive()
    def on_handoff(self, *_: object, from_agent: Agent[Any], to_agent: Agent[Any], **__: object) -> None:
        """Record a handoff as a step."""
        self.left()
        step_id = self.recording.step_started(f"{from_agent.name} to {to_agent.name}", "handoff", self._outer_step_id)
        self.recording.step_finished(step_id)

    @unobtrusive()
    def on_tool_start(self, context: RunContextWrapper[Any], _agent: Agent[Any], tool: Tool) -> None:
        """Record that a tool begins."""
        self.recording.tool_started(_tool_call_id(context, tool), tool.name, self.step_id)

    @unobtrusive()
    def on_tool_end(self, context: RunContextWrapper[Any], _agent: Agent[Any], tool: Tool, output: object) -> None:
        """Record that a tool ended."""
        result = tool_result(context, output)
        self.recording.tool_finished(_tool_call_id(context, tool), tool.name, result, self.step_id)


def _tool_call_id(context: RunContextWrapper[Any], tool: Tool) -> str:
    """Return the id of the call whose hook is called. The SDK has none for its computer, shell and patch tools."""
    return cast("str", getattr(context, "tool_call_id", tool.name))
