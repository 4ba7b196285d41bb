"""Agents of the SDK play the scripts of the adapter kit; the logs are held against what the stub models counted."""

import asyncio

import pytest
from agents import (
    Agent,
    Model,
    ModelResponse,
    ModelRetrySettings,
    ModelSettings,
    RunState,
    Usage,
    function_tool,
    trace,
)
from agents.testing import assistant_message, function_call
from behest_openai_agents import BehestRunner
from openai.types.responses import Response, ResponseCompletedEvent, ResponseReasoningItem, ResponseTextDeltaEvent
from openai.types.responses.response_reasoning_item import Content
from openai.types.responses.response_usage import InputTokensDetails, OutputTokensDetails, ResponseUsage
from openai_agents_models import read

from behest_core.testing.adapter_kit import (
    SCENARIOS,
    Adapter,
    Piece,
    Thought,
    ToolCall,
    check_scenario,
)
from behest_core.testing.adapter_kit import Usage as Used


def told_of(tool):
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.params_json_schema,
        "strict": tool.strict_json_schema,
    }


class ScriptedModel(Model):
    """Says what the script says, and tells the stage what it was given."""

    def __init__(self, stage, name="stub-1"):
        self.stage, self.model = stage, name

    def _called(self, system_instructions, given, _settings, tools):
        return self.stage.called(given, system_instructions, [told_of(each) for each in tools] or None, self.model)

    async def get_response(self, system_instructions, input, model_settings, tools, **_):  # noqa: A002 (the SDK's name)
        answer = Whole(self.stage)
        async for part in self._called(system_instructions, input, model_settings, tools).parts():
            answer.add(part)
        usage = answer.used and Usage(requests=1, **answer.counts(InputTokensDetails, OutputTokensDetails))
        return ModelResponse(output=answer.output(), usage=usage or Usage(), response_id="resp-1")

    async def stream_response(self, *arguments, **_):
        answer = Whole(self.stage)
        async for part in self._called(*arguments[:4]).parts():
            answer.add(part)
            if isinstance(part, Piece):
                yield ResponseTextDeltaEvent(
                    type="response.output_text.delta",
                    delta=part.text,
                    item_id="msg-1",
                    output_index=0,
                    content_index=0,
                    sequence_number=0,
                    logprobs=[],
                )
        response = Response(
            id="resp-1",
            created_at=0,
            model=self.model,
            object="response",
            output=answer.output(),
            tool_choice="auto",
            tools=[],
            parallel_tool_calls=False,
            usage=answer.used and ResponseUsage(**answer.counts(InputTokensDetails, OutputTokensDetails)),
        )
        yield ResponseCompletedEvent(type="response.completed", response=response, sequence_number=1)


class Whole:
    """What a model has given so far."""

    def __init__(self, stage):
        self.stage, self.text, self.thought, self.calls, self.used = stage, "", "", [], None

    def add(self, part):
        match part:
            case Piece(text):
                self.text += text
            case Thought(text):
                self.thought += text
            case ToolCall():
                self.calls.append(function_call(part.name, part.arguments, call_id=part.id))
            case Used():
                self.used = part

    def output(self):
        thought = Content(type="reasoning_text", text=self.thought)
        return [
            *(
                [ResponseReasoningItem(id="r-1", type="reasoning", summary=[], content=[thought])]
                if self.thought
                else []
            ),
            *([assistant_message(self.text, item_id="msg-1")] if self.text or not self.calls else []),
            *self.calls,
        ]

    def counts(self, given_details, written_details):
        used = self.used
        given = used.uncached if self.stage.script.counting == "beside" else used.given
        return {
            "input_tokens": given,
            "output_tokens": used.written,
            "total_tokens": given + used.written,
            "input_tokens_details": given_details(cached_tokens=used.read, cache_write_tokens=used.stored),
            "output_tokens_details": written_details(reasoning_tokens=used.thought),
        }


def tool_of(stage, scripted):
    @function_tool(
        name_override=scripted.name,
        needs_approval=scripted.needs_approval,
        failure_error_function=lambda _, error: f"it failed: {error}",
    )
    async def execute(city: str) -> str:
        """Do what the script says."""
        return await stage.tool(scripted.name)

    return execute


class OfOpenAIAgents(Adapter):
    """Agents of the SDK, recorded by the runner."""

    cannot = {
        "a call id that comes again": "the SDK raises where a model uses an id again",
        "fallback": "the SDK has no model that stands in for another",
        "tokens of a call that fails": "a stream tells its tokens when it is complete",
        "tokens told again and again": "the same",
    }

    async def agent(self, stage):
        return await self._ask(stage, self._agent(stage))

    async def retries(self, stage):
        retry = ModelRetrySettings(max_retries=1, policy=lambda _: True, backoff={"initial_delay": 0})
        return await self._ask(stage, self._agent(stage, model_settings=ModelSettings(retry=retry)))

    async def at_once(self, stage):
        dear, cheap = (self._agent(stage, name) for name in ("stub-1", "stub-2"))
        with trace("both", trace_id="trace_1"):
            answers = await asyncio.gather(self._ask(stage, dear), self._ask(stage, cheap))
        return answers[0]

    async def pauses(self, stage):
        result = await self._runner(stage).run(self._agent(stage), stage.script.prompt)
        return result.to_state().to_string()

    async def goes_on(self, stage, kept, *, is_granted):
        agent = self._agent(stage)
        state = await RunState.from_string(agent, kept)
        for each in state.get_interruptions():
            (state.approve if is_granted else state.reject)(each)
        return (await self._runner(stage).run(agent, state)).final_output

    async def _ask(self, stage, agent):
        if not stage.script.streamed:
            return (await self._runner(stage).run(agent, stage.script.prompt, max_turns=100)).final_output
        result = self._runner(stage).run_streamed(agent, stage.script.prompt, max_turns=100)
        await read(result)
        return result.final_output

    def _agent(self, stage, model="stub-1", **how):
        tools = [tool_of(stage, each) for each in stage.script.tools]
        about = {"instructions": stage.script.system, "tools": tools, **how}
        return Agent(name="forecaster", model=ScriptedModel(stage, model), **about)

    def _runner(self, stage):
        return BehestRunner(stage.store, metadata=stage.script.metadata, **stage.settings)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_the_log_is_the_truth(stack, scenario):
    check_scenario(OfOpenAIAgents(), scenario, stack)
