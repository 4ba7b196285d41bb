import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import behest_openai_agents
import pytest
from agents import (
    Agent,
    GuardrailFunctionOutput,
    InputGuardrailTripwireTriggered,
    LocalShellTool,
    MaxTurnsExceeded,
    ModelBehaviorError,
    ModelRefusalError,
    OutputGuardrailTripwireTriggered,
    RunConfig,
    RunHooks,
    Runner,
    RunState,
    SQLiteSession,
    UserError,
    function_tool,
    gen_trace_id,
    input_guardrail,
    output_guardrail,
    trace,
)
from agents.lifecycle import RunHooksBase
from agents.testing import ModelStep
from behest_openai_agents import BehestRunner, recording
from behest_openai_agents.recording import RecordingHooks
from openai.types.responses import ResponseFunctionWebSearch, ResponseOutputRefusal
from openai.types.responses.response_output_item import LocalShellCall

from behest_core.model.state import RunStatus, TokenUsage
from behest_core.recording.recorder import RunRecorder
from behest_core.recording.writer import _outboxes
from tests.agents.openai_agents_models import StubModel, asks, says, streams, tokens
from tests.agents.recorded import all_recorded, the_recorded
from tests.aws.test_recorder import away

ASKED = ["ModelStarted", "ToolCallCompleted", "UsageRecorded", "AssistantMessageCommitted"]
SAID = ["ModelStarted", "TextDelta", "UsageRecorded", "AssistantMessageCommitted"]
USED = ["ToolExecutionStarted", "ToolExecutionFinished"]


@pytest.fixture
def runner(stack):
    return BehestRunner(stack.store)


@pytest.fixture
def loop():
    """Return the loop that `run_sync` takes, and leaves open."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield loop
    asyncio.set_event_loop(None)
    loop.close()


@function_tool
async def weather(city: str) -> dict[str, int]:
    """The weather."""
    return {"temp": 3}


@function_tool
async def broken(city: str) -> str:
    """Never works."""
    raise ValueError("no such city")


@function_tool(failure_error_function=None)
async def fatal(city: str) -> str:
    """Brings the run down."""
    raise ValueError("no such city")


@function_tool(failure_error_function=lambda _, error: f"{error}, sorry")
async def sorry(city: str) -> str:
    """Says why it does not work."""
    raise ValueError("no such city")


def agent(*steps, tools=(weather,), name="forecaster", **how):
    return Agent(name=name, model=StubModel(steps), tools=list(tools), **how)


def answers(tool="weather"):
    """Two model calls, with a tool in between."""
    return [asks(tool, {"city": "Oslo"}, tokens(10, 2)), says("3 degrees.", tokens(20, 4, cached=8))]


async def read(result, events=None):
    return [event async for event in result.stream_events()]


# ---------------------------------------------------------------- text and tools


def test_text_and_tools_are_recorded_in_order(stack, runner):
    result = asyncio.run(runner.run(agent(*answers()), "Oslo?"))
    run = the_recorded(stack)
    assert result.final_output == "3 degrees."
    assert run.types == ["RunStarted", *ASKED, *USED, *SAID, "RunCompleted"]
    assert (run.state.status, run.state.iteration, run.text) == (RunStatus.COMPLETED, 2, "3 degrees.")
    assert run.state.total_usage == TokenUsage(30, 6, 36, cached_input_tokens=8)
    assert run.of("RunCompleted")[0]["finish_reason"] == "stop"


def test_a_tool_call_has_its_id_arguments_result_and_duration(stack, runner):
    asyncio.run(runner.run(agent(*answers()), "Oslo?"))
    run = the_recorded(stack)
    [call], [started], [finished] = map(run.of, ("ToolCallCompleted", "ToolExecutionStarted", "ToolExecutionFinished"))
    assert call["call"] == {"id": "call-1", "name": "weather", "arguments": {"city": "Oslo"}}
    assert (started["call_id"], started["tool_name"]) == ("call-1", "weather")
    assert (finished["call_id"], finished["tool_name"]) == ("call-1", "weather")
    assert finished["result"] == {"Success": {"output": {"temp": 3}}}
    assert isinstance(finished["duration_ms"], int)


def test_a_model_call_is_recorded_with_its_own_tokens(stack, runner):
    model = StubModel(
        [
            asks("weather", {"city": "Oslo"}, tokens(100, 5, cached=60, cache_written=30)),
            asks("weather", {"city": "Bergen"}, call_id="call-2"),  # the provider told no usage
            says("3 degrees.", tokens(200, 7, cached=150)),
        ]
    )
    asyncio.run(runner.run(Agent(name="forecaster", model=model, tools=[weather]), "Oslo?"))
    assert [each["usage"] for each in the_recorded(stack).of("UsageRecorded")] == [
        {
            "input_tokens": 70,
            "output_tokens": 5,
            "total_tokens": 75,
            "cache_creation_input_tokens": 30,
            "cached_input_tokens": 60,
        },
        {"input_tokens": 200, "output_tokens": 7, "total_tokens": 207, "cached_input_tokens": 150},
    ]


def test_a_message_is_committed_by_its_id_where_the_model_gives_one(stack, runner):
    unnamed = ModelStep(output=says("Bye.", message_id="__fake_id__").output, response_id=None)
    asyncio.run(runner.run(agent(asks("weather", {"city": "Oslo"}), says("3 degrees.")), "Oslo?"))
    asyncio.run(runner.run(agent(unnamed), "Bye"))
    ids = [[each["message_id"] for each in run.of("AssistantMessageCommitted")] for run in all_recorded(stack)]
    unnamed_run = all_recorded(stack)[1].record.run_id
    assert ids == [["resp-0", "msg-1"], [f"{unnamed_run}/message-1"]]


def test_it_runs_without_an_event_loop_too(stack, runner, loop):
    result = runner.run_sync(agent(*answers()), "Oslo?")
    run = the_recorded(stack)
    assert result.final_output == "3 degrees."
    assert run.types == ["RunStarted", *ASKED, *USED, *SAID, "RunCompleted"]
    assert run.state.status is RunStatus.COMPLETED


def test_a_run_that_ends_with_a_tools_output_says_so(stack, runner):
    result = asyncio.run(runner.run(agent(answers()[0], tool_use_behavior="stop_on_first_tool"), "Oslo?"))
    run = the_recorded(stack)
    assert result.final_output == "{'temp': 3}"
    assert run.types == ["RunStarted", *ASKED, *USED, "RunCompleted"]
    assert run.of("RunCompleted")[0]["finish_reason"] == "tool_calls"


def test_a_refusal_is_text(stack, runner):
    step = says("")
    step.output[0].content = [ResponseOutputRefusal(type="refusal", refusal="No.")]
    with pytest.raises(ModelRefusalError):
        asyncio.run(runner.run(agent(step), "Oslo?"))
    assert the_recorded(stack).text == "No."


def test_tools_that_are_no_functions_are_tools_too(stack, runner):
    search = {
        "type": "web_search_call",
        "id": "ws-1",
        "status": "completed",
        "action": {"type": "search", "query": "Oslo"},
    }
    command = {"type": "exec", "command": ["ls"], "env": {}}
    shell = {"type": "local_shell_call", "id": "ls-1", "call_id": "call-1", "status": "completed", "action": command}
    output = [ResponseFunctionWebSearch(**search), LocalShellCall(**shell)]
    tools = [LocalShellTool(executor=lambda _: "readme.md")]
    asyncio.run(runner.run(agent(ModelStep(output=output), says("A file."), tools=tools), "Files?"))
    run = the_recorded(stack)
    calls = [each["call"] for each in run.of("ToolCallCompleted")]
    assert [(call["id"], call["name"]) for call in calls] == [("ws-1", "web_search"), ("call-1", "local_shell")]
    assert (calls[0]["arguments"]["action"]["query"], calls[1]["arguments"]["action"]["command"]) == ("Oslo", ["ls"])
    [finished] = run.of("ToolExecutionFinished")
    assert (finished["call_id"], finished["result"]) == ("local_shell", {"Success": {"output": "readme.md"}})


# ---------------------------------------------------------------- tools that fail


@pytest.mark.parametrize(
    ("tool", "tracing_disabled", "error"),
    [
        (broken, False, "An error occurred while running the tool. Please try again."),
        (broken, True, "An error occurred while running the tool. Please try again."),
        (sorry, False, "no such city, sorry"),
    ],
)
def test_a_tool_that_fails_is_recorded_as_the_model_is_told(stack, runner, tool, tracing_disabled, error):
    config = RunConfig(tracing_disabled=tracing_disabled)
    asyncio.run(runner.run(agent(*answers(tool.name), tools=[tool]), "Oslo?", run_config=config))
    run = the_recorded(stack)
    assert run.types == ["RunStarted", *ASKED, *USED, *SAID, "RunCompleted"]
    assert run.of("ToolExecutionFinished")[0]["result"] == {"Failure": {"error": error}}
    assert run.state.status is RunStatus.COMPLETED


def test_without_tracing_a_tool_with_a_failure_error_function_of_its_own_seems_to_succeed(stack, runner):
    config = RunConfig(tracing_disabled=True)
    asyncio.run(runner.run(agent(*answers("sorry"), tools=[sorry]), "Oslo?", run_config=config))
    [finished] = the_recorded(stack).of("ToolExecutionFinished")
    assert finished["result"] == {"Success": {"output": "no such city, sorry"}}


def test_a_tool_that_brings_the_run_down_is_recorded_with_the_error(stack, runner):
    with pytest.raises(UserError):
        asyncio.run(runner.run(agent(*answers("fatal"), tools=[fatal]), "Oslo?"))
    run = the_recorded(stack)
    assert run.types == ["RunStarted", *ASKED, *USED, "RunFailed"]
    error = "UserError: Error running tool fatal: no such city"
    assert run.of("ToolExecutionFinished")[0]["result"] == {"Failure": {"error": error}}
    assert (run.state.status, run.state.last_error) == (RunStatus.FAILED, error)


def test_a_tool_that_the_model_made_up_fails_the_run_and_keeps_its_tokens(stack, runner):
    with pytest.raises(ModelBehaviorError):
        asyncio.run(runner.run(agent(asks("unheard_of", {}, tokens(10, 2))), "Oslo?"))
    run = the_recorded(stack)
    assert run.types == ["RunStarted", *ASKED, "RunFailed"]
    assert run.state.total_usage.total_tokens == 12


# ---------------------------------------------------------------- runs that fail


def test_a_model_that_fails_keeps_the_tokens_of_the_calls_before(stack, runner):
    with pytest.raises(ConnectionError):
        asyncio.run(runner.run(agent(answers()[0], ConnectionError("gone")), "Oslo?"))
    run = the_recorded(stack)
    assert run.types == ["RunStarted", *ASKED, *USED, "ModelStarted", "RunFailed"]
    assert (run.state.status, run.state.last_error) == (RunStatus.FAILED, "ConnectionError: gone")
    assert run.state.total_usage == TokenUsage(10, 2, 12)


def test_a_model_may_fail_on_the_first_call(stack, runner):
    with pytest.raises(ConnectionError):
        asyncio.run(runner.run(agent(ConnectionError("gone")), "Oslo?"))
    run = the_recorded(stack)
    assert run.types == ["RunStarted", "ModelStarted", "RunFailed"]
    assert run.state.last_error == "ConnectionError: gone"


def test_too_many_turns_fail_the_run(stack, runner):
    with pytest.raises(MaxTurnsExceeded):
        asyncio.run(runner.run(agent(*answers()), "Oslo?", max_turns=1))
    run = the_recorded(stack)
    assert run.types == ["RunStarted", *ASKED, *USED, "RunFailed"]
    assert run.state.last_error == "MaxTurnsExceeded: Max turns (1) exceeded"


@input_guardrail(run_in_parallel=False)
async def nothing_goes_in(context, agent, question):
    return GuardrailFunctionOutput(output_info=None, tripwire_triggered=True)


@output_guardrail
async def nothing_comes_out(context, agent, output):
    return GuardrailFunctionOutput(output_info=None, tripwire_triggered=True)


def test_an_input_guardrail_fails_the_run_before_the_model_is_called(stack, runner):
    with pytest.raises(InputGuardrailTripwireTriggered):
        asyncio.run(runner.run(agent(says("Hi"), input_guardrails=[nothing_goes_in]), "Hi"))
    run = the_recorded(stack)
    assert run.types == ["RunStarted", "RunFailed"]
    assert run.state.last_error.startswith("InputGuardrailTripwireTriggered: ")


def test_an_output_guardrail_fails_a_run_that_had_its_answer(stack, runner):
    with pytest.raises(OutputGuardrailTripwireTriggered):
        asyncio.run(runner.run(agent(says("Hi", tokens(5, 1)), output_guardrails=[nothing_comes_out]), "Hi"))
    run = the_recorded(stack)
    assert run.types == ["RunStarted", *SAID, "RunFailed"]
    assert run.state.total_usage.total_tokens == 6


def test_a_mistake_of_the_callers_is_the_sdks_to_tell(stack, runner):
    with pytest.raises(TypeError, match="Run hooks must be instances of RunHooks"):
        asyncio.run(runner.run(agent(says("Hi")), "Hi", hooks="none"))
    with pytest.raises(TypeError, match="Run hooks must be instances of RunHooks"):
        runner.run_streamed(agent(says("Hi")), "Hi", hooks="none")
    settled_all(stack)
    assert [run.types for run in all_recorded(stack)] == [["RunStarted", "RunFailed"]] * 2


# ---------------------------------------------------------------- cancellation


def waiting_tool(entered):
    @function_tool
    async def wait(city: str) -> str:
        """Waits for ever."""
        entered.set()
        await asyncio.Event().wait()
        return "never"

    return wait


def test_a_cancelled_task_is_cancelled_and_recorded_so(stack, runner):
    async def main():
        entered = asyncio.Event()
        cancelled = agent(*answers("wait"), tools=[waiting_tool(entered)])
        task = asyncio.create_task(runner.run(cancelled, "Oslo?"))
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    run = settled(stack)
    assert run.types == ["RunStarted", *ASKED, *USED, "RunCancelled"]
    assert run.of("ToolExecutionFinished")[0]["result"] == {"Failure": {"error": "cancelled"}}
    assert (run.state.status, run.state.total_usage.total_tokens) == (RunStatus.CANCELLED, 12)


def test_a_tool_that_outlives_its_cancelled_run_is_recorded_no_more(stack, runner, caplog):
    entered, ended, returned = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @function_tool
    async def stubborn(city: str) -> str:
        """Does not let itself be cancelled."""
        entered.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await ended.wait()
        return "late"

    class Hooks(RunHooks):
        async def on_tool_end(self, *_):
            returned.set()

    async def main():
        task = asyncio.create_task(runner.run(agent(*answers("stubborn"), tools=[stubborn]), "Oslo?", hooks=Hooks()))
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        ended.set()
        await returned.wait()

    asyncio.run(main())
    assert settled(stack).types == ["RunStarted", *ASKED, *USED, "RunCancelled"]
    assert caplog.text == ""


def test_a_cancelled_run_does_not_wait_for_the_table(stack, runner, monkeypatch):
    waits = []

    async def aclose(*arguments):
        waits.append(arguments)

    def interrupt(_call):
        raise asyncio.CancelledError

    monkeypatch.setattr(RunRecorder, "aclose", aclose)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(runner.run(agent(ModelStep.respond(interrupt)), "Oslo?"))
    assert settled(stack).state.status is RunStatus.CANCELLED
    assert waits == []


def test_a_timeout_around_a_run_cancels_it(stack, runner):
    async def main():
        async def expire(_call):
            timeout.reschedule(asyncio.get_running_loop().time())
            await asyncio.Event().wait()

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(None) as timeout:
                await runner.run(agent(ModelStep.respond(expire)), "Oslo?")

    asyncio.run(main())
    assert settled(stack).types == ["RunStarted", "ModelStarted", "RunCancelled"]


def test_ctrl_c_cancels_a_run_without_event_loop(stack, runner, loop):
    def interrupt(_call):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runner.run_sync(agent(ModelStep.respond(interrupt)), "Oslo?")
    assert settled(stack).state.status is RunStatus.CANCELLED


def settled(stack):
    """Return the only run, whose end nobody waited for."""
    settled_all(stack)
    return the_recorded(stack)


def settled_all(stack):
    """Wait for what is written beside the agents, as the interpreter does at its exit."""
    for outbox in unfinished(stack):
        outbox.flush()


def unfinished(stack):
    return [outbox for outbox in list(_outboxes) if outbox._log is stack.store.event_log]


# ---------------------------------------------------------------- streaming


def test_a_streamed_text_is_recorded_in_the_pieces_that_were_read(stack, runner):
    async def main():
        result = runner.run_streamed(agent(answers()[0], streams("3 ", "degrees", ".", usage=tokens(20, 4))), "Oslo?")
        await read(result)
        return result

    result = asyncio.run(main())
    run = the_recorded(stack)
    assert result.final_output == "3 degrees."
    said = ["ModelStarted", *["TextDelta"] * 3, "UsageRecorded", "AssistantMessageCommitted"]
    assert run.types == ["RunStarted", *ASKED, *USED, *said, "RunCompleted"]
    assert ([each["delta"] for each in run.of("TextDelta")], run.state.status) == (
        ["3 ", "degrees", "."],
        RunStatus.COMPLETED,
    )
    assert run.state.total_usage.total_tokens == 36


def test_the_reader_of_a_stream_gets_what_the_sdk_gives(stack, runner):
    async def main(how):
        result = how(agent(answers()[0], streams("3 ", "degrees.")), "Oslo?")
        return [getattr(event, "name", event.type) for event in await read(result)]

    assert asyncio.run(main(runner.run_streamed)) == asyncio.run(main(Runner.run_streamed))


def test_a_stream_that_is_read_late_or_not_at_all_is_recorded_once_and_whole(stack, runner):
    async def main(*, is_read):
        result = runner.run_streamed(agent(streams("3 ", "degrees.")), "Oslo?")
        await result.run_loop_task
        if is_read:
            await read(result)

    asyncio.run(main(is_read=True))
    asyncio.run(main(is_read=False))
    settled_all(stack)
    said = ["ModelStarted", "TextDelta", "AssistantMessageCommitted"]
    assert [run.types for run in all_recorded(stack)] == [["RunStarted", *said, "RunCompleted"]] * 2
    assert [run.text for run in all_recorded(stack)] == ["3 degrees."] * 2


def test_a_reader_who_falls_behind_gets_no_text_into_the_log_twice(stack, runner):
    answered = asyncio.Event()

    class Hooks(RunHooks):
        async def on_llm_start(self, *_):
            answered.clear()

        async def on_llm_end(self, *_):
            answered.set()

    async def main():
        steps = [streams("Let ", "me ", "see. ", then=asks("weather", {"city": "Oslo"})), says("3 degrees.")]
        async for event in runner.run_streamed(agent(*steps), "Oslo?", hooks=Hooks()).stream_events():
            if event.type == "raw_response_event":
                await answered.wait()

    asyncio.run(main())
    assert [each["delta"] for each in the_recorded(stack).of("TextDelta")] == ["Let ", "me see. ", "3 degrees."]


def test_a_stream_that_is_left_early_goes_on_and_is_recorded_to_its_end(stack, runner):
    async def main():
        result = runner.run_streamed(agent(*answers()), "Oslo?")
        async for _ in result.stream_events():
            break
        await result.run_loop_task

    asyncio.run(main())
    settled_all(stack)
    assert the_recorded(stack).types == ["RunStarted", *ASKED, *USED, *SAID, "RunCompleted"]


def test_a_model_that_fails_in_the_middle_of_its_answer_leaves_what_was_read(stack, runner):
    async def main():
        result = runner.run_streamed(agent(streams("3 ", "deg", error=ConnectionError("gone"))), "Oslo?")
        with pytest.raises(ConnectionError):
            await read(result)

    asyncio.run(main())
    run = the_recorded(stack)
    assert run.types == ["RunStarted", "ModelStarted", "TextDelta", "TextDelta", "RunFailed"]
    assert (run.text, run.state.last_error) == ("3 deg", "ConnectionError: gone")


@pytest.mark.parametrize("is_read", [True, False])
def test_a_stream_fails_by_too_many_turns_whether_it_is_read_or_not(stack, runner, is_read):
    async def main():
        result = runner.run_streamed(agent(*answers()), "Oslo?", max_turns=1)
        if is_read:
            with pytest.raises(MaxTurnsExceeded):
                await read(result)
        else:
            await result.run_loop_task

    asyncio.run(main())
    settled_all(stack)
    run = the_recorded(stack)
    assert run.types == ["RunStarted", *ASKED, *USED, "RunFailed"]
    assert run.state.last_error == "MaxTurnsExceeded: Max turns (1) exceeded"


def test_a_stream_fails_by_a_guardrail_that_raises_after_the_answer(stack, runner):
    answered = asyncio.Event()

    @input_guardrail
    async def late(context, agent, question):
        await answered.wait()
        raise LookupError("no verdict")

    class Hooks(RunHooks):
        async def on_agent_end(self, *_):
            answered.set()

    async def main():
        result = runner.run_streamed(agent(says("Hi"), input_guardrails=[late]), "Hi", hooks=Hooks())
        with pytest.raises(LookupError):
            await read(result)

    asyncio.run(main())
    run = the_recorded(stack)
    assert (run.types[-1], run.state.last_error) == ("RunFailed", "LookupError: no verdict")


@pytest.mark.parametrize("mode", ["immediate", "after_turn"])
def test_a_stream_can_be_cancelled(stack, runner, mode):
    async def main():
        result = runner.run_streamed(agent(*answers()), "Oslo?")
        async for event in result.stream_events():
            if event.type == "run_item_stream_event":
                result.cancel(mode=mode)

    asyncio.run(main())
    settled_all(stack)
    run = the_recorded(stack)
    assert run.types[-1] == "RunCancelled"
    assert (run.state.status, run.state.total_usage.total_tokens) == (RunStatus.CANCELLED, 12)


def test_cancelling_the_reader_cancels_the_run(stack, runner):
    async def main():
        entered = asyncio.Event()
        result = runner.run_streamed(agent(*answers("wait"), tools=[waiting_tool(entered)]), "Oslo?")
        task = asyncio.create_task(read(result))
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert settled(stack).types == ["RunStarted", *ASKED, *USED, "RunCancelled"]


def test_a_stream_that_the_end_of_the_loop_stops_is_cancelled(stack, runner):
    async def main():
        entered = asyncio.Event()
        runner.run_streamed(agent(*answers("wait"), tools=[waiting_tool(entered)]), "Oslo?")
        await entered.wait()

    asyncio.run(main())
    assert settled(stack).types[-1] == "RunCancelled"


# ---------------------------------------------------------------- several agents, several runs


def test_several_runs_at_once_keep_apart(stack, runner):
    async def main():
        cities = [f"city {number}" for number in range(5)]
        await asyncio.gather(*(runner.run(agent(*named(city)), city) for city in cities))
        return cities

    def named(city):
        return [asks("weather", {"city": city}, tokens(10, 2)), says(city, tokens(20, 4))]

    cities = asyncio.run(main())
    runs = all_recorded(stack)
    assert sorted(run.text for run in runs) == cities
    for run in runs:
        assert run.types == ["RunStarted", *ASKED, *USED, *SAID, "RunCompleted"]
        assert run.of("ToolCallCompleted")[0]["call"]["arguments"] == {"city": run.text}
        assert run.state.total_usage.total_tokens == 36


def test_several_threads_can_share_a_runner(stack, runner):
    with ThreadPoolExecutor(3) as threads:
        results = list(threads.map(lambda city: asyncio.run(runner.run(agent(*answers()), city)), "abc"))
    assert [result.final_output for result in results] == ["3 degrees."] * 3
    assert [run.types for run in all_recorded(stack)] == [["RunStarted", *ASKED, *USED, *SAID, "RunCompleted"]] * 3


def test_a_handoff_is_a_part_of_the_run_with_the_other_agents_model(stack, runner):
    other = StubModel([says("Hola", tokens(7, 1))])
    other.model = "anthropic/claude-sonnet-4-5"
    spanish = Agent(name="spanish", model=other)
    first = agent(asks("transfer_to_spanish", {}, tokens(10, 2)), handoffs=[spanish])
    result = asyncio.run(runner.run(first, "Hola"))
    run = the_recorded(stack)
    assert result.last_agent is spanish
    assert run.types == ["RunStarted", *ASKED, *SAID, "RunCompleted"]
    models = [(each["provider"], each["model"], each["iteration"]) for each in run.of("ModelStarted")]
    assert models == [("openai", "gpt-4o", 1), ("anthropic", "claude-sonnet-4-5", 2)]


@pytest.mark.parametrize("ends_badly", [False, True])
def test_an_agent_used_as_a_tool_is_a_tool_whose_tokens_count(stack, runner, ends_badly):
    inner = agent(*answers(), name="inner").as_tool("ask_inner", "Asks.")
    last = ConnectionError("gone") if ends_badly else says("3 degrees.", tokens(40, 8))
    outer = agent(asks("ask_inner", {"input": "Oslo?"}, tokens(1, 1)), last, tools=[inner])
    try:
        asyncio.run(runner.run(outer, "Oslo?"))
    except ConnectionError:
        assert ends_badly
    run = the_recorded(stack)
    end = ["ModelStarted", "RunFailed"] if ends_badly else [*SAID, "RunCompleted"]
    assert run.types == ["RunStarted", *ASKED, *USED, "UsageRecorded", "UsageRecorded", *end]
    counts = [each["usage"]["total_tokens"] for each in run.of("UsageRecorded")]
    assert counts == [2, 12, 24, 48][: len(counts)]
    assert run.of("ToolExecutionFinished")[0]["result"] == {"Success": {"output": "3 degrees."}}


def test_a_run_that_a_tool_starts_has_a_log_of_its_own_and_its_parents_session(stack, runner):
    @function_tool
    async def ask_inner(question: str) -> str:
        """Asks."""
        result = await runner.run(agent(says("3 degrees.", tokens(5, 1)), name="inner"), question)
        return result.final_output

    outer = agent(asks("ask_inner", {"question": "Oslo?"}), says("3."), tools=[ask_inner])
    asyncio.run(runner.run(outer, "Oslo?"))
    asyncio.run(runner.run(agent(says("Bye")), "Bye"))
    parent, child, other = all_recorded(stack)
    assert child.record.metadata["parent_run_id"] == parent.record.run_id
    assert child.record.session_id == parent.record.session_id != other.record.session_id
    assert "parent_run_id" not in other.record.metadata
    assert [run.state.status for run in (parent, child, other)] == [RunStatus.COMPLETED] * 3
    assert (parent.state.total_usage.total_tokens, child.state.total_usage.total_tokens) == (0, 6)


# ---------------------------------------------------------------- pauses


@function_tool(needs_approval=True)
async def delete(city: str) -> str:
    """Deletes."""
    return f"deleted {city}"


def pausing():
    return agent(asks("delete", {"city": "Oslo"}, tokens(10, 2)), says("Done.", tokens(20, 4)), tools=[delete])


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_run_that_waits_for_an_approval_is_paused_and_its_resume_is_another(stack, runner, is_streamed):
    async def run(an_agent, question):
        if not is_streamed:
            return await runner.run(an_agent, question, run_config=RunConfig(group_id="thread-7"))
        result = runner.run_streamed(an_agent, question, run_config=RunConfig(group_id="thread-7"))
        await read(result)
        return result

    async def main():
        an_agent = pausing()
        result = await run(an_agent, "Delete Oslo")
        state = await RunState.from_json(an_agent, result.to_state().to_json())
        state.approve(state.get_interruptions()[0])
        return await run(an_agent, state)

    assert asyncio.run(main()).final_output == "Done."
    paused, resumed = all_recorded(stack)
    assert paused.types == ["RunStarted", *ASKED, "agent.Paused"]
    assert [(each["reason"], each["pending"]) for each in paused.of("agent.Paused")] == [("approval", ["call-1"])]
    assert not paused.state.status.is_terminal
    assert resumed.types == ["RunStarted", *USED, *SAID, "RunCompleted"]
    assert (paused.state.total_usage.total_tokens, resumed.state.total_usage.total_tokens) == (12, 24)
    assert paused.record.session_id == resumed.record.session_id == "thread-7"


def test_a_resume_with_the_same_trace_id_continues_the_log(stack, runner):
    async def main():
        an_agent, config = pausing(), RunConfig(trace_id="trace_1")
        state = (await runner.run(an_agent, "Delete Oslo", run_config=config)).to_state()
        state.approve(state.get_interruptions()[0])
        await runner.run(an_agent, state, run_config=config)

    asyncio.run(main())
    run = the_recorded(stack)
    assert run.types == ["RunStarted", *ASKED, "agent.Paused", "RunStarted", *USED, *SAID, "RunCompleted"]
    assert (run.record.run_id, run.state.total_usage.total_tokens) == ("trace_1", 36)


def test_a_tool_that_is_denied_is_not_executed(stack, runner):
    async def main():
        an_agent = pausing()
        state = (await runner.run(an_agent, "Delete Oslo")).to_state()
        state.reject(state.get_interruptions()[0])
        await runner.run(an_agent, state)

    asyncio.run(main())
    assert all_recorded(stack)[1].types == ["RunStarted", *SAID, "RunCompleted"]


def test_an_approval_inside_of_an_agent_used_as_a_tool_counts_no_tokens_twice(stack, runner):
    async def main():
        inner = pausing().as_tool("ask_inner", "Asks.")
        outer = agent(
            asks("ask_inner", {"input": "?"}, tokens(1, 1), call_id="c"), says("Ok.", tokens(40, 8)), tools=[inner]
        )
        state = (await runner.run(outer, "Delete Oslo")).to_state()
        state.approve(state.get_interruptions()[0])
        await runner.run(outer, state)

    asyncio.run(main())
    paused, resumed = (
        [each["usage"]["total_tokens"] for each in run.of("UsageRecorded")] for run in all_recorded(stack)
    )
    assert (paused, resumed) == ([2, 12], [24, 48])
    assert all_recorded(stack)[0].types[-1] == "agent.Paused"


# ---------------------------------------------------------------- ids, sessions, names


def test_the_configs_trace_id_is_the_run_id(stack, runner):
    trace_id = gen_trace_id()
    asyncio.run(runner.run(agent(says("Hi")), "Hi", run_config=RunConfig(trace_id=trace_id)))
    record = the_recorded(stack).record
    assert (record.run_id, record.client_request_id) == (trace_id, f"openai-agents:{trace_id}")
    assert record.metadata == {
        "framework": "openai-agents",
        "framework_run_id": trace_id,
        "agent": "forecaster",
    }


def test_runs_inside_of_one_trace_are_several(stack, runner):
    async def main():
        with trace("both", trace_id="trace_1"):
            for _ in range(2):
                await runner.run(agent(says("Hi")), "Hi", run_config={"trace_id": "trace_1"})

    asyncio.run(main())
    runs = all_recorded(stack)
    assert [run.record.metadata["trace_id"] for run in runs] == ["trace_1", "trace_1"]
    assert [run.state.status for run in runs] == [RunStatus.COMPLETED] * 2


class Unready:
    """A session that has no id before it is used."""

    @property
    def session_id(self):
        raise ValueError("not yet")

    async def get_items(self, **_):
        return []

    async def add_items(self, items):
        pass


@pytest.mark.parametrize(
    ("options", "session_id"),
    [
        ({}, "mine"),
        ({"run_config": RunConfig(group_id="group")}, "group"),
        ({"run_config": {"group_id": "group"}}, "group"),
        ({"run_config": RunConfig(group_id="group"), "session": SQLiteSession("sqlite")}, "sqlite"),
        ({"run_config": RunConfig(group_id="group"), "session": Unready()}, "group"),
        ({"run_config": RunConfig(group_id="group"), "conversation_id": "conversation"}, "conversation"),
    ],
)
def test_a_session_is_what_the_sdk_groups_by_else_the_runners(stack, options, session_id):
    runner = BehestRunner(stack.store, session_id="mine", metadata={"team": "sky"})
    asyncio.run(runner.run(agent(says("Hi")), "Hi", **options))
    record = the_recorded(stack).record
    assert (record.session_id, record.metadata["team"]) == (session_id, "sky")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gpt-4o", ("azure", "gpt-4o")),
        ("openai/gpt-4o", ("openai", "gpt-4o")),
        ("litellm/anthropic/claude-sonnet-4-5", ("anthropic", "claude-sonnet-4-5")),
        ("any-llm/openrouter/openai/gpt-4o", ("openrouter", "openai/gpt-4o")),
    ],
)
def test_a_model_is_named_as_its_provider_names_it(stack, name, expected):
    class Provider:
        def get_model(self, _name):
            return StubModel([says("Hi")])

        async def aclose(self):
            pass

    runner = BehestRunner(stack.store, provider="azure")
    asyncio.run(runner.run(Agent(name="a", model=name), "Hi", run_config=RunConfig(model_provider=Provider())))
    run = the_recorded(stack)
    [started] = run.of("ModelStarted")
    assert (run.record.provider, run.record.model) == (started["provider"], started["model"]) == expected


def test_the_configs_model_comes_before_the_agents(stack, runner):
    class Nameless(StubModel):
        model = property()  # reading it raises AttributeError

    config = RunConfig(model=Nameless([says("Hi")]))
    asyncio.run(runner.run(Agent(name="a", model="gpt-4o"), "Hi", run_config=config))
    assert the_recorded(stack).record.model == "Nameless"


# ---------------------------------------------------------------- never in the way


def test_the_users_hooks_are_called_and_may_raise(stack, runner):
    calls = []

    class Hooks(RunHooks):
        async def on_agent_start(self, *_):
            calls.append("agent_start")

        async def on_llm_start(self, *_):
            calls.append("llm_start")

        async def on_tool_end(self, *_):
            raise LookupError("a hook's own")

    with pytest.raises(UserError, match="a hook's own"):
        asyncio.run(runner.run(agent(*answers()), "Oslo?", hooks=Hooks()))
    assert calls == ["agent_start", "llm_start"]
    assert the_recorded(stack).types == ["RunStarted", *ASKED, *USED, "RunFailed"]


def test_every_hook_of_the_sdk_reaches_the_users():
    hooks = {name for name in dir(RunHooksBase) if name.startswith("on_")}
    assert hooks == {name for name in vars(RecordingHooks) if name.startswith("on_")}


def test_a_table_that_is_away_changes_nothing_for_the_agent(stack, runner, monkeypatch):
    monkeypatch.setattr(recording, "END_WAIT", 0.01)
    back = away(stack)
    result = asyncio.run(runner.run(agent(*answers()), "Oslo?"))
    assert result.final_output == "3 degrees."
    back()
    assert settled(stack).types == ["RunStarted", *ASKED, *USED, *SAID, "RunCompleted"]


@pytest.mark.parametrize("name", ["Answer", "tool_result", "model_of", "tokens_of", "call_id", "pause"])
def test_a_mistake_of_ours_changes_nothing_for_the_agent(stack, runner, monkeypatch, caplog, name):
    def mistaken(*_, **__):
        raise ZeroDivisionError("ours")

    def asked():
        steps = [asks("weather", {"city": "Oslo"}, call_id="call-0"), asks("delete", {"city": "Oslo"})]
        return agent(*steps, tools=[weather, delete])

    async def main():
        result = runner.run_streamed(asked(), "Oslo?")
        await read(result)
        return [await runner.run(asked(), "Oslo?"), result]

    monkeypatch.setattr(recording, name, mistaken)
    assert [len(result.interruptions) for result in asyncio.run(main())] == [1, 1]
    assert "ZeroDivisionError: ours" in caplog.text
    assert [run.types[0] for run in all_recorded(stack)] == ["RunStarted"] * 2


def test_a_run_that_could_not_be_begun_goes_on_unrecorded(stack, caplog, monkeypatch):
    def begin(*args, **kwargs):
        raise TypeError("no")

    monkeypatch.setattr(behest_openai_agents, "begin", begin)
    runner = BehestRunner(stack.store)
    result = asyncio.run(runner.run(agent(*answers()), "Oslo?"))
    assert (result.final_output, all_recorded(stack)) == ("3 degrees.", [])
    assert "TypeError" in caplog.text


def test_settings_reach_the_recorder(stack):
    def redact(event):
        return None if event["type"] == "TextDelta" else event

    runner = BehestRunner(stack.store, redact=redact, cut_at=20)
    asyncio.run(runner.run(agent(asks("weather", {"city": "x" * 100}), says("3 degrees.")), "Oslo?"))
    run = the_recorded(stack)
    assert run.text == ""
    assert run.of("ToolCallCompleted")[0]["call"]["arguments"] == {"cut": '{"city":"xxxxxxxxxxx', "bytes": 111}


def test_no_recorder_outlives_its_run(stack, runner):
    async def main():
        await runner.run(agent(*answers()), "Oslo?")
        await read(runner.run_streamed(agent(*answers()), "Oslo?"))

    asyncio.run(main())
    assert unfinished(stack) == []
