"""Agents of Pydantic AI, recorded by what they send to a user interface."""

import asyncio
from uuid import uuid4

import pytest
from ag_ui.core import AssistantMessage, FunctionCall, ResumeEntry, ToolCall
from ag_ui.encoder import EventEncoder
from ag_ui_models import asked, drained, stream, weather_agent
from behest_ag_ui import record
from pydantic_ai import Agent, CancellationToken, DeferredToolRequests, ModelRetry
from pydantic_ai.models.function import DeltaToolCall, FunctionModel
from pydantic_ai.ui.ag_ui import AGUIAdapter

from behest_core.model.state import RunStatus, UnknownFinishReason
from behest_core.model.state import TokenUsage as Usage
from behest_core.testing.recorded import all_recorded, recorded, the_recorded, when_answered


async def says_the_weather(messages, info):
    """Ask for the weather, then tell it in two pieces."""
    if len(messages) == 1:
        yield "Let me see. "
        yield {0: DeltaToolCall(name="get_weather", json_args='{"city":', tool_call_id="c-1")}
        yield {0: DeltaToolCall(json_args='"Oslo"}')}
    else:
        yield "3 "
        yield "degrees."


def weather(model=says_the_weather, **how):
    agent = Agent(FunctionModel(stream_function=model), **how)

    @agent.tool_plain
    def get_weather(city: str) -> dict[str, int]:
        return {"temp": 3}

    return agent


def events_of(agent, run_input, **how):
    return AGUIAdapter(agent=agent, run_input=run_input, include_usage=True).run_stream(**how)


def run_agent(stack, agent, run_input=None, **how):
    return asyncio.run(drained(record(events_of(agent, run_input or asked(), **how), stack.store)))


def test_an_agent_with_text_and_a_tool(stack):
    used = []
    run_agent(stack, weather(), on_complete=lambda result: used.append(result.usage))
    seen = the_recorded(stack.store)
    assert seen.types == [
        "RunStarted",
        "TextDelta",
        "AssistantMessageCommitted",
        "ToolCallCompleted",
        "ToolExecutionStarted",
        "ToolExecutionFinished",
        "ToolMessageCommitted",
        "TextDelta",
        "TextDelta",
        "AssistantMessageCommitted",
        "UsageRecorded",
        "RunCompleted",
    ]
    assert [each["delta"] for each in seen.of("TextDelta")] == ["Let me see. ", "3 ", "degrees."]
    assert seen.of("ToolCallCompleted")[0]["call"] == {
        "id": "c-1",
        "name": "get_weather",
        "arguments": {"city": "Oslo"},
    }
    [done] = seen.of("ToolExecutionFinished")
    assert (done["tool_name"], done["result"]) == ("get_weather", {"Success": {"output": '{"temp":3}'}})
    assert isinstance(done["duration_ms"], int)
    state = seen.state
    assert (state.status, state.last_finish, state.session_id) == (RunStatus.COMPLETED, "stop", "thread-1")
    [usage] = used
    assert state.total_usage == Usage(usage.input_tokens, usage.output_tokens, usage.total_tokens)
    assert usage.total_tokens > 0


def test_an_agent_encodes_what_was_recorded_as_if_it_was_not(stack):
    async def frames(events):
        return [EventEncoder().encode(each) async for each in events]

    plain = asyncio.run(frames(stream(*asyncio.run(drained(weather_agent(asked()))))))
    assert asyncio.run(frames(record(weather_agent(asked()), stack.store))) == plain


def test_an_agent_whose_tool_wants_another_try(stack):
    async def model(messages, info):
        if len(messages) < 4:
            yield {0: DeltaToolCall(name="get", json_args="{}", tool_call_id=f"c-{len(messages)}")}
        else:
            yield "Done."

    agent = Agent(FunctionModel(stream_function=model))
    answers = iter([ModelRetry("not yet"), None])

    @agent.tool_plain
    def get() -> str:
        answer = next(answers)
        if answer is not None:
            raise answer
        return "it"

    run_agent(stack, agent)
    seen = the_recorded(stack.store)
    outputs = [each["result"]["Success"]["output"] for each in seen.of("ToolExecutionFinished")]
    assert "not yet" in outputs[0]
    assert outputs[1] == "it"
    assert (seen.state.status, seen.text) == (RunStatus.COMPLETED, "Done.")


def test_an_agent_whose_tool_raises(stack):
    agent = Agent(FunctionModel(stream_function=says_the_weather))

    @agent.tool_plain
    def get_weather(city: str) -> str:
        raise RuntimeError("no weather")

    run_agent(stack, agent)
    seen = the_recorded(stack.store)
    assert seen.types == [
        "RunStarted",
        "TextDelta",
        "AssistantMessageCommitted",
        "ToolCallCompleted",
        "ToolExecutionStarted",
        "ToolExecutionFinished",
        "ToolMessageCommitted",
        "RunFailed",
    ]
    assert seen.state.last_error == "no weather"


@pytest.mark.parametrize("calls_before", [0, 1])
def test_an_agent_whose_model_fails(stack, calls_before):
    async def model(messages, info):
        if len(messages) > 2 * calls_before:
            raise ConnectionError("overloaded")
        async for each in says_the_weather(messages, info):
            yield each

    run_agent(stack, weather(model))
    seen = the_recorded(stack.store)
    assert (seen.types[0], seen.types[-1]) == ("RunStarted", "RunFailed")
    assert len(seen.of("ToolCallCompleted")) == calls_before
    assert (seen.state.status, seen.state.last_error) == (RunStatus.FAILED, "overloaded")


class Endless:
    """A model that has written a word, and goes on for ever."""

    def __init__(self):
        self.is_writing = asyncio.Event()

    async def __call__(self, *_):
        yield "Hi"
        self.is_writing.set()
        await asyncio.Event().wait()
        yield "never"


def test_an_agent_whose_task_is_cancelled(stack):
    model = Endless()

    async def cancel():
        task = asyncio.create_task(drained(record(events_of(weather(model), asked()), stack.store)))
        await model.is_writing.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert the_recorded(stack.store).types == ["RunStarted", "TextDelta", "RunCancelled"]


@pytest.mark.parametrize(("protocol", "status"), [("1.0", RunStatus.CANCELLED), (None, RunStatus.COMPLETED)])
def test_an_agent_that_is_cancelled_by_its_token_tells_only_clients_of_1_0(stack, protocol, status):
    model, token = Endless(), CancellationToken()

    async def cancel():
        run_input = asked(protocol_version=protocol)
        events = record(events_of(weather(model), run_input, cancellation_token=token), stack.store)
        task = asyncio.create_task(drained(events))
        await model.is_writing.wait()
        token.cancel()
        await task

    asyncio.run(cancel())
    seen = the_recorded(stack.store)
    assert seen.types[:3] == ["RunStarted", "TextDelta", "AssistantMessageCommitted"]
    assert seen.state.status is status


def test_several_agents_at_once_are_runs_of_their_own(stack):
    async def at_once():
        agent = weather()
        inputs = [asked(f"r-{number}", thread_id=f"t-{number}") for number in range(8)]
        await asyncio.gather(*(drained(record(events_of(agent, each), stack.store)) for each in inputs))

    asyncio.run(at_once())
    runs = all_recorded(stack.store)
    assert {each.record.run_id: each.record.session_id for each in runs} == {f"r-{n}": f"t-{n}" for n in range(8)}
    assert {tuple(each.types) for each in runs} == {tuple(runs[0].types)}
    assert {each.state.status for each in runs} == {RunStatus.COMPLETED}
    assert {each.text for each in runs} == {"Let me see. 3 degrees."}


def test_an_agent_that_waits_for_an_approval(stack):
    agent = Agent(FunctionModel(stream_function=says_the_weather), output_type=[str, DeferredToolRequests])

    @agent.tool_plain(requires_approval=True)
    def get_weather(city: str) -> str:
        return "3"

    run_agent(stack, agent)
    seen = the_recorded(stack.store)
    assert seen.types[-2:] == ["UsageRecorded", "agent.Paused"]
    assert seen.events[-1]["pending"] == ["int-c-1"]
    assert seen.of("ToolExecutionStarted") == []
    assert not seen.state.status.is_terminal


@pytest.mark.parametrize(
    ("entry", "answered"),
    [
        ({"status": "resolved", "payload": {"approved": True}}, "granted"),
        ({"status": "resolved", "payload": {"approved": False}}, "denied"),
        ({"status": "resolved", "payload": "3 degrees"}, "answered"),
        ({"status": "cancelled"}, "denied"),
    ],
)
@pytest.mark.parametrize("is_named", [True, False], ids=["named", "looked for"])
def test_an_agent_that_goes_on_with_an_answer_says_so_in_both_logs(stack, entry, answered, is_named):
    first, second, thread = (str(uuid4()) for _ in range(3))

    def waits():
        agent = Agent(FunctionModel(stream_function=says_the_weather), output_type=[str, DeferredToolRequests])
        agent.tool_plain(requires_approval=True)(get_weather)
        return agent

    def get_weather(city: str) -> str:
        return "3"

    run_agent(stack, waits(), asked(first, thread))
    stack.deliver()  # a run that waits is looked for in the state table
    resume = [ResumeEntry(interrupt_id="int-c-1", **entry)]
    again = asked(second, thread, parent_run_id=first if is_named else None, resume=resume)
    asks = ToolCall(id="c-1", function=FunctionCall(name="get_weather", arguments='{"city":"Oslo"}'))
    again.messages.append(AssistantMessage(id="m", tool_calls=[asks]))
    events = record(events_of(waits(), again), stack.store, run_input=again)
    asyncio.run(drained(events))
    when_answered()
    paused, going_on = recorded(stack.store, first), recorded(stack.store, second)
    [waited], [said] = paused.of("agent.Resumed"), going_on.of("agent.Resumed")
    assert waited["answers"] == said["answers"] == {"int-c-1": answered}
    assert (waited["answering_run_id"], said["paused_run_id"]) == (second, first)
    assert paused.state.last_finish == UnknownFinishReason("paused")
    assert {each["tool_name"] for each in going_on.of("ToolExecutionFinished")} <= {"get_weather"}
