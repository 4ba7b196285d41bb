"""Text, whole and streamed, and the messages that it makes."""

import asyncio

from langchain_models import (
    ANSWERS,
    ASKS,
    CALLED,
    QUESTION,
    TOOL,
    USED,
    answer,
    graph_of,
    model_of,
    work_of,
)

from behest_core.testing.recorded import the_recorded


def test_each_piece_is_recorded_and_the_whole_text_not_again(stack, config):
    pieces = list(graph_of(model_of(ASKS, ANSWERS)).stream(QUESTION, config, stream_mode="messages"))
    run = the_recorded(stack.store)
    streamed = [*CALLED, *["TextDelta"] * 3, "ToolCallCompleted", *USED]
    assert work_of(run) == [
        "RunStarted",
        *streamed,
        *TOOL,
        *CALLED,
        *["TextDelta"] * 2,
        *USED,
        "RunCompleted",
    ]
    assert run.text == "Let me look.3 degrees."
    assert len(pieces) > 5
    assert [each["usage"] for each in run.of("UsageRecorded")] == [
        {"input_tokens": 100, "output_tokens": 10, "total_tokens": 110},
        {"input_tokens": 120, "output_tokens": 5, "total_tokens": 125},
    ]
    assert run.of("ToolCallCompleted")[0]["call"]["arguments"] == {"city": "Oslo"}


def test_an_asynchronous_stream_is_recorded_in_order(stack, config):
    words = "".join(f"word-{number} " for number in range(200))

    async def consume():
        async for _ in graph_of(model_of(answer(words))).astream(QUESTION, config, stream_mode="messages"):
            pass

    asyncio.run(consume())
    assert the_recorded(stack.store).text == words


def test_the_events_of_a_model_are_streamed_and_recorded(stack, handler):
    async def consume():
        async for _ in model_of(ANSWERS).astream_events("Oslo?", {"callbacks": [handler]}, version="v2"):
            pass

    asyncio.run(consume())
    run = the_recorded(stack.store)
    assert work_of(run) == ["RunStarted", *CALLED, *["TextDelta"] * 2, *USED, "RunCompleted"]


def test_blocks_that_are_no_text_are_left_out(stack, handler):
    blocks = [{"type": "reasoning", "reasoning": "Hm."}, {"type": "text", "text": "3 degrees."}]
    model_of(ANSWERS.model_copy(update={"content": blocks})).invoke("Oslo?", {"callbacks": [handler]})
    assert the_recorded(stack.store).text == "3 degrees."
