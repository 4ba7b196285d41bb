"""Text, whole and streamed, and the messages that it makes."""

import asyncio

import pytest
from agents import ModelRefusalError, RunHooks, Runner
from agents.testing import ModelStep
from openai.types.responses import ResponseOutputRefusal
from openai_agents_models import (
    ASKED,
    CALLED,
    COUNTED,
    SAID,
    USED,
    agent,
    answers,
    asks,
    read,
    says,
    settled_all,
    streams,
    tokens,
    work_of,
)

from behest_core.model.state import RunStatus
from behest_core.testing.recorded import all_recorded, the_recorded


def test_a_message_is_committed_by_its_id_where_the_model_gives_one(stack, runner):
    unnamed = ModelStep(output=says("Bye.", message_id="__fake_id__").output, response_id=None)
    asyncio.run(runner.run(agent(asks("weather", {"city": "Oslo"}), says("3 degrees.")), "Oslo?"))
    asyncio.run(runner.run(agent(unnamed), "Bye"))
    ids = [[each["message_id"] for each in run.of("AssistantMessageCommitted")] for run in all_recorded(stack.store)]
    unnamed = all_recorded(stack.store)[1].of("ModelStarted")[0]["model_call_id"]
    assert ids == [["resp-0", "msg-1"], [unnamed]]


def test_a_refusal_is_text(stack, runner):
    step = says("")
    step.output[0].content = [ResponseOutputRefusal(type="refusal", refusal="No.")]
    with pytest.raises(ModelRefusalError):
        asyncio.run(runner.run(agent(step), "Oslo?"))
    assert the_recorded(stack.store).text == "No."


def test_a_streamed_text_is_recorded_in_the_pieces_that_were_read(stack, runner):
    async def main():
        result = runner.run_streamed(agent(answers()[0], streams("3 ", "degrees", ".", usage=tokens(20, 4))), "Oslo?")
        await read(result)
        return result

    result = asyncio.run(main())
    run = the_recorded(stack.store)
    assert result.final_output == "3 degrees."
    said = [*CALLED, *["TextDelta"] * 3, *COUNTED]
    assert work_of(run) == ["RunStarted", *ASKED, *USED, *said, "RunCompleted"]
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
    said = [*CALLED, "TextDelta", "TextDelta", *COUNTED[1:]]
    assert [work_of(run) for run in all_recorded(stack.store)] == [["RunStarted", *said, "RunCompleted"]] * 2
    assert [run.text for run in all_recorded(stack.store)] == ["3 degrees."] * 2


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
    assert [each["delta"] for each in the_recorded(stack.store).of("TextDelta")] == [
        "Let ",
        "me ",
        "see. ",
        "3 degrees.",
    ]


def test_a_stream_that_is_left_early_goes_on_and_is_recorded_to_its_end(stack, runner):
    async def main():
        result = runner.run_streamed(agent(*answers()), "Oslo?")
        async for _ in result.stream_events():
            break
        await result.run_loop_task

    asyncio.run(main())
    settled_all(stack)
    assert work_of(the_recorded(stack.store)) == ["RunStarted", *ASKED, *USED, *SAID, "RunCompleted"]
