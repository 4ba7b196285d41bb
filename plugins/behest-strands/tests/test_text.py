"""Text, whole and streamed, and the messages that it makes."""

import asyncio

from strands.hooks import AfterToolsEvent
from strands.middleware import InvokeModelStage
from strands_models import ANSWERED, ASKS, CALLED, KEPT, MODEL, TOOL, Turn, asks, hook, says, weather

from behest_core.testing.recorded import all_recorded, the_recorded
from behest_core.transcript.entries import Call


def test_text_is_recorded_piece_by_piece(stack, agent_of):
    agent = agent_of(says("Three ", "degrees", "."))

    async def stream():
        return "".join([event["data"] async for event in agent.stream_async("?") if "data" in event])

    assert asyncio.run(stream()) == "Three degrees."
    run = the_recorded(stack.store)
    assert [each["delta"] for each in run.of("TextDelta")] == ["Three ", "degrees", "."]
    assert run.types == ["RunStarted", *CALLED, *["TextDelta"] * 3, *ANSWERED, *KEPT, "RunCompleted"]


def test_text_beside_a_tool_call_is_recorded_once(stack, agent_of):
    agent_of(Turn(["I look."], [("call-1", "weather", {"city": "Oslo"})]), says("Cold."), tools=[weather])("?")
    run = the_recorded(stack.store)
    assert run.text == "I look.Cold."
    assert run.types == ["RunStarted", *MODEL[:3], *ASKS[2:], *TOOL, *MODEL, "RunCompleted"]


def test_the_committed_messages_have_the_ids_of_the_framework(stack, agent_of):
    agent = agent_of(asks(), says("Cold."), tools=[weather])
    agent("?")
    ids = [each["message_id"] for each in the_recorded(stack.store).of("AssistantMessageCommitted")]
    assert ids == [each["tracking_id"] for each in agent.messages if each["role"] == "assistant"]


def test_an_answer_from_a_cache_is_recorded_whole(stack, agent_of):
    kept = []

    async def from_cache(context, next_fn):
        if not kept:
            kept.extend([event async for event in next_fn(context)])
        yield kept[-1]

    agent = agent_of(says("Thr", "ee."))
    agent.add_middleware(InvokeModelStage, from_cache)
    agent("?")
    agent("?")
    first, second = all_recorded(stack.store)
    assert first.types == ["RunStarted", *CALLED, "TextDelta", "TextDelta", *ANSWERED, *KEPT, "RunCompleted"]
    assert second.types == ["RunStarted", "TextDelta", "AssistantMessageCommitted", "RunCompleted"]
    assert (first.text, second.text) == ("Three.", "Three.")


def test_a_last_word_that_a_hook_says_is_recorded(stack, agent_of):
    ends = hook(AfterToolsEvent, lambda event: setattr(event, "end_turn", "That will do."))
    agent_of(asks(), hooks=[ends], tools=[weather])("?")
    run = the_recorded(stack.store)
    assert run.types == ["RunStarted", *ASKS, *TOOL, "TextDelta", "AssistantMessageCommitted", "RunCompleted"]
    assert run.text == "That will do."
    [said] = run.of("TextDelta")
    assert said["model_call_id"] == run.of("AssistantMessageCommitted")[-1]["model_call_id"]
    assert said["model_call_id"] not in {each["model_call_id"] for each in run.of("ModelStarted")}
    words = [each.text for each in stack.store.transcript(run.record.run_id).entries if isinstance(each, Call)]
    assert words == ["", "That will do."]
